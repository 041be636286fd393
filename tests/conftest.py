"""What all tests share: tiny models on disk, their engines, the real model, and a browser."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

import intravisto_core as iv
from intravisto_core.models.threads import using_threads
from tests import tiny
from tests.case import Case
from tests.real.fetch import find_model

# the app keeps workspaces and runs in a folder of the user; tests ask for one of their own
os.environ["INTRAVISTO_HOME"] = "off"

SERVED = ("llama", "gpt2", "gemma2", "granite")
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the real model come first, marked `real`: one process then gets them all, and opens it once.

    A test in a browser that fails runs again, at most twice, and the summary says so: two browsers and servers share
    the machine with the other tests, and a browser may lose its window there.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "real_model" in fixtures:
            item.add_marker(pytest.mark.real)
        if "chromium" in fixtures:
            item.add_marker(pytest.mark.flaky(reruns=2))
    items.sort(key=lambda item: item.get_closest_marker("real") is None)


def pytest_collection_finish() -> None:
    """What is there when the tests begin never dies, and a search for garbage need not walk it each time. Garbage is
    searched for less often too: both took a third of the time of the app's tests.
    """
    gc.collect()
    gc.freeze()
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, 4 * old)


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The file of a real model, as a person has it: SmolLM2-135M-Instruct, 30 layers, 9 heads, a chat template."""
    found = find_model()
    if found is None:
        missing = "The real model is not here (python -m tests.real.fetch): its tests are skipped"
        if os.environ.get("CI"):
            pytest.fail(missing.replace("are skipped", "must not be skipped where CI is set"))
        pytest.skip(missing)
    return found


@pytest.fixture(scope="session")
def real_engine(real_model: Path) -> Iterator[iv.Engine]:
    """The real model, opened once for all tests. Only read it, and forget the traces that you make."""
    engine = iv.open_model(str(real_model))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def eiffel(real_engine: iv.Engine) -> Iterator[iv.Trace]:
    """A run of the real model in which position 8 says ␣Paris, made once for all tests. Only read it."""
    trace = real_engine.trace("The Eiffel Tower is in the city of", max_new_tokens=1)
    yield trace
    trace.forget()


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
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> tiny.Folders:
    """`tiny_folder("llama")`: the folder of that tiny model, written once (names: `tiny.CHARACTER_FAMILIES`)."""
    return tiny.Folders(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_llama(tiny_folder: tiny.Folders) -> Path:
    """Folder of a random Llama: 3 layers, 4 heads on 2 kv heads."""
    return tiny_folder("llama")


@pytest.fixture(scope="session")
def tiny_gpt2(tiny_folder: tiny.Folders) -> Path:
    """Folder of a random GPT-2: 3 layers, 4 heads, tied tables, biases everywhere."""
    return tiny_folder("gpt2")


def make_once(make: Callable[[str], Case]) -> Iterator[Callable[[str], Case]]:
    """Cases by name, each made when first asked for; all engines are closed at the end."""
    made: dict[str, Case] = {}

    def get(name: str) -> Case:
        if name not in made:
            made[name] = make(name)
        return made[name]

    yield get
    # One collection for all: each engine's own would walk through everything that the tests hold.
    with patch("gc.collect"):
        for each in made.values():
            each.engine.close()
    made.clear()
    gc.collect()


@pytest.fixture(scope="session")
def case(tiny_folder: tiny.Folders) -> Iterator[Callable[[str], Case]]:
    """`case("llama")`: that tiny model opened and traced, once for all tests. Only read it."""
    yield from make_once(lambda name: Case.of_characters(tiny_folder(name)))


@pytest.fixture(scope="session")
def service(tiny_folder: tiny.Folders) -> Iterator[str]:
    """The address of a service in this process that offers the demo model and the tiny ones by their names."""
    from tests.service.serving import serving

    models = {name: iv.ModelSpec(str(tiny_folder(name))) for name in SERVED}
    with serving({"demo": iv.ModelSpec("demo"), **models}) as url:
        yield url


@pytest.fixture(scope="session")
def case_at_service(service: str, tiny_folder: tiny.Folders) -> Iterator[Callable[[str], Case]]:
    """`case_at_service("llama")`: as `case`, with an engine of the service."""
    yield from make_once(lambda name: Case.of_characters(tiny_folder(name), iv.connect(service, name)))


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Case]]:
    """`family("Bloom")`: the tiny model of that family opened and traced, once for all tests. Only read it."""

    def make(name: str) -> Case:
        # These models are too small for a second thread.
        with using_threads(1):
            return Case.of_family(name, tmp_path_factory.mktemp("family"))

    yield from make_once(make)
