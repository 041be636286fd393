"""What one backward pass foretells of every cell of a patching grid (docs/methods.md §8, attribution patching)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from intravisto_core.experiments.gradients import differentiate_at, find_place
from intravisto_core.experiments.passage import Passage
from intravisto_core.experiments.patch_cells import INSIDE_ATTENTION, Cell
from intravisto_core.experiments.patch_runs import Exchange
from intravisto_core.inspection.hooks import on_input, on_output
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing.attention import captured_by
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.heads_sink import HeadsSink


def estimate_effects(exchange: Exchange, cells: Sequence[Cell], edits: Edits | None = None) -> Float[np.ndarray, " n"]:
    """`⟨∇m at the receiving run, donor − receiver⟩` of each cell, in units of m.

    Of a pattern the slope is that of z at the receiver's own values. edits: what makes the receiver's run.

    Raises:
        ModelError: the model cannot be differentiated.
    """
    model, site = exchange.model, exchange.site
    layers = sorted({cell.layer for cell in cells})
    slopes = compute_slopes(exchange, Site.Z if site is Site.PATTERN else site, layers, edits)
    out = np.zeros(len(cells))
    for i, cell in enumerate(cells):
        change = exchange.read(cell, exchange.donor).float() - exchange.read(cell, exchange.receiver, own=True).float()
        at = [own for own, _ in cell.places]
        slope = slopes[cell.layer]
        if site is Site.PATTERN:
            v = exchange.receiver.site(Site.V, cell.layer).float()
            assert cell.head is not None
            change = change @ v[cell.head * len(v) // model.dimensions.n_heads]
        own = slope[at] if cell.head is None else slope[at].unflatten(1, (_count_heads(model, site), -1))[:, cell.head]
        out[i] = float((own.to(change.device).double() * change.double()).sum())
    return out


def _count_heads(model: LoadedModel, site: Site) -> int:
    return model.dimensions.n_kv_heads if site in (Site.K, Site.V) else model.dimensions.n_heads


def compute_slopes(
    exchange: Exchange, site: Site, layers: Sequence[int], edits: Edits | None
) -> dict[int, Float[Tensor, "T width"]]:
    """∂m/∂site of each layer at the receiver's run, by one pass; heads side by side."""
    model, data = exchange.model, exchange.receiver
    kept: dict[int, Tensor] = {}

    def keep(layer: int, x: Tensor) -> None:
        if layer not in kept:  # a block that is run again on the way back gives it once more
            kept[layer] = x if x.requires_grad else x.requires_grad_()

    def keep_inside(layer: int, query: Tensor, key: Tensor, value: Tensor) -> None:
        if layer in layers:
            keep(layer, {Site.Q: query, Site.K: key, Site.V: value}[site])

    def watch() -> Iterator[RemovableHandle]:
        for layer in () if site in INSIDE_ATTENTION else layers:
            module, at_input, _ = find_place(model, site, layer)
            hook = on_input if at_input else on_output
            yield hook(module, partial(keep, layer))

    passage = Passage.of(model, data.ids, data.length - 1, edits, data.prompt_length)
    with captured_by(HeadsSink(keep_inside if site in INSIDE_ATTENTION else _leave)):
        found = differentiate_at(passage, exchange.measure, lambda: [kept[layer] for layer in layers], watch)
    scale = model.blueprint.multiplier if site in (Site.ATTN_OUT, Site.MLP_OUT) else 1.0
    slopes = {}
    for layer, slope in zip(layers, found, strict=True):
        rows = slope.float() / scale
        rows = rows[0].transpose(0, 1).flatten(1) if site in INSIDE_ATTENTION else rows.reshape(-1, rows.shape[-1])
        slopes[layer] = rows
    return slopes


def _leave(*_: object) -> None:
    return None
