"""Links, heads and parts as lists that can be clicked: what the component `links` is given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from intravisto_core.figures.numbers import PER_CENT, nats, share
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.lines import Line, Lines, lines_data
from intravisto_core.records import Token, row_label
from intravisto_core.records.flow import Disagreement, Flow
from intravisto_core.sites import NodeKind


def parse_node(node: str) -> tuple[str, int, int]:
    """Kind, row and position of a node's id; position −1 of a terminal."""
    kind, row, *position = node.split(".")
    return kind, int(row), int(position[0]) if position else -1


def brief_share(value: float) -> str:
    """A share; what is nearly nothing is only called small."""
    return share(float(value)) if value == 0 or not abs(value) < 1e-5 else f"<0.001{PER_CENT}"


def node_name(node: str, n_layers: int, own: str = "") -> str:
    """`after attention · layer 3 · position 7`, without what it shares with a node that is known; a block output by its
    row alone.
    """
    kind, row, position = parse_node(node)
    _, own_row, own_position = parse_node(own) if own else ("", -1, -1)
    words = [] if kind == NodeKind.BLOCK and own else [NodeKind(kind).label]
    if row != own_row:
        words.append(row_label(row, n_layers))
    if position not in (-1, own_position):
        words.append(f"position {position}")
    return " · ".join(words)


def kind_of(kind: str, source: str) -> str:
    """What colours a link: that of a terminal is of no kind."""
    start = parse_node(source)[0]
    return "end" if NodeKind(start).terminal else kind


def glyphs_at(tokens: tuple[Token, ...], position: int) -> str:
    """Glyphs of the token at a position; "" for a terminal."""
    return printable(tokens[position].shown) if 0 <= position < len(tokens) else ""


def links_at(flow: Flow, node: str, most: int = 8) -> list[Lines]:
    """The links at a node with their exact numbers: from what it is made, and what it goes into."""
    ids = flow.node_id
    at = ids.index(node)
    tables = []
    for title, own, far in (
        ("Made of", flow.link_target, flow.link_source),
        ("Goes into", flow.link_source, flow.link_target),
    ):
        found = np.flatnonzero(own == at)
        lines = [_link_line(flow, ids, int(i), ids[int(far[i])], node) for i in found[:most]]
        left = len(found) - most
        tables.append(Lines(title, lines, ("mass", "share"), f"and {left} lighter links" if left > 0 else ""))
    return tables


def _link_line(flow: Flow, ids: list[str], i: int, far: str, own: str) -> Line:
    _, row, position = parse_node(far)
    source, target = ids[int(flow.link_source[i])], ids[int(flow.link_target[i])]
    mass, part = float(flow.link_mass[i]), float(flow.link_share[i])
    kl = float(flow.link_kl[i])
    return Line(
        kind=kind_of(str(flow.link_kind[i]), source),
        name=node_name(far, flow.n_layers, own),
        token=glyphs_at(flow.tokens, position) if position != parse_node(own)[2] else "",
        size=min(1.0, abs(mass)),
        number=brief_share(mass),
        aside=brief_share(part),
        negative=mass < 0,
        row=row,
        position=position if position >= 0 else None,
        part=f"{source}>{target}",
        help="" if math.isnan(kl) else f"KL of the upper from the lower end: {nats(kl)}",
    )


def disagreement_list(found: Disagreement, most: int) -> dict[str, Any]:
    """The links that two measures place most differently, numbered."""
    first, second = (m.label for m in found.measures)
    lines = []
    for i in range(min(most, len(found.distance))):
        source, target = str(found.source[i]), str(found.target[i])
        _, row, position = parse_node(target)
        lines.append(
            Line(
                kind=kind_of(str(found.kind[i]), source),
                name=f"{i + 1}. {node_name(source, found.n_layers)} → {node_name(target, found.n_layers)}",
                token=glyphs_at(found.tokens, parse_node(source)[2]),
                size=min(1.0, abs(float(found.first_mass[i]))),
                number=f"{share(float(found.first_mass[i]))} · place {int(found.first_place[i]):,}",
                aside=f"{share(float(found.second_mass[i]))} · place {int(found.second_place[i]):,}",
                negative=float(found.first_mass[i]) < 0,
                row=row,
                position=position,
                part=f"{source}>{target}",
            )
        )
    return lines_data(found.trace, [Lines("", lines, (first, second))]) | {"wide": True}
