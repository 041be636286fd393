"""Every command line of README and docs is one that the program understands; what commands do has tests of its own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from intravisto_core.cli import read_arguments
from intravisto_core.cli.parser import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"(?:\.venv/bin/)?(?:intravisto|python3? -m intravisto_core) (.+)")
IN_A_SENTENCE = re.compile(r"`((?:python3? -m intravisto_core|intravisto) [a-z][^`…]*)`")


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each call of the program on a page, in its blocks and in its sentences."""
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    for line in (*lines, *IN_A_SENTENCE.findall(BLOCK.sub("", text))):
        words = shlex.split(line, comments=True)
        while words and "=" in words[0]:  # a variable of this command alone
            words.pop(0)
        called = PROGRAM.fullmatch(shlex.join(words))
        if called is not None:
            yield shlex.split(called[1])


CALLS = [(page, call) for page in PAGES for call in commands(page.read_text("utf-8"))]


@pytest.mark.parametrize(("page", "call"), CALLS, ids=lambda part: part[0] if isinstance(part, list) else part.stem)
def test_a_command_of_a_page_is_understood(page: Path, call: list[str]) -> None:
    if len(call) == 1:  # named, and not called
        assert call[0] in COMMANDS
        return
    # one that is not understood ends the program
    assert callable(read_arguments(call).run)
