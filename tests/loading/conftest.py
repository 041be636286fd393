"""A Hub of the test's own, empty caches, and a search for the token after every test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from transformers import AutoTokenizer, LlamaForCausalLM

from intravisto_core.models.remote import download
from tests.loading import fake_hub, search


@pytest.fixture(scope="session")
def sharded(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama in several files, with an index."""
    folder = tmp_path_factory.mktemp("sharded") / "llama"
    LlamaForCausalLM.from_pretrained(tiny_llama).save_pretrained(folder, max_shard_size="30KB")
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(folder)
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_token_in_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever these tests wrote, models, offloaded weights and exports too, holds no token."""
    yield
    search.nowhere(fake_hub.GOOD_TOKEN, folder=tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def _no_token_in_the_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every test here has a token in its environment, broken folders and packed models too, and logs all it can."""
    monkeypatch.setenv("HF_TOKEN", fake_hub.GOOD_TOKEN)
    caplog.set_level(logging.DEBUG)
    yield
    search.nowhere(fake_hub.GOOD_TOKEN, [caplog.text])


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without models of other programs."""
    empty = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(empty))
    monkeypatch.setenv("OLLAMA_MODELS", str(empty / "ollama"))
    return empty


@pytest.fixture
def hub(
    tiny_llama: Path,
    sharded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[fake_hub.Hub]:
    """A running Hub with "tiny" and "owner/sharded", an empty cache, and no token in the environment.

    After the test the token is searched for: in the log down to its details, in what was printed, in every file that
    was written, and in what the test put into `told`.
    """
    caplog.set_level(logging.DEBUG)
    with fake_hub.running({"tiny": tiny_llama, "owner/sharded": sharded}) as running:
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(download, "FIRST_PAUSE_S", 0.0)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield running
    texts = [caplog.text, *capfd.readouterr()]
    texts += [search.of_error(thing) for thing in running.told if isinstance(thing, BaseException)]
    search.nowhere(fake_hub.GOOD_TOKEN, texts, running.told, tmp_path)


def error(actual: np.ndarray, reference: np.ndarray) -> float:
    """The largest e of docs/methods.md §2 over rows."""
    size = np.linalg.norm(reference, axis=-1)
    return float((np.linalg.norm(actual - reference, axis=-1) / np.maximum(size, 1e-6 * np.median(size))).max())
