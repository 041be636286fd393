"""Files are whole or as they were; any text can be printed, on any terminal, into any pipe."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import intravisto_core as iv
from intravisto_core import files
from intravisto_core.cli import main
from intravisto_core.cli import trace as trace_command
from intravisto_core.files import write_file

ROOT = Path(__file__).parents[2]


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path, monkeypatch) -> None:
    """The disk is full in the middle: the old page is there, and nothing lies beside it."""
    page = tmp_path / "page.html"
    page.write_bytes(b"the old page")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(iv.RequestError, match=r"page\.html.*No space left.*another place"):
        write_file(page, b"new")
    assert page.read_bytes() == b"the old page"
    assert list(tmp_path.iterdir()) == [page]


def test_a_record_that_cannot_be_drawn_leaves_the_old_page(case, tmp_path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    with pytest.raises(iv.RequestError, match="foo"):
        case("llama").trace.heatmap().save(page, foo=1)
    assert page.read_text() == "old"


def test_a_new_file_can_be_read_as_others_can_and_an_old_one_keeps_its_rights(tmp_path) -> None:
    mask = os.umask(0o022)
    try:
        new = write_file(tmp_path / "new.txt", b"x")
        assert stat.S_IMODE(new.stat().st_mode) == 0o644
        new.chmod(0o600)
        assert stat.S_IMODE(write_file(new, b"y").stat().st_mode) == 0o600
    finally:
        os.umask(mask)


def test_a_link_is_followed_and_a_pipe_is_written_to(tmp_path) -> None:
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    link.symlink_to(real)
    write_file(link, b"through")
    assert link.is_symlink()
    assert real.read_bytes() == b"through"
    assert write_file("/dev/null", b"x") == Path("/dev/null")
    assert not Path("/dev/null").is_file()


def test_the_home_folder_is_meant_by_a_tilde(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert write_file("~/x.txt", b"x") == tmp_path / "x.txt"


@pytest.mark.parametrize("path", ["", "no/such/folder/x.html", "a\0b.html", "x" * 300 + ".html", "/proc/x.html"])
def test_a_place_that_serves_no_file_is_said(path: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(iv.RequestError, match="expected a file that can be written"):
        write_file(path, b"x")
    assert list(tmp_path.iterdir()) == []


def run(*words: str, encoding: str = "utf-8", **how: object) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    return subprocess.run(
        [sys.executable, "-m", "intravisto_core", *words], cwd=ROOT, env=environment, timeout=240, **how
    )


def test_a_terminal_without_unicode_ends_no_run() -> None:
    done = run("trace", "Zürich ␣ 東京", encoding="ascii", capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"\\u" in done.stdout
    assert done.stdout.isascii()


def test_a_closed_pipe_is_no_traceback() -> None:
    words = [sys.executable, "-m", "intravisto_core", "trace", "a b c"]
    both = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {' '.join(words[:-1])} 'a b c' | true"],
        cwd=ROOT,
        capture_output=True,
        timeout=240,
    )
    assert both.stderr == b""
    assert both.returncode in (0, 141)


def test_a_model_s_text_does_not_steer_the_terminal(case, monkeypatch, capsys) -> None:
    engine = case("llama").engine
    monkeypatch.setattr(trace_command, "open_engine", lambda _: engine)
    monkeypatch.setattr(iv.Trace, "text", property(lambda _: "\x1b[2J\x07 red"))
    assert main(["trace", "abc"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "␛[2J␇ red" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--temperature", "-1"), "temperature"),
        (("--top-k", "3"), "temperature"),
        (("--max-new-tokens", "99999"), "max_new_tokens"),
        (("--stop", ""), "stop"),
        (("--out", "x.docx"), "suffix"),
        (("--out", "no/such/folder/x.html"), "folder"),
    ],
)
def test_options_are_refused_before_a_model_is_opened(words, said, monkeypatch, capsys) -> None:
    monkeypatch.setattr(trace_command, "open_engine", lambda _: pytest.fail("a model was opened"))
    try:
        code = main(["trace", "abc", *words])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert said in capsys.readouterr().err
