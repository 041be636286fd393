"""What the panel is given of one component's update and of a next-token distribution, as tables of panel.js."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from intravisto_core.figures.numbers import probability, rank
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.panel import Entry, TokenList, hue_of
from intravisto_core.records import NextTokens, UpdateTokens, row_label
from intravisto_core.sites import Component


def update_lists(update: UpdateTokens, pins: Mapping[int, str] | None = None) -> dict[str, Any]:
    """Tokens promoted and suppressed at a cell, with their ranks in the stream before and after."""
    return _only_lists(
        TokenList(
            title,
            "logit",
            _entries(update, name, pins or {}),
            down=name == "suppressed",
            columns=("change", "rank before → after"),
            hue=hue_of(update.component) if name == "promoted" else "",
        )
        for name, title in (("promoted", "Promoted (change of logit)"), ("suppressed", "Suppressed (change of logit)"))
    )


def _entries(update: UpdateTokens, name: str, pins: Mapping[int, str]) -> list[Entry]:
    ids, change = getattr(update, f"{name}_ids"), getattr(update, name)
    before, after = getattr(update, f"{name}_before"), getattr(update, f"{name}_after")
    return [
        Entry(
            int(i),
            printable(update.shown.get(int(i), f"id {i}")),
            float(c),
            pins.get(int(i)),
            f"{rank(float(b))} → {rank(float(a))}",
        )
        for i, c, b, a in zip(ids, change, before, after, strict=True)
        if np.isfinite(c)
    ]


def next_list(tokens: NextTokens, pins: Mapping[int, str] | None = None) -> dict[str, Any]:
    """Probabilities that a sampler draws with, and beside them the model's own."""
    entries = [
        Entry(
            int(i),
            printable(tokens.shown.get(int(i), f"id {i}")),
            float(sampled),
            (pins or {}).get(int(i)),
            probability(float(own)),
        )
        for i, own, sampled in zip(tokens.token_ids, tokens.model, tokens.sampled, strict=True)
    ]
    return _only_lists([TokenList("Next token", "chance", entries, columns=("drawn with", "model"))])


@dataclass(frozen=True, slots=True)
class Step:
    """What an update did to one token's lead over another, as a change of logit. row: 1 to L."""

    row: int
    component: Component
    change: float


def step_list(steps: Sequence[Step], title: str, n_layers: int) -> dict[str, Any]:
    """Updates as lines that lead to their cells; a click reports the line's number from 0."""
    entries = [
        {
            "kind": str(s.component),
            "name": f"{row_label(s.row, n_layers)} {s.component.label}",
            "value": s.change,
        }
        for s in steps
    ]
    return _only_lists([]) | {"steps": {"title": printable(title), "entries": entries}}


def _only_lists(lists: Any) -> dict[str, Any]:
    return {
        "row": None,
        "position": None,
        "reason": "",
        "lists": [asdict(part) for part in lists],
        "facts": [],
        "junctions": [],
        "writes": [],
    }
