"""What the panel of the selected cell is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.numbers import nats, significant
from intravisto_core.figures.text import printable
from intravisto_core.records import DecodedGrid, Shares
from intravisto_core.sites import Component, Reading


@dataclass(frozen=True, slots=True)
class Entry:
    """One listed token. value: probability, change of logit or coefficient. colour: of its pin, else None.

    aside: a further number, written out, else "".
    """

    id: int
    token: str
    value: float
    colour: str | None = None
    aside: str = ""


@dataclass(frozen=True, slots=True)
class TokenList:
    """A table of tokens. kind: what the values are (probability, logit, coefficient; chance is a probability that
    may be 0). down: they are lowered. columns: names of value and aside, where there are asides. hue: attention or mlp
    where that part raised them, else "".
    """

    title: str
    kind: str
    entries: list[Entry]
    down: bool = False
    columns: tuple[str, ...] = ()
    hue: str = ""


def hue_of(component: Component) -> str:
    """The colour of what a component writes: attention and MLP have one of their own."""
    return component.value if component in (Component.ATTENTION, Component.MLP) else ""


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of the cell, written out."""

    name: str
    value: str
    help: str


@dataclass(frozen=True, slots=True)
class ShareBar:
    """How much one part counts where parts are added. kind: residual, attention or mlp."""

    kind: str
    name: str
    share: float


@dataclass(frozen=True, slots=True)
class ShareBars:
    """The parts that are added at one place, and how much each counts (docs/methods.md §5)."""

    title: str
    parts: list[ShareBar]


@dataclass(frozen=True, slots=True)
class PromotedTokens:
    """What a component promotes at this cell, most first."""

    kind: str
    name: str
    tokens: list[str]


@dataclass(frozen=True, slots=True)
class Panel:
    """Everything about one cell. reason: why the cell is blank, else ""."""

    row: int
    position: int
    reason: str
    lists: list[TokenList]
    facts: list[Fact]
    junctions: list[ShareBars]
    writes: list[PromotedTokens]


def panel_data(
    grid: DecodedGrid,
    row: int,
    position: int,
    *,
    listed: int = 10,
    pins: Mapping[int, str] | None = None,
    shares: Shares | None = None,
    writes: Sequence[DecodedGrid] = (),
) -> dict[str, Any]:
    """The data of panel.js for the cell at a heatmap row and a position of the text, which the grid must show.

    listed: how many tokens at most. pins: token id → colour of its line in the chart. shares: of the trace, for the
    share bars. writes: grids of attention and MLP that show the same cell, for what each of them wrote.

    Raises:
        RequestError: the grid does not show that cell.
    """
    r, p = _find(grid, row, position)
    reason = grid.blank[r] or ("" if grid.token_ids[r, p, 0] >= 0 else "this cell was not computed")
    panel = Panel(
        row=row,
        position=position,
        reason=reason,
        lists=[] if reason else _lists(grid, r, p, listed, pins or {}),
        facts=[] if reason else _facts(grid, r, p),
        junctions=_share_bars(row, position, shares) if shares is not None else [],
        writes=[w for g in writes if (w := _promoted_tokens(g, row, position))],
    )
    return asdict(panel)


def _find(grid: DecodedGrid, row: int, position: int) -> tuple[int, int]:
    rows, positions = np.flatnonzero(grid.rows == row), np.flatnonzero(grid.positions == position)
    if not rows.size or not positions.size:
        raise RequestError(expected("cell", "a row and a position that the grid shows", (row, position)))
    return int(rows[0]), int(positions[0])


def _entries(
    grid: DecodedGrid, ids: np.ndarray, values: np.ndarray, listed: int, pins: Mapping[int, str]
) -> list[Entry]:
    pairs = [(int(i), float(v)) for i, v in zip(ids, values, strict=True) if i >= 0 and np.isfinite(v)]
    return [Entry(i, printable(grid.shown.get(i, f"id {i}")), v, pins.get(i)) for i, v in pairs[:listed]]


