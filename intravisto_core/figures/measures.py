"""What fills the cells of a heatmap: which number, its range, its scale and its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.numbers import change, nats, probability, rank, share, significant, verdict
from intravisto_core.figures.text import printable
from intravisto_core.records import DecodedGrid, Shares
from intravisto_core.sites import Colour, Component, Reading

SCALES = ("component", "viridis", "cividis")
SHARE_COLOURS = (Colour.ATTENTION, Colour.MLP)
STREAM_COLOURS = (Colour.STREAM_NORM, Colour.COSINE)
WATCHING = (Colour.RANK, Colour.PROBABILITY)
FORMATS: dict[str, Callable[[float], str]] = {
    "percent": probability,
    "share": share,
    "nats": nats,
    "change": change,
    "rank": rank,
    "number": significant,
    "verdict": verdict,
}
_HUE = {Component.ATTENTION: "attention", Component.MLP: "mlp"}
_CLIP_PERCENTILE = 98.0
_CLIP_FACTOR = 1.5
_LOG_DECADES = 4


@dataclass(frozen=True, slots=True)
class Measure:
    """The number behind the colour of each cell.

    values: (R, P) in the order of the grid's rows, NaN where there is none. scale: a name of `theme.colour_scale`.
    line: how a cell writes the number, a key of `FORMATS`. low, high: the values at the scale's ends; low is above
    high where small numbers are the strong ones. log: whether the scale is even in the logarithm. in_hover: whether the
    hover must name the number, as it stands nowhere else there. missing: why a cell may have none.
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
    log: bool = False
    in_hover: bool = False

    def fractions(self) -> np.ndarray:
        """Where each cell stands on the scale, from 0 at the low end to 1; NaN where it has no number."""
        low, high, values = self.low, self.high, self.values.astype(np.float64)
        if self.log:
            low, high, values = log(low), log(high), np.log(np.maximum(values, np.finfo(np.float64).tiny))
        fractions: np.ndarray = np.clip((values - low) / (high - low), 0.0, 1.0)
        return fractions


def measure(
    grid: DecodedGrid,
    colour: Colour | str,
    shares: Shares | None,
    scale: str,
    log_scale: bool = False,
    clip: bool = False,
) -> Measure:
    """The measure that a grid is coloured by. Updates are coloured by the change of logit, an iterative reading by
    its first length, unless shares or numbers of the stream are asked for: they have no probabilities.

    log_scale: even steps of colour are even factors; only where no number is negative. clip: the ends of the scale
    are the 2nd and 98th percentile of the numbers shown.

    Raises:
        RequestError: the colour needs shares or a watched token, or is not one that this grid has; an unknown scale.
    """
    chosen = Colour.parse(colour, "colour")
    if scale not in SCALES:
        raise RequestError(expected("scale", SCALES, scale))
    made = _measure(grid, chosen, shares, scale)
    if clip:
        made = _clip(made)
    return _make_logarithmic(made) if log_scale else made


def _measure(grid: DecodedGrid, chosen: Colour, shares: Shares | None, scale: str) -> Measure:
    hue = scale if scale != "component" else _HUE.get(grid.component, "residual")
    if chosen in STREAM_COLOURS:
        return _stream(grid, chosen, hue)
    if chosen in SHARE_COLOURS:
        if shares is None:
            raise RequestError(expected(f"colour {chosen.value}", "shares (trace.shares())", None, "Give shares=…"))
        return _share(grid, chosen, shares, scale)
    if grid.reading is Reading.ITERATIVE:
        return _length(grid, Colour.LOGIT if grid.is_update else chosen, hue)
    if grid.is_update:
        return _change(grid, hue)
    if chosen is Colour.LOGIT:
        offered = [c for c in Colour if c is not Colour.LOGIT]
        raise RequestError(expected("colour", offered, "logit", "Or take norm=stream"))
    if chosen is Colour.ENTROPY:
        most = log(grid.d_vocab)
        name = "entropy" if scale == "component" else scale
        return Measure(chosen, grid.entropy, "entropy", name, "nats", 0.0, most, "0", f"{significant(most)} nats")
    if chosen is Colour.P_MAX:
        return Measure(chosen, grid.p_max, "top probability", hue, "percent", 0.0, 1.0, "0", share(1))
    if chosen in WATCHING:
        return _watched(grid, chosen, hue)
    if chosen is Colour.CORRECT:
        return _correct(grid, hue)
    return _nats(grid, chosen, hue)


def _watched(grid: DecodedGrid, colour: Colour, hue: str) -> Measure:
    """Rank or probability of the first watched token. Rank 1 is the strong end, on a logarithmic scale."""
    if not grid.watch:
        raise RequestError(expected(f"colour {colour.value}", "a watched token", None, "Give watch=[' Rome']"))
    token = grid.watch[0]
    of = f"of {printable(token.shown)}"
    if colour is Colour.PROBABILITY:
        values = token.probability
        return Measure(colour, values, f"probability {of}", hue, "percent", 0.0, 1.0, "0", share(1), in_hover=True)
    ranks = np.where(token.rank > 0, token.rank, np.nan).astype(np.float64)
    last = float(max(2, grid.d_vocab))
    return Measure(
        colour, ranks, f"rank {of}", hue, "rank", last, 1.0, f"last of {rank(last)}", "1st", log=True, in_hover=True
    )


