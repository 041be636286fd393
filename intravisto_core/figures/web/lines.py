"""Lists of places and parts that flow_links.js shows: each line a bar with its number, which may lead somewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from intravisto_core.figures.numbers import change
from intravisto_core.figures.words import part_name
from intravisto_core.records import Attribution
from intravisto_core.sites import Part

KINDS = {
    Part.EMBEDDING: "residual",
    Part.POSITION: "residual",
    Part.ATTENTION: "attention",
    Part.HEAD: "attention",
    Part.ATTENTION_BIAS: "attention",
    Part.MLP: "mlp",
    Part.NEURON: "mlp",
    Part.OTHER_NEURONS: "mlp",
    Part.MLP_BIAS: "mlp",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line. kind: what colours it. name: its words; token: glyphs after them. size: of its bar, from 0 to 1.

    number: written out; aside: a further number. row, position, part: where a click leads; part "" for the cell, None
    for lines that cannot be clicked. head: of a line that is about one. id: of a line that a click unfolds, instead;
    open: whether it is; level: how deep.
    """

    kind: str
    name: str
    token: str
    size: float
    number: str
    aside: str = ""
    negative: bool = False
    row: int | None = None
    position: int | None = None
    part: str | None = None
    head: int | None = None
    help: str = ""
    id: str | None = None
    open: bool = False
    level: int = 0


@dataclass(frozen=True, slots=True)
class Lines:
    """A table of lines. columns: names of number and aside."""

    title: str
    lines: list[Line]
    columns: tuple[str, ...] = ()
    more: str = ""


def lines_data(rev: str, tables: Iterable[Lines]) -> dict[str, Any]:
    """The data of flow_links.js."""
    return {"rev": rev, "tables": [asdict(t) for t in tables if t.lines or t.more]}


def part_line(found: Attribution, i: int, size: float, **more: Any) -> Line:
    """One part of a logit as a bar; size: what fills it."""
    value = float(found.value[i])
    columns = (found.kind, found.layer, found.index, found.expert)
    name = part_name(*(c[i].item() for c in columns))
    kind = KINDS.get(Part(str(found.kind[i])), "end")
    return Line(kind, name, "", value / size, change(value), negative=value < 0, **more)


def largest_part(found: Attribution) -> float:
    """What fills a bar: the size of the largest part."""
    return float(np.abs(found.value).max(initial=0.0)) or 1.0


def remainder_line(found: Attribution, size: float) -> Line:
    """What the parts leave of the model's own logit."""
    value = found.remainder
    return Line("end", "remainder", "", value / size, change(value), negative=value < 0)


def part_lines(found: Attribution, picks: Sequence[int], most: int) -> list[Line]:
    """Parts in that order; beyond the `most` largest of them one line for all others; last the remainder."""
    size, kept = largest_part(found), list(picks)
    rest = sorted(kept, key=lambda i: -abs(float(found.value[i])))[most:]
    lines = [part_line(found, i, size) for i in kept if i not in set(rest)]
    if rest:
        value = float(found.value[rest].sum())
        lines.append(Line("end", f"{len(rest):,} smaller parts", "", value / size, change(value), negative=value < 0))
    return [*lines, remainder_line(found, size)]