def _lists(grid: DecodedGrid, r: int, p: int, listed: int, pins: Mapping[int, str]) -> list[TokenList]:
    ids = grid.token_ids[r, p]
    if grid.reading is Reading.ITERATIVE and grid.coefficients is not None:
        entries = _entries(grid, ids, grid.coefficients[r, p], listed, pins)
        return [TokenList("Tokens, one taken away after the other", "coefficient", entries)]
    if not grid.is_update:
        return [TokenList("Top tokens", "probability", _entries(grid, ids, grid.probabilities[r, p], listed, pins))]
    half = max(1, listed // 2)
    raised = _entries(grid, ids, grid.logits[r, p], half, pins)
    lists = [TokenList("Promoted (change of logit)", "logit", raised, hue=hue_of(grid.component))]
    if grid.suppressed_ids is not None and grid.suppressed_logits is not None:
        lowered = _entries(grid, grid.suppressed_ids[r, p], grid.suppressed_logits[r, p], half, pins)
        lists.append(TokenList("Suppressed (change of logit)", "logit", lowered, down=True))
    return lists


def _facts(grid: DecodedGrid, r: int, p: int) -> list[Fact]:
    rows = [
        ("entropy", nats(grid.entropy[r, p]), "how undecided this cell is; 0 is certain"),
        ("KL from final", nats(grid.kl_final[r, p]), "how far from the model's own prediction at this position"),
        ("KL from below", nats(grid.kl_below[r, p]), "how far the prediction moved since the row below"),
        ("ln p of next", significant(grid.next_log_prob[r, p]), "log-probability of the token that really comes next"),
        ("stream norm", significant(grid.norms[r, p]), "length of the stream's vector here"),
        ("cosine to below", significant(grid.cosine[r, p]), "direction of the stream compared with the row below"),
    ]
    facts = [Fact(name, value, help_text) for name, value, help_text in rows if value != "–"]
    if grid.winner is not None and grid.winner[r, p]:
        facts.append(Fact("table", str(grid.winner[r, p]), "the table that the max-probability lens took here"))
    for watched in grid.watch:
        if watched.rank[r, p] > 0:
            text = f"rank {int(watched.rank[r, p]):,}"
            facts.append(Fact(printable(watched.shown), text, f"the followed token {printable(watched.text)}"))
    return facts


def _share_bars(row: int, position: int, shares: Shares) -> list[ShareBars]:
    layers, length = shares.attention.shape
    if not 1 <= row <= layers or not 0 <= position < length:
        return []
    at = (row - 1, position)
    attention, mlp = float(shares.attention[at]), float(shares.mlp[at])
    by = f"by {shares.measure.label}"
    if shares.block == "parallel":
        stream = ShareBar("residual", "stream", float(shares.residual_attention[at]))
        writers = [ShareBar("attention", "attention", attention), ShareBar("mlp", "MLP", mlp)]
        found = [ShareBars(f"Block output, {by}", [stream, *writers])]
    else:
        before = ShareBar("residual", "stream", float(shares.residual_attention[at]))
        after = ShareBar("residual", "stream", float(shares.residual_mlp[at]))
        found = [
            ShareBars(f"After attention, {by}", [before, ShareBar("attention", "attention", attention)]),
            ShareBars(f"Block output, {by}", [after, ShareBar("mlp", "MLP", mlp)]),
        ]
    return [j for j in found if not any(isnan(part.share) for part in j.parts)]


def _promoted_tokens(grid: DecodedGrid, row: int, position: int) -> PromotedTokens | None:
    r, p = _find(grid, row, position)
    ids = [int(i) for i in grid.token_ids[r, p] if i >= 0][:3]
    if not ids:
        return None
    kind = {Component.ATTENTION: "attention", Component.MLP: "mlp"}.get(grid.component, "residual")
    verb = "promotes" if grid.is_update else "reads as"
    tokens = [printable(grid.shown.get(i, f"id {i}")) for i in ids]
    return PromotedTokens(kind, f"{grid.component.label} {verb}", tokens)
