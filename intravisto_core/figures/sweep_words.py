"""What a sweep of ablations says in plain sentences, made from the numbers alone by the rules in this file."""

from __future__ import annotations

import numpy as np

from intravisto_core.figures.numbers import change, significant
from intravisto_core.figures.text import printable
from intravisto_core.records import SweepGrid
from intravisto_core.sites import Ablation, Site

NAMED = 5
TITLES = {Site.Z: "Heads", Site.ATTN_OUT: "Attention", Site.MLP_OUT: "MLP"}
PARTS = {Site.Z: "this head", Site.ATTN_OUT: "this layer's attention", Site.MLP_OUT: "this layer's MLP"}


def name_lead(grid: SweepGrid, prompt: int | None = None) -> str:
    """`lead of ␣Mary over ␣John`, of one prompt or, where all have the same tokens, of all."""
    i = 0 if prompt is None else prompt
    several = prompt is None and len(set(zip(grid.targets, grid.contrasts, strict=True))) > 1
    if several:
        return "lead of each prompt's token over its rival"
    target, contrast = (printable(grid.shown[ids[i]]) for ids in (grid.targets, grid.contrasts))
    return f"lead of {target} over {contrast}"


def write_about(grid: SweepGrid, prompt: int | None = None) -> str:
    """What the cells are."""
    how = "set to zero" if grid.how is Ablation.ZERO else "replaced by its mean over the text"
    n = len(grid.prompts)
    mean = f", mean over {n} prompts" if prompt is None and n > 1 else ""
    return f"change of the {name_lead(grid, prompt)} when one part is {how} ({grid.where}){mean}"


def choose_values(grid: SweepGrid, prompt: int | None = None) -> tuple[np.ndarray, float, float]:
    """Effects (L, C), the metric as it is, and the noise floor: of one prompt, or the means of all."""
    if prompt is None:
        return grid.effect, float(grid.metrics.mean()), grid.noise_floor
    return grid.effects[prompt], float(grid.metrics[prompt]), float(grid.noise_floors[prompt])


def name_part(grid: SweepGrid, row: int, column: int) -> str:
    """`L23H3`, `layer 3 MLP`."""
    layer = int(grid.layers[row])
    if grid.heads is None:
        return f"layer {layer} {TITLES[grid.what]}"
    return f"L{layer}H{int(grid.heads[column])}"


def find_parts(grid: SweepGrid, prompt: int | None = None) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The parts without which the lead falls most, and those without which it rises most, above the noise floor."""
    values, _, floor = choose_values(grid, prompt)
    order = np.argsort(np.nan_to_num(values), axis=None, kind="stable")
    places = [(int(i) // values.shape[1], int(i) % values.shape[1]) for i in order]
    falls = [place for place in places if values[place] < -floor][:NAMED]
    return falls, [place for place in places[::-1] if values[place] > floor][:NAMED]


def write_sentence(grid: SweepGrid) -> str:
    """The strongest part in a sentence."""
    falls, _ = find_parts(grid)
    if not falls:
        return f"Whichever part is taken away, the {name_lead(grid)} falls by no more than rounding."
    row, column = falls[0]
    n = len(grid.prompts)
    mean = f" on average over {n} prompts" if n > 1 else ""
    return (
        f"The {name_lead(grid)} is {change(float(grid.metrics.mean()))}{mean}. It falls most without "
        f"{name_part(grid, row, column)}: by {significant(abs(float(grid.effect[row, column])))} logits."
    )
