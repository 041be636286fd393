"""What all tests share: tiny models on disk, their engines, and a browser."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests import models_tiny

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The models are so small that a second thread is only waited for; set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    """A running headless Chromium (playwright's Browser); `new_context()` is a fresh profile."""
    program = next((p for p in map(shutil.which, CHROMIUM_NAMES) if p), None)
    if program is None:
        missing = "Chromium is not installed (apt-get install chromium): browser tests are skipped"
        if os.environ.get("CI"):
            pytest.fail(missing.replace("are skipped", "must not be skipped where CI is set"))
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> models_tiny.Folders:
    """`tiny_folder("llama")`: the folder of that tiny model, written once (names: `models_tiny.FAMILIES`)."""
    return models_tiny.Folders(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_llama(tiny_folder: models_tiny.Folders) -> Path:
    """Folder of a random Llama: 3 layers, 4 heads on 2 kv heads."""
    return tiny_folder("llama")


@pytest.fixture(scope="session")
def tiny_gpt2(tiny_folder: models_tiny.Folders) -> Path:
    """Folder of a random GPT-2: 3 layers, 4 heads, tied tables, biases everywhere."""
    return tiny_folder("gpt2")


class Case:
    """One tiny model: the checkpoint, the engine on it, one trace, and the plain run of the same ids."""

    def __init__(self, family: str, folder: Path) -> None:
        import intravisto_core as iv
        from tests.reference import plain, slow

        self.family = family
        self.folder = folder
        self.model = plain.load(folder)
        self.prompt_ids = plain.tokenizer(folder)(models_tiny.PROMPT).input_ids
        self.engine = iv.open_model(str(folder))
        self.trace = self.engine.trace(models_tiny.PROMPT, max_new_tokens=models_tiny.N_NEW)
        self.trace.pin()
        self.ids = [token.id for token in self.trace.tokens]
        self.run = plain.run(self.model, self.ids)
        self.decoder = slow.Decoder.of(self.model)
        self.cells = slow.Cells(self.decoder, self.run)


@pytest.fixture(scope="session")
def case(tiny_folder: models_tiny.Folders) -> Iterator[Callable[[str], Case]]:
    """`case("llama")`: that tiny model opened and traced, once for all tests. Only read it."""
    made: dict[str, Case] = {}

    def get(family: str) -> Case:
        if family not in made:
            made[family] = Case(family, tiny_folder(family))
        return made[family]

    yield get
    # One collection for all: each engine's own would walk through everything that the tests hold.
    with patch("gc.collect"):
        for each in made.values():
            each.engine.close()
    gc.collect()


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """`family("Bloom")`: that tiny model of `tests/families/tiny.py`, opened and traced once; for reading only."""
    from intravisto_core.models.threads import using_threads
    from tests.families.tiny import Case as Family

    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            # These models are too small for a second thread.
            with using_threads(1):
                made[name] = Family(name, tmp_path_factory.mktemp("family"))
        return made[name]

    yield get
    # One collection for all: each engine's own would walk through everything that the tests hold.
    with patch("gc.collect"):
        for each in made.values():
            each.engine.close()
    made.clear()
    gc.collect()
