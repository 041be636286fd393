"""Interventions in words, for cards, tables and notes."""

from __future__ import annotations

from collections.abc import Callable

from intravisto_core.request.checks import Span
from intravisto_core.request.interventions import (
    Ablate,
    AtSite,
    Direction,
    FreezePattern,
    Intervention,
    KnockOut,
    Patch,
    PromptSet,
    RemoveDirection,
    Replace,
    ReplaceMain,
    Scale,
    SetValue,
    Steer,
    SwapDirection,
)
from intravisto_core.request.positions import Generated, Positions
from intravisto_core.request.tensors import TensorRef
from intravisto_core.sites import Ablation, Lens, Site, SteerUnit

_SITES = {
    Site.RESID_PRE: "block input",
    Site.RESID_MID: "after attention",
    Site.RESID_POST: "block output",
    Site.ATTN_OUT: "attention",
    Site.MLP_OUT: "MLP",
    Site.Z: "all heads",
    Site.ACT: "all neurons",
}


def in_words(what: Intervention, read: Callable[[int], str] = str, main: str = "") -> str:
    """`layer 3, last prompt token, block output: the main component ␣Rome becomes ␣Paris`.

    read: how a position is written, such as `11 ‘:’`; its number alone where no text is at hand. main: what the main
    component is, where it is known.
    """
    layer = f"layer {what.layer}" if what.layer >= 0 else f"layer {what.layer} (from the end)"
    if isinstance(what, KnockOut):
        queries, keys = _positions(what.queries, read), _positions(what.keys, read)
        look = "looks" if _is_one(what.queries) else "look"
        return f"{layer}, {_heads(what.heads)}: {queries} no longer {look} at {keys}"
    if isinstance(what, FreezePattern):
        return f"{layer}, {_heads(what.heads)}: the attention pattern stays as in the baseline"
    return f"{layer}, {_positions(what.positions, read)}, {_part(what)}: {_done(what, main)}"


def _part(what: AtSite) -> str:
    if what.head is not None:
        return f"head {what.head}"
    if isinstance(what.neuron, tuple):
        return f"expert {what.neuron[0]}, neuron {what.neuron[1]}"
    return _SITES[what.site] if what.neuron is None else f"neuron {what.neuron}"


def _done(what: Intervention, main: str) -> str:
    if isinstance(what, Replace):
        scaled = "" if what.match_norm else ", not scaled"
        return f"replaced by {_token(what.token)}{_lens(what.lens)}{scaled}"
    if isinstance(what, ReplaceMain):
        known = f" {main}" if main else ""
        return f"the main component{known} becomes {_token(what.token)}{_lens(what.lens)}"
    if isinstance(what, Ablate):
        return _ablated(what)
    if isinstance(what, Patch):
        other = "" if what.source_layer is None else f", its layer {what.source_layer}"
        spots = "" if what.source_positions is None else f", there {_positions(what.source_positions, str)}"
        return f"from another prompt{other}{spots}"
    if isinstance(what, Steer):
        unit = " × the stream's length" if what.unit is SteerUnit.STREAM else ""
        return f"pushed by {what.strength:g}{unit} along {_direction(what.direction)}"
    if isinstance(what, RemoveDirection):
        return f"without the direction of {_direction(what.direction)}"
    if isinstance(what, SwapDirection):
        return f"{_direction(what.source)} and {_direction(what.target)} swapped"
    if isinstance(what, Scale):
        return f"× {what.factor:g}"
    assert isinstance(what, SetValue)
    return "set to given values" if isinstance(what.value, TensorRef) else f"set to {what.value:g}"


def _ablated(what: Ablate) -> str:
    if what.how is Ablation.ZERO:
        return "taken away"
    if what.how is Ablation.RESAMPLE:
        return "another prompt's in its place"
    of = f"over “{what.source.name}”" if isinstance(what.source, PromptSet) else "over another prompt"
    return f"its mean {of if what.source is not None else 'over this text'} in its place"


def _is_one(spots: Positions) -> bool:
    return isinstance(spots, Generated) or (isinstance(spots, tuple) and len(spots) == 1) or spots in ("prompt", "all")


def _positions(spots: Positions, read: Callable[[int], str]) -> str:
    if isinstance(spots, Generated):
        return f"generated token {spots.step}"
    if isinstance(spots, Span):
        return f"positions {spots.start} to {spots.stop - 1}" if spots.stop > 0 else f"positions {spots.start} on"
    if isinstance(spots, str):
        return {"prompt": "the whole prompt", "all": "the whole text"}[spots]
    if spots == (-1,):
        return "last prompt token"
    return ("position " if len(spots) == 1 else "positions ") + ", ".join(map(read, spots))


def _heads(heads: str | tuple[int, ...]) -> str:
    if isinstance(heads, str):
        return "all heads"
    return ("head " if len(heads) == 1 else "heads ") + ", ".join(map(str, heads))


def _token(text: str) -> str:
    return text.replace(" ", "␣").replace("\n", "⏎")


def _direction(value: Direction) -> str:
    return _token(value) if isinstance(value, str) else f"“{value.name}”" if value.name else "a given direction"


def _lens(lens: Lens) -> str:
    return "" if lens is Lens.OUTPUT else f" ({lens.label} table)"