def _nats(grid: DecodedGrid, colour: Colour, hue: str) -> Measure:
    """A divergence or a log-probability, over the range that it has in this grid."""
    if colour is Colour.NEXT:
        values, name = grid.next_log_prob, "ln p of the real next token"
        missing = "nothing comes after the last position"
    elif colour is Colour.KL_FINAL:
        values, name, missing = grid.kl_final, "KL from the model's own prediction", "this cell was not computed"
    else:
        values, name, missing = grid.kl_below, "KL from the row below", "there is no row below"
    low, high = _range(values)
    low, high = (low, 0.0) if colour is Colour.NEXT else (0.0, high)
    if low == high:
        low, high = (-1.0, 0.0) if colour is Colour.NEXT else (0.0, 1.0)
    return Measure(colour, values, name, hue, "nats", low, high, *_ends("nats", low, high), missing, in_hover=True)


def _correct(grid: DecodedGrid, hue: str) -> Measure:
    """1 where the top token is the one that really comes next, 0 where it is not."""
    if grid.next_ids is None:
        raise RequestError(expected("colour correct", "a grid that knows the tokens that come next", None))
    right = (grid.token_ids[:, :, 0] == grid.next_ids).astype(np.float64)
    right[:, grid.next_ids < 0] = np.nan
    right[grid.token_ids[:, :, 0] < 0] = np.nan
    missing = "nothing comes after the last position"
    name = "top token is the real next one"
    return Measure(Colour.CORRECT, right, name, hue, "verdict", 0.0, 1.0, "wrong", "right", missing, in_hover=True)


def _stream(grid: DecodedGrid, colour: Colour, hue: str) -> Measure:
    """Length of the stream, or its cosine with the row below; cells of other components are of the same stream."""
    if colour is Colour.STREAM_NORM:
        _, high = _range(grid.norms)
        high = high or 1.0
        return Measure(
            colour, grid.norms, "length of the stream", hue, "number", 0.0, high, "0", significant(high), in_hover=True
        )
    low, _ = _range(grid.cosine)
    signed = low < 0
    ends = (-1.0, 1.0, "−1", "1") if signed else (0.0, 1.0, "0", "1")
    name, missing = "cosine with the row below", "there is no row below"
    return Measure(
        colour, grid.cosine, name, "diverging" if signed else hue, "number", *ends, missing=missing, in_hover=True
    )


def _length(grid: DecodedGrid, colour: Colour, hue: str) -> Measure:
    """How long the vector is along the direction of its first token, as a share of the stream's length."""
    if grid.coefficients is None:
        raise RequestError(expected("an iterative reading", "coefficients", None))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = grid.coefficients[:, :, 0] / grid.norms
    return Measure(
        colour, values, "length along the top token", hue, "share", 0.0, 1.0, "0", f"{share(1)} of the stream"
    )


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
        text = share(most)
        return Measure(colour, values, name, "diverging", "share", -most, most, "−" + text, text, missing)
    hue = colour.value if scale == "component" else scale
    return Measure(colour, values, name, hue, "share", 0.0, 1.0, "0", share(1), missing)


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


def _range(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _ends(line: str, low: float, high: float, below: str = "", above: str = "") -> tuple[str, str]:
    write = FORMATS[line]
    return below + (write(low) if low else "0"), above + (write(high) if high else "0")


def _clip(made: Measure) -> Measure:
    """The scale over the middle of the numbers shown, so that a few far out do not flatten the rest."""
    finite = made.values[np.isfinite(made.values)]
    if made.line == "verdict" or not finite.size:
        return made
    if made.scale == "diverging":
        high = float(np.percentile(np.abs(finite), _CLIP_PERCENTILE))
        low = -high
    else:
        low, high = (float(np.percentile(finite, p)) for p in (100 - _CLIP_PERCENTILE, _CLIP_PERCENTILE))
    if not high > low:
        return made
    signs = ("≤ ", "≥ ")
    if made.low > made.high:
        low, high, signs = high, low, ("≥ ", "≤ ")
    low_text, high_text = _ends(made.line, low, high, *signs)
    return replace(made, low=low, high=high, low_text=low_text, high_text=high_text)


def _make_logarithmic(made: Measure) -> Measure:
    """The scale even in the logarithm, over at most four powers of ten; as it is where a number is negative."""
    finite = made.values[np.isfinite(made.values)]
    if made.log or made.line == "verdict" or not finite.size or made.low < 0 or finite.min() < 0 or made.high <= 0:
        return made
    low = max(made.low, made.high * 10.0**-_LOG_DECADES)
    if low == made.low:
        return replace(made, log=True)
    return replace(made, log=True, low=low, low_text="≤ " + _ends(made.line, low, made.high)[0])
