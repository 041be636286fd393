"""What a patching grid says in plain sentences. All of it is made by the rules in this file, from the numbers alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from intravisto_core.figures.numbers import change, nats, probability, share, significant, whole_share
from intravisto_core.figures.text import printable
from intravisto_core.records import PatchGrid
from intravisto_core.records.patching import FLOORS_OF_WHOLE
from intravisto_core.sites import Patching, PatchMetric, Site

Piece = tuple[str, int]
"""A piece of a sentence; 1 where it is strong."""

# What holds so much of the difference holds some of it.
SOME = 0.05
NAMED_PARTS, NAMED_AGAINST = 5, 3
STREAM = (Site.RESID_PRE, Site.RESID_MID, Site.RESID_POST)
TITLES: dict[Site, str] = {
    Site.RESID_PRE: "Stream before each layer",
    Site.RESID_MID: "Stream after each attention",
    Site.RESID_POST: "Stream after each layer",
    Site.ATTN_OUT: "What each attention writes",
    Site.MLP_OUT: "What each MLP writes",
    Site.Z: "Heads",
    Site.Q: "Queries of heads",
    Site.K: "Keys of kv heads",
    Site.V: "Values of kv heads",
    Site.PATTERN: "Patterns of heads",
}
BEFORE: dict[Site, str] = {
    Site.RESID_PRE: "Before layer ",
    Site.RESID_MID: "After the attention of layer ",
    Site.RESID_POST: "After layer ",
    Site.ATTN_OUT: "Attention of layer ",
    Site.MLP_OUT: "MLP of layer ",
}
VALUES: dict[Site, str] = {
    **dict.fromkeys(STREAM, "stream"),
    Site.ATTN_OUT: "attention output",
    Site.MLP_OUT: "MLP output",
    Site.Z: "output of this head",
    Site.Q: "queries of this head",
    Site.K: "keys of this kv head",
    Site.V: "values of this kv head",
    Site.PATTERN: "pattern of this head",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A cell that is named: its index of layer and column, and its recovered share."""

    layer: int
    column: int
    value: float


def describe_columns(grid: PatchGrid) -> list[str]:
    """What each column is called: `5 ␣John`, with both tokens where they differ, or `head 3`."""
    if grid.heads is not None:
        kind = "kv head" if grid.what in (Site.K, Site.V) else "head"
        return [f"{kind} {head}" for head in grid.heads.tolist()]
    partner = dict(grid.alignment.tolist())
    names = []
    for position in grid.positions.tolist():
        clean, corrupt = (grid.clean_tokens[position], grid.corrupt_tokens[partner[position]])
        shown = printable(clean.shown) if clean.id == corrupt.id else f"{clean.shown} | {corrupt.shown}"
        names.append(f"{position} {printable(shown)}")
    return names


def describe_metric(grid: PatchGrid) -> str:
    """What m is: `␣Mary − ␣John`."""
    target, contrast = (grid.shown.get(i, "") for i in (grid.targets[0], grid.contrasts[0]))
    if grid.metric is PatchMetric.KL:
        return "KL from the clean run, nats"
    if grid.metric is PatchMetric.PROBABILITY:
        return f"probability of {printable(target)}"
    return f"{printable(target)} − {printable(contrast)}, logits"


def name_token(grid: PatchGrid, id: int) -> str:
    """A target or contrast as text."""
    return printable(grid.shown.get(id, f"id {id}"))


def name_metric(grid: PatchGrid) -> str:
    """What is measured, as the subject of a sentence: `lead of ␣Mary over ␣John`."""
    if grid.metric is PatchMetric.KL:
        return "distance from the clean run's prediction"
    several = len(set(grid.targets)) > 1
    target = "the target" if several else name_token(grid, grid.targets[0])
    if grid.metric is PatchMetric.PROBABILITY:
        return f"probability of {target}"
    contrast = "the contrast" if several else name_token(grid, grid.contrasts[0])
    return f"lead of {target} over {contrast}"


def show_metric(grid: PatchGrid, value: float) -> str:
    """The metric of a run, with its unit."""
    shows: dict[PatchMetric, Callable[[float], str]] = {
        PatchMetric.LOGIT_DIFF: change,
        PatchMetric.PROBABILITY: probability,
        PatchMetric.KL: nats,
    }
    return shows[grid.metric](value)


def ends_of(grid: PatchGrid) -> tuple[str, float, str, float]:
    """The run that receives and the one that gives: name and metric of each."""
    ends = ("corrupt", grid.corrupt), ("clean", grid.clean)
    (receiver, base), (donor, goal) = ends if grid.direction is Patching.DENOISE else ends[::-1]
    return receiver, base, donor, goal


def has_shares(grid: PatchGrid) -> bool:
    """Whether effects can be told as shares of the way from one run to the other."""
    whole = np.array([grid.clean - grid.corrupt]) if grid.made else grid.cleans - grid.corrupts
    floors = np.array([grid.noise_floor]) if grid.made else grid.noise_floors
    return bool(np.all((whole != 0) & (np.abs(whole) >= FLOORS_OF_WHOLE * floors)))


