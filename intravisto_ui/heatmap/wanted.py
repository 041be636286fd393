"""What is typed into the find box, read: a place, a head, or a token."""

from __future__ import annotations

import re
from dataclasses import dataclass

from intravisto_core.request.ranges import index

_ROW = re.compile(r"\brow\s*=?\s*(-?\d+)|\b(?:layer\s*=?\s*|L)(-?\d+)|\b(emb|norm)\w*", re.IGNORECASE)
_POSITION = re.compile(r"\bp(?:os(?:ition)?)?\s*=?\s*(-?\d+)", re.IGNORECASE)
_HEAD = re.compile(r"\s*L(-?\d+)H(-?\d+)\s*", re.IGNORECASE)
_ID = re.compile(r"\s*id\s*=?\s*(\d+)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed: a row, a position, or both, or a head of a layer (then row is its block's output); else a token,
    by its text or its id. other: another form of that text, which may be meant: with a space before it.
    """

    row: int | None = None
    position: int | None = None
    head: int | None = None
    token: str | int = ""
    other: str = ""


def parse(typed: str, n_layers: int, n_positions: int, n_heads: int) -> Wanted:
    """`row 5`, `layer 3`, `L3`, `emb`, `norm`, `p=-1`, `L2H7` are cells, `id 17` is the token of that id; anything
    else, or anything in quotes, is the text of a token. Negatives count from the last one.

    Raises:
        RequestError: the model or the text has no such place.
    """
    text = typed.replace("␣", " ").replace("⏎", "\n")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return Wanted(token=text[1:-1])
    if found := _HEAD.fullmatch(text):
        layer, head = index(int(found[1]), n_layers, "layer"), index(int(found[2]), n_heads, "head")
        return Wanted(row=layer + 1, head=head)
    if found := _ID.fullmatch(text):
        return Wanted(token=int(found[1]))
    row, position = _ROW.search(text), _POSITION.search(text)
    rest = _POSITION.sub("", _ROW.sub("", text))
    if (row is None and position is None) or re.sub(r"[\s,·]", "", rest):
        return Wanted(token=text, other=f" {text}" if text[:1].isalnum() else "")
    return Wanted(
        None if row is None else _read_row(row, n_layers),
        None if position is None else index(int(position[1]), n_positions, "position"),
    )


def _read_row(found: re.Match[str], n_layers: int) -> int:
    if found[1] is not None:
        return index(int(found[1]), n_layers + 2, "row")
    if found[2] is not None:
        return index(int(found[2]), n_layers, "layer") + 1
    return 0 if found[3].lower() == "emb" else n_layers + 1
