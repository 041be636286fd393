"""What the map of heads is given in the browser, and the list of heads beside it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from intravisto_core.figures.head_list import HeadOrder, PartGroup, rank_heads, sum_heads, sum_others
from intravisto_core.figures.numbers import change
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.lines import KINDS, Line, Lines, largest_part, part_line, remainder_line
from intravisto_core.figures.words import score_in_words
from intravisto_core.records import Attribution
from intravisto_core.sites import Part

LISTED = 20
MOST_LISTED = 400
OTHER_HEADS = "other heads"


def heads_data(found: Attribution) -> dict[str, Any]:
    """The data of heads_map.js: what each head and, in the last column, each MLP adds; None where it is not known."""
    heads, score = found.head_values, printable(score_in_words(found))
    values = np.concatenate([heads, found.mlp_values[:, None]], axis=1)
    return {
        "rev": found.trace,
        "model": printable(found.model),
        "position": found.position,
        "heads": heads.shape[1],
        "values": [[None if np.isnan(v) else float(f"{v:.6g}") for v in row] for row in values.tolist()],
        "score": score,
        "title": f"What each head and MLP adds to the {score}",
        "note": f"{found.n_layers} layers × {heads.shape[1]} heads and the MLP · logit",
        "fileName": "heads",
    }


def head_lines(
    found: Attribution,
    order: str = HeadOrder.SIZE,
    opened: frozenset[str] = frozenset(),
    without: Mapping[int, str] = MappingProxyType({}),
) -> Lines:
    """The heads of all layers in one list; those that are not listed, and all other parts, are a line each with their
    sum, so that the list adds up to the score.

    order: as `rank_heads`. opened: ids of the sums that are unfolded. without: the score without a head, as text, by
    the head's place in the record; where there are any, they are a column.
    """
    ranked, others = rank_heads(found, order), sum_others(found)
    # what fills a bar: a sum may be larger than every single part
    sums = [abs(group.value) for group in others]
    if len(ranked) > LISTED:
        sums.append(abs(sum_heads(found, ranked[LISTED:]).value))
    size = max([largest_part(found), *sums])
    most = MOST_LISTED if OTHER_HEADS in opened else LISTED
    lines = [_head_line(found, i, size, aside=without.get(i, "")) for i in ranked[:LISTED]]
    if len(ranked) > LISTED:
        is_open = OTHER_HEADS in opened
        lines.append(_group_line(sum_heads(found, ranked[LISTED:]), size, OTHER_HEADS, is_open))
        if is_open:
            lines += [_head_line(found, i, size, level=1) for i in ranked[LISTED:most]]
            if len(ranked) > most:
                lines.append(_group_line(sum_heads(found, ranked[most:]), size, None, False, level=1))
    for group in others:
        lines += _group_lines(found, group, size, opened)
    title = f"What each head adds to the {score_in_words(found)}"
    columns = ("adds", "without it") if without else ("adds",)
    return Lines(title, [*lines, remainder_line(found, size)], columns)


def _head_line(found: Attribution, i: int, size: float, level: int = 0, aside: str = "") -> Line:
    row = int(found.layer[i]) + 1
    place = {"row": row, "position": found.position, "part": f"attention.{row}.{found.position}"}
    return part_line(found, i, size, head=int(found.index[i]), level=level, aside=aside, **place)


def _group_lines(found: Attribution, group: PartGroup, size: float, opened: frozenset[str]) -> list[Line]:
    """One kind of part: itself where it is alone, else its sum, which unfolds."""
    if len(group.members) == 1:
        return [part_line(found, group.members[0], size)]
    is_open = group.kind in opened
    lines = [_group_line(group, size, str(group.kind), is_open)]
    if is_open:
        lines += [_part_line(found, i, size) for i in group.members]
    return lines


def _part_line(found: Attribution, i: int, size: float) -> Line:
    row, position = int(found.layer[i]) + 1, found.position
    if Part(str(found.kind[i])) is not Part.MLP:
        return part_line(found, i, size, level=1)
    return part_line(found, i, size, level=1, row=row, position=position, part=f"mlp.{row}.{position}")


def _group_line(group: PartGroup, size: float, id: str | None, is_open: bool, level: int = 0) -> Line:
    share = group.value / size
    kind = KINDS.get(group.kind, "end")
    return Line(kind, group.name, "", share, change(group.value), negative=share < 0, id=id, open=is_open, level=level)