def name_where(grid: PatchGrid) -> str:
    """Where the heads of a grid are patched."""
    n = len(grid.positions)
    return "at one position" if n == 1 else f"at {n} positions at once"


def write_does(grid: PatchGrid) -> str:
    """How a sentence about a cell begins, up to the metric of the patched run."""
    receiver, base, donor, _ = ends_of(grid)
    where = "here" if grid.heads is None else name_where(grid)
    where += f", on the way {grid.path} alone" if grid.path else ""
    mean = "" if len(grid.cleans) == 1 else " on average"
    return (
        f"With the {donor} run's {VALUES[grid.what]} {where}, the {receiver} run's {name_metric(grid)} goes{mean} "
        f"from {show_metric(grid, base)} to "
    )


def write_way(grid: PatchGrid) -> str:
    """How such a sentence ends, after the share."""
    goal = ends_of(grid)[3]
    return f" of the way to {show_metric(grid, goal)}." if has_shares(grid) else "."


def write_skipped(grid: PatchGrid) -> str:
    """Why a cell need not run."""
    return (
        "Not run, since it can change nothing: both runs have read the same tokens up to here, so their vectors are "
        "equal."
        if grid.heads is None
        else "Not run, since it can change nothing: both runs have the same values here."
    )


def write_about(grid: PatchGrid) -> str:
    """What the cells of a grid are."""
    receiver, _, donor, _ = ends_of(grid)
    if not has_shares(grid):
        return (
            f"change of the {name_metric(grid)} when one vector of the {donor} run is put into the {receiver} one; the "
            "two runs lie too near each other for shares"
        )
    if grid.metric is PatchMetric.LOGIT_DIFF and len(set(grid.targets)) == 1:
        target, contrast = name_token(grid, grid.targets[0]), name_token(grid, grid.contrasts[0])
        way = (
            f"back from {contrast} to {target}"
            if grid.direction is Patching.DENOISE
            else f"from {target} to {contrast}"
        )
    else:
        way = f"from the {receiver} run to the {donor} one"
    return f"share of the way {way}, when one vector of the {donor} run is put into the {receiver} one"


def name_place(grid: PatchGrid, column: int) -> str:
    """The token of a column in quotation marks."""
    return f"‘{printable(grid.clean_tokens[int(grid.positions[column])].shown)}’"


def find_parts(grid: PatchGrid) -> tuple[list[Part], list[Part]]:
    """The heads, or places of writing parts, that carry most of the difference, and those that work against it.

    None of the stream, which carries what others wrote.
    """
    if grid.what in STREAM:
        return [], []
    values = np.nan_to_num(grid.recovered if has_shares(grid) else grid.effect)
    values = np.where(grid.counts, values, 0)
    least = SOME if has_shares(grid) else 0.0
    order = np.argsort(-np.abs(values), axis=None, kind="stable")
    width = values.shape[1]
    parts = [Part(int(i) // width, int(i) % width, float(values.flat[i])) for i in order]
    carry = [part for part in parts if part.value > least][:NAMED_PARTS]
    return carry, [part for part in parts if part.value < -least][:NAMED_AGAINST]


def name_part(grid: PatchGrid, part: Part) -> str:
    """`L23H3`, or `layer 3 at ‘␣John’`."""
    layer = int(grid.layers[part.layer])
    if grid.heads is not None:
        return f"L{layer}H{int(grid.heads[part.column])}"
    return f"layer {layer} at {name_place(grid, part.column)}"


def write_agreement(grid: PatchGrid) -> str:
    """How far the estimate agrees with the exact values, and where it fails worst."""
    if grid.estimate is None or not np.isfinite(grid.correlation):
        return ""
    words = f"correlation {grid.correlation:.2f}".replace("-", "−")
    name = "Heads" if grid.heads is not None else "Stream" if grid.what in STREAM else "Writes"
    gaps = np.where(grid.counts & ~grid.skipped, np.abs(grid.effect - grid.estimate), 0)
    gaps = np.nan_to_num(gaps)
    layer, column = (int(i) for i in np.unravel_index(int(gaps.argmax()), gaps.shape))
    if not has_shares(grid) or gaps[layer, column] < SOME * abs(grid.clean - grid.corrupt):
        return f"{name}: {words}."
    sign = 1 if grid.direction is Patching.DENOISE else -1
    guess = sign * float(grid.estimate[layer, column]) / (grid.clean - grid.corrupt)
    part = Part(layer, column, float(grid.recovered[layer, column]))
    where = name_part(grid, part)
    return f"{name}: {words}; it is worst at {where}: {whole_share(guess)}, where {whole_share(part.value)} is right."


def write_floor(grid: PatchGrid) -> str:
    """The noise floor in words; as a share where there are shares."""
    if has_shares(grid):
        size = share(grid.noise_floor / abs(grid.clean - grid.corrupt))
    else:
        size = significant(grid.noise_floor)
    return f"below the noise floor ({size})"
