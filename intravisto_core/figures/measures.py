"""What fills the cells of a heatmap: which number, its range, its scale and its name."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.numbers import change, significant
from intravisto_core.records import DecodedGrid, Shares
from intravisto_core.sites import Colour, Component, Reading

SCALES = ("component", "viridis")
_HUE = {Component.ATTENTION: "attention", Component.MLP: "mlp"}
_CLIP_PERCENTILE = 98.0
_CLIP_FACTOR = 1.5


@dataclass(frozen=True, slots=True)
class Measure:
    """The number behind the colour of each cell.

    values: (R, P) in the order of the grid's rows, NaN where there is none. scale: a name of `theme.colour_scale`.
    line: how a cell writes the number (percent, share, nats, change). missing: why a cell may have none.
    """

    colour: Colour
    values: np.ndarray
    name: str
    scale: str
    line: str
    low: float
    high: float
    low_text: str
    high_text: str
    missing: str = "this cell was not computed"


def measure(grid: DecodedGrid, colour: Colour | str, shares: Shares | None, scale: str) -> Measure:
    """The measure that a grid is coloured by. Updates are coloured by the change of logit, an iterative reading by
    its first length, unless a share is asked for: they have no probabilities.

    Raises:
        RequestError: the colour needs shares, or is not one that this grid has; an unknown scale.
    """
    chosen = Colour.parse(colour, "colour")
    if scale not in SCALES:
        raise RequestError(expected("scale", SCALES, scale))
    if grid.is_update and chosen not in (Colour.ATTENTION, Colour.MLP):
        chosen = Colour.LOGIT
    hue = "viridis" if scale == "viridis" else _HUE.get(grid.component, "residual")
    if grid.reading is Reading.ITERATIVE and chosen not in (Colour.ATTENTION, Colour.MLP):
        return _length(grid, chosen, hue)
    if chosen is Colour.LOGIT:
        if not grid.is_update:
            offered = [c for c in Colour if c is not Colour.LOGIT]
            raise RequestError(expected("colour", offered, "logit", "Or take norm=stream"))
        return _change(grid, hue)
    if chosen is Colour.ENTROPY:
        most = log(grid.d_vocab)
        name = "viridis" if scale == "viridis" else "entropy"
        return Measure(chosen, grid.entropy, "entropy", name, "nats", 0.0, most, "0", f"{significant(most)} nats")
    if chosen is Colour.P_MAX:
        return Measure(chosen, grid.p_max, "top probability", hue, "percent", 0.0, 1.0, "0", "100 %")
    if shares is None:
        raise RequestError(expected(f"colour {chosen.value}", "shares (trace.shares())", None, "Give shares=…"))
    return _share(grid, chosen, shares, scale)


def _length(grid: DecodedGrid, colour: Colour, hue: str) -> Measure:
    """How long the vector is along the direction of its first token, as a share of the stream's length."""
    if grid.coefficients is None:
        raise RequestError(expected("an iterative reading", "coefficients", None))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = grid.coefficients[:, :, 0] / grid.norms
    return Measure(colour, values, "length along the top token", hue, "share", 0.0, 1.0, "0", "100 % of the stream")


def _change(grid: DecodedGrid, hue: str) -> Measure:
    """The change of logit of the first token; a few far out are cut off, and the ends say so."""
    values = grid.logits[:, :, 0].astype(np.float64)
    sizes = np.abs(values[np.isfinite(values)])
    most = float(sizes.max()) if sizes.size else 1.0
    usual = float(np.percentile(sizes, _CLIP_PERCENTILE)) if sizes.size else 1.0
    cut = usual > 0 and most > _CLIP_FACTOR * usual
    high = (usual if cut else most) or 1.0
    signed = bool(np.nanmin(values, initial=0.0) < 0)
    low, low_text = (-high, ("≤ " if cut else "") + change(-high)) if signed else (0.0, "0")
    high_text = ("≥ " if cut else "") + change(high)
    scale = "diverging" if signed else hue
    return Measure(Colour.LOGIT, values, "change of logit", scale, "change", low, high, low_text, high_text)


def _share(grid: DecodedGrid, colour: Colour, shares: Shares, scale: str) -> Measure:
    values = share_rows(grid, shares, colour.value)
    finite = values[np.isfinite(values)]
    name = f"{colour.label}, by {shares.measure.label}"
    missing = "nothing is added at this row, or the share is undefined"
    if finite.size and (finite.min() < 0 or finite.max() > 1):
        most = max(1.0, float(np.abs(finite).max()))
        text = f"{significant(100 * most)} %"
        return Measure(colour, values, name, "diverging", "share", -most, most, "−" + text, text, missing)
    hue = "viridis" if scale == "viridis" else colour.value
    return Measure(colour, values, name, hue, "share", 0.0, 1.0, "0", "100 %", missing)


def share_rows(grid: DecodedGrid, shares: Shares, part: str) -> np.ndarray:
    """Shares of "attention" or "mlp" at the grid's rows and positions, (R, P); NaN at rows that no block writes."""
    array = getattr(shares, part)
    layers, length = array.shape
    if layers != grid.n_layers or (len(grid.positions) and int(grid.positions.max()) >= length):
        raise RequestError(
            expected("shares", f"{grid.n_layers} layers and the grid's positions", array.shape, "Of the same trace?")
        )
    values = np.full((len(grid.rows), len(grid.positions)), np.nan)
    for i, row in enumerate(grid.rows):
        if 1 <= row <= layers:
            values[i] = array[row - 1, grid.positions]
    return values
