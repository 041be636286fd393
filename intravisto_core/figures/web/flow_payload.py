"""What the flow in the browser is given: one JSON text, its arrays by column."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.text import printable
from intravisto_core.figures.words import sinks_in_words, start_in_words
from intravisto_core.records import Token, row_label
from intravisto_core.records.flow import Flow
from intravisto_core.sites import NodeKind

LABELS = ("blocks", "positions", "all", "none")
CANVASES = ("fixed", "wide", "tall", "both")
LISTED = 5
DIGITS = 5


@dataclass(frozen=True, slots=True)
class LinkMark:
    """A numbered mark on a link. source, target: ids of nodes."""

    source: str
    target: str
    number: int


@dataclass(frozen=True, slots=True)
class FlowStyle:
    """How a flow is drawn.

    labels: which nodes show their token: "blocks" (block outputs), "positions" (block outputs, with their position),
    "all" or "none". canvas: "fixed" to the room there is, "wide" columns, "tall" rows, or "both". scale: of everything,
    0.5 to 3. text_size: of the labels, px. bright: links of larger KL are drawn stronger.
    """

    labels: str = "blocks"
    canvas: str = "fixed"
    scale: float = 1.0
    text_size: float = 13.0
    bright: bool = True

    def __post_init__(self) -> None:
        for name, allowed in (("labels", LABELS), ("canvas", CANVASES)):
            if getattr(self, name) not in allowed:
                raise RequestError(expected(name, list(allowed), getattr(self, name)))
        for name, low, high in (("scale", 0.5, 3.0), ("text_size", 6.0, 40.0)):
            if not low <= getattr(self, name) <= high:
                raise RequestError(expected(name, f"a number from {low:g} to {high:g}", getattr(self, name)))


def flow_payload(flow: Flow, style: FlowStyle | None = None, marks: Sequence[LinkMark] = (), rev: str = "") -> bytes:
    """The flow as JSON for flow.js. 800 nodes and 2,000 links with their readings take about 350 kB.

    marks: links to number, as those that two measures disagree about. rev: goes back with every selection.
    """
    style = style or FlowStyle()
    vocabulary: dict[int, int] = {}
    readings = [_reading(flow, q, vocabulary) for q in range(len(flow.reading_unit))]
    last = int(max(flow.starts, default=0))
    data = {
        "rev": rev,
        "model": printable(flow.model),
        "title": title(flow),
        "note": note(flow),
        "fileName": "flow",
        "block": flow.block,
        "signed": flow.signed,
        "rows": row_headers(flow.rows, flow.n_layers),
        "names": {0: row_label(0, flow.n_layers), flow.n_layers + 1: row_label(flow.n_layers + 1, flow.n_layers)},
        "columns": column_headers(flow.tokens, flow.prompt_length, last),
        "reads": [printable(t.shown) for t in flow.tokens],
        "starts": _start_nodes(flow),
        "sources": round_numbers(flow.sources),
        "sinks": sinks_in_words(flow.sinks),
        "node": {
            "kind": [str(k) for k in flow.node_kind],
            "row": flow.node_row.tolist(),
            "position": flow.node_position.tolist(),
            "mass": round_numbers(flow.node_mass),
            "reading": flow.node_reading.tolist(),
            "difference": flow.node_difference.tolist(),
        },
        "link": {
            "source": flow.link_source.tolist(),
            "target": flow.link_target.tolist(),
            "kind": [str(k) for k in flow.link_kind],
            "share": round_numbers(flow.link_share),
            "mass": round_numbers(flow.link_mass),
            "kl": round_numbers(flow.link_kl),
            "difference": flow.link_difference.tolist(),
        },
        "readings": readings,
        "vocabulary": [printable(flow.shown.get(i, f"id {i}")) for i in vocabulary],
        "marks": [{"part": f"{m.source}>{m.target}", "number": m.number} for m in marks],
        "labels": style.labels,
        "canvas": style.canvas,
        "scale": style.scale,
        "textSize": style.text_size,
        "bright": style.bright,
    }
    return with_key(data)


def with_key(data: dict[str, Any]) -> bytes:
    """The data as JSON with a key of its content, by which a script knows that nothing changed."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    key = json.dumps({"key": hashlib.blake2b(text, digest_size=12).hexdigest()}).encode()
    return key[:-1] + b"," + text[1:]


def round_numbers(values: np.ndarray) -> list[float | None]:
    """Numbers to five significant digits; None for what is no number."""
    return [float(f"{v:.{DIGITS}g}") if math.isfinite(v) else None for v in values.tolist()]


def row_headers(rows: np.ndarray, n_layers: int) -> list[dict[str, Any]]:
    """The rows of a drawing, the top one first."""
    ordered = sorted({int(r) for r in rows}, reverse=True)
    return [{"row": r, "label": row_label(r, n_layers), "strong": r in (0, n_layers + 1)} for r in ordered]


def column_headers(tokens: Sequence[Token], prompt_length: int, last: int) -> list[dict[str, Any]]:
    """The positions of a drawing, from the first to `last`."""
    return [
        {
            "position": t.position,
            "reads": printable(t.shown),
            "special": t.is_special,
            "generated": t.position >= prompt_length,
        }
        for t in tokens
        if t.position <= last
    ]


def title(flow: Flow) -> str:
    """What the picture is, in words."""
    return f"Flow from {start_in_words(flow.row, flow.starts, flow.n_layers)}"


def note(flow: Flow) -> str:
    """How many nodes and links are drawn of how many."""
    nodes, links = len(flow.node_mass), len(flow.link_mass)
    return f"{nodes:,} of {flow.n_nodes:,} nodes · {links:,} of {flow.n_links:,} links"


def _start_nodes(flow: Flow) -> list[int]:
    is_start = (
        (flow.node_row == flow.row) & (flow.node_kind == NodeKind.BLOCK) & np.isin(flow.node_position, flow.starts)
    )
    return [int(i) for i in np.flatnonzero(is_start)]


def _reading(flow: Flow, q: int, vocabulary: dict[int, int]) -> list[Any]:
    ids = flow.reading_ids[q][:LISTED]
    kept = [
        (int(i), float(v)) for i, v in zip(ids, flow.reading_numbers[q], strict=False) if i >= 0 and math.isfinite(v)
    ]
    where = [vocabulary.setdefault(i, len(vocabulary)) for i, _ in kept]
    return [str(flow.reading_unit[q]), where, round_numbers(np.array([v for _, v in kept]))]


UNITS = {"probability": "probability", "change": "logit", "coefficient": "coefficient"}


def reading_list(flow: Flow, q: int, name: str, listed: int = 10) -> dict[str, Any] | None:
    """A reading as a list of panel.js; None where there is none."""
    if q < 0:
        return None
    unit = str(flow.reading_unit[q])
    pairs = zip(flow.reading_ids[q], flow.reading_numbers[q], strict=True)
    entries = [
        {
            "id": int(i),
            "token": printable(flow.shown.get(int(i), f"id {i}")),
            "value": float(v),
            "colour": None,
            "aside": "",
        }
        for i, v in pairs
        if i >= 0 and math.isfinite(v)
    ][:listed]
    more = {"change": " (change of logit)", "coefficient": ", one token taken away after the other"}.get(unit, "")
    return {"title": f"{name}{more}", "kind": UNITS[unit], "entries": entries, "down": False, "columns": []}
