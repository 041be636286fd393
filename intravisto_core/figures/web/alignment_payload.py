"""What the two prompts under each other are given in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from intravisto_core.figures.text import printable
from intravisto_core.records import Token

Pairs = Sequence[tuple[int, int]]
"""Positions (clean, corrupt) that stand for each other, rising."""


def alignment_data(
    clean: Sequence[Token], corrupt: Sequence[Token], pairs: Pairs, note: str, rev: str, editable: bool = True
) -> dict[str, Any]:
    """The data of alignment.js. note: the line under the tokens. rev: goes back with every act."""
    return {
        "rev": rev,
        "clean": [{"t": printable(t.shown), "id": t.id} for t in clean],
        "corrupt": [{"t": printable(t.shown), "id": t.id} for t in corrupt],
        "pairs": [list(pair) for pair in pairs],
        "note": note,
        "editable": editable,
    }
