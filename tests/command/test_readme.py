"""What the README promises is run as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from intravisto_core.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_first_two_commands_are_one_line_each():
    run, test = blocks("bash")[:2]
    for block, end in ((run, "streamlit run app.py"), (test, "-m pytest")):
        assert block.count("\n") == 1
        assert block.startswith("python3 -m venv .venv && ")
        assert block.strip().endswith(end)


def test_the_checks_run_the_command_of_the_readme():
    found = re.search(r"grep -m1 -E '(.*)' README.md", (ROOT / ".ci" / "run").read_text())
    assert found
    lines = [line for line in README.splitlines() if re.search(found[1], line)]
    assert [line + "\n" for line in lines] == blocks("bash")[1:2]


def test_the_library_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    assert "Rome" in capsys.readouterr().out
    assert (tmp_path / "italy.html").stat().st_size > 10_000


@pytest.mark.parametrize("line", [line for line in blocks("bash")[2].splitlines() if not line.endswith("app")])
def test_the_commands_run(tmp_path, monkeypatch, capsys, line):
    monkeypatch.chdir(tmp_path)
    countries = ("Italy", "France", "Spain", "Germany", "Japan", "Greece", "Norway", "Egypt", "Peru", "China")
    prompts = [f"The capital of {country} is" for country in countries]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts))
    (tmp_path / "pairs.tsv").write_text(f"{prompts[0]}\t{prompts[1]}\n{prompts[2]}\t{prompts[4]}\n")
    words = shlex.split(line)
    assert words[:3] == [".venv/bin/python", "-m", "intravisto_core"]
    assert main(words[3:]) == 0
    assert capsys.readouterr().out


def test_the_files_that_it_names_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target and not target.endswith(".png"):
            assert (ROOT / target).exists(), target
