"""What all tests share: tiny models on disk, their engines, and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import models_tiny

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

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
