"""The command line: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from intravisto_core.cli import main

PROMPT = "ab c!ab"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    try:
        code = main([str(a) for a in arguments])
    except SystemExit as end:
        code = end.code
    out = capsys.readouterr()
    return int(code or 0), out.out, out.err


def test_trace_writes_a_page_that_works_offline(capsys, tiny_llama, tmp_path):
    page = tmp_path / "x.html"
    code, out, _ = run(
        capsys,
        "trace",
        PROMPT,
        "--model",
        tiny_llama,
        "--max-new-tokens",
        4,
        "--lens",
        "linear",
        "--out",
        page,
    )
    assert code == 0
    assert str(page) in out
    html = page.read_text(encoding="utf-8")
    assert html.lstrip().lower().startswith("<!doctype html>")
    for outside in ('src="http', 'href="http', "src='http", 'import("http', "@import"):
        assert outside not in html


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_trace_writes_tables(capsys, tiny_llama, tmp_path, kind):
    file = tmp_path / f"x.{kind}"
    assert run(capsys, "trace", PROMPT, "--model", tiny_llama, "--out", file)[0] == 0
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) > 8 * 5 if kind == "csv" else json.loads(text)


def test_trace_without_out_shows_the_text(capsys, tiny_llama, case):
    code, out, _ = run(capsys, "trace", PROMPT, "--model", tiny_llama, "--max-new-tokens", 4)
    assert code == 0
    assert case("llama").engine.trace(PROMPT, max_new_tokens=4).text.strip() in out


def test_check_shows_every_identity_with_its_error(capsys, tiny_gpt2):
    code, out, _ = run(capsys, "check", tiny_gpt2)
    assert code == 0
    for word in ("residual", "logits", "traced", "causal", "pattern", "heads", "neurons"):
        assert word in out
    assert "e-0" in out, "measured errors"


@pytest.mark.parametrize("command", [[], ["trace"], ["check"], ["app"]])
def test_help_has_examples(capsys, command):
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0
    assert "intravisto" in out
    if command in ([], ["trace"]):
        assert "intravisto trace" in out


WRONG = [
    (["trace", "abc", "--model", "no/such-model"], "no/such-model"),
    (["check", "no/such-model"], "no/such-model"),
    (["trace", "abc", "--lens", "best"], "quadratic"),
    (["trace", "abc", "--max-new-tokens", "many"], "many"),
    (["trace", "abc", "--max-new-tokens", "5000"], "1024"),
    (["trace", "abc", "--no-such-option"], "--no-such-option"),
    (["trace", ""], "prompt"),
    (["trace", "abc", "--out", "x.docx"], "html"),
    (["trace", "abc", "--temperature", "0"], "temperature"),
    (["paint"], "trace"),
    ([], "COMMAND"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_a_wrong_command_is_one_clear_line_and_code_2(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    clear = [line for line in err.splitlines() if line.strip() and not line.startswith(("usage:", " "))]
    assert len(clear) == 1, err
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_one_clear_line(capsys, tiny_llama):
    code, _, err = run(capsys, "trace", PROMPT, "--model", tiny_llama, "--out", "/no/such/folder/x.html")
    assert code != 0
    assert "/no/such/folder" in err
    assert "Traceback" not in err


def test_the_module_is_a_command():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "intravisto_core", "trace", "abc", "--lens", "best"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "quadratic" in done.stderr
    assert "Traceback" not in done.stderr
