"""Runs of the model without a link's vector, over no more layers and positions than it can change.

The block that a link leads into changes at the link's own position only, so it is run there alone; the blocks above are
run on the positions from there, the last one on no more than keys, values and the metric's row. Links that start close
to each other are one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intravisto_core.inspection.hooks import Handles, Visit, on_output
from intravisto_core.models import LoadedModel
from intravisto_core.request import Link
from intravisto_core.sites import Component, Site
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.edit_rows import group_starts
from intravisto_core.tracing.reuse import fill_cache, last_row_only, only_layers

# Up to so many positions, running a block on all of them is cheaper than one more call.
SHORT = 8


@dataclass(frozen=True, slots=True)
class Metric:
    """Logit of `target` less that of `contrast`, after `position`; without a contrast the logit alone."""

    target: int
    contrast: int | None
    position: int

    def __call__(self, logits: Float[Tensor, "*n V"]) -> Float[Tensor, "*n"]:
        found = logits[..., self.target].float()
        return found if self.contrast is None else found - logits[..., self.contrast].float()


def enters_after_mlp(link: Link) -> bool:
    """Whether a link of a serial block leads into the block's output; else into the stream after attention."""
    return link.component in (Component.MLP, Component.MID)


def group_links(links: Sequence[Link], last: int, n_layers: int) -> list[list[int]]:
    """Indices of links that are measured together, so that calls and needless rows cost least.

    last: the metric's position; links after it can change nothing, and are in no group.
    """

    places = [(link.layer, link.position) for link in links]
    return group_starts(places, last + 1, n_layers)


def find_start(links: Iterable[Link]) -> tuple[int, int]:
    """The first layer and position that some links can change."""
    places = [(link.layer, link.position) for link in links]
    return min(layer for layer, _ in places), min(position for _, position in places)


def run_without(
    model: LoadedModel, data: TraceData, links: Sequence[Link], vectors: Float[Tensor, "n d"], metric: Metric
) -> Float[Tensor, " n"]:
    """m of the run without each link's vector; all are one batch."""
    layer, position = find_start(links)
    stop, n_layers = metric.position + 1, model.dimensions.n_layers
    if stop - position <= SHORT:
        taken = [_taking(model, link, e, b, position) for b, (link, e) in enumerate(zip(links, vectors, strict=True))]
        return _run(model, data, range(layer, n_layers), position, len(links), metric, taken)
    outputs = _block_outputs(model, data, links, vectors)
    if layer == n_layers - 1:
        rows = data.final[metric.position].expand(len(links), -1).clone()
        for b, link in enumerate(links):
            if link.position == metric.position:
                rows[b] = outputs[b]
        return metric(model.logits(rows)).cpu()
    put = [_putting(model, link, row, b, position) for b, (link, row) in enumerate(zip(links, outputs, strict=True))]
    return _run(model, data, range(layer + 1, n_layers), position, len(links), metric, put)


def run_without_in_full(
    model: LoadedModel, data: TraceData, link: Link, vector: Float[Tensor, " d"], metric: Metric
) -> Float[Tensor, " 1"]:
    """m of the run without a link's vector, over all layers and positions."""
    taken = [_taking(model, link, vector, 0, 0)]
    return _run(model, data, range(model.dimensions.n_layers), 0, 1, metric, taken, narrow=False)


@dataclass(frozen=True, slots=True)
class _Change:
    """New values for one row of a batch in what a module puts out. at: the row's place among the call's positions."""

    module: nn.Module
    b: int
    at: int
    new: Callable[[Tensor], Tensor]


def _taking(model: LoadedModel, link: Link, e: Float[Tensor, " d"], b: int, first: int) -> _Change:
    block, m = model.blueprint.blocks[link.layer], model.blueprint.multiplier
    module = block.mlp_out if enters_after_mlp(link) else block.attn_out
    return _Change(module, b, link.position - first, lambda row: row.float() - e.to(row.device) / m)


def _putting(model: LoadedModel, link: Link, output: Float[Tensor, " d"], b: int, first: int) -> _Change:
    module = model.blueprint.blocks[link.layer].layer
    return _Change(module, b, link.position - first, lambda row: output.to(row.device))


def _changing(changes: Sequence[_Change], batch: int) -> Handles:
    by_module: dict[nn.Module, list[_Change]] = {}
    for change in changes:
        by_module.setdefault(change.module, []).append(change)

    def visit_of(changes: Sequence[_Change]) -> Visit:
        def change(raw: Tensor) -> Tensor:
            rows = raw.reshape(batch, -1, raw.shape[-1]).clone()
            for c in changes:
                rows[c.b, c.at] = c.new(rows[c.b, c.at]).to(rows.dtype)
            return rows.view(raw.shape)

        return change

    return Handles(on_output(module, visit_of(here)) for module, here in by_module.items())


def _block_outputs(
    model: LoadedModel, data: TraceData, links: Sequence[Link], vectors: Float[Tensor, "n d"]
) -> Float[Tensor, "n d"]:
    """What comes out of each link's block at the link's position, without its vector, in the stream's dtype."""
    out = torch.stack([data.site(Site.RESID_POST, x.layer)[x.position] for x in links])
    by_position: dict[int, list[int]] = {}
    for i, link in enumerate(links):
        if model.blueprint.parallel or enters_after_mlp(link):
            out[i] = (out[i].float() - vectors[i].to(out.device)).to(out.dtype)
        else:
            by_position.setdefault(link.position, []).append(i)
    for position, chosen in by_position.items():
        here = [links[i] for i in chosen]
        changes = [
            _taking(model, link, vectors[i], b, position) for b, (i, link) in enumerate(zip(chosen, here, strict=True))
        ]
        layers = range(min(x.layer for x in here), max(x.layer for x in here) + 1)
        rows: dict[int, Tensor] = {}
        kept = [_keeping(model, link, b, rows) for b, link in enumerate(here)]
        _call(model, data, layers, position, position + 1, len(here), (*changes, *kept))
        for b, i in enumerate(chosen):
            out[i] = rows[b].to(out.device)
    return out


def _keeping(model: LoadedModel, link: Link, b: int, rows: dict[int, Tensor]) -> _Change:
    def keep(row: Tensor) -> Tensor:
        rows[b] = row.clone()
        return row

    return _Change(model.blueprint.blocks[link.layer].layer, b, 0, keep)


def _run(
    model: LoadedModel,
    data: TraceData,
    layers: range,
    position: int,
    batch: int,
    metric: Metric,
    changes: Sequence[_Change],
    narrow: bool = True,
) -> Float[Tensor, " n"]:
    stop = metric.position + 1
    with ExitStack() as stack:
        if narrow:
            stack.enter_context(last_row_only(model.blueprint.blocks[-1], stop - position))
        return metric(_call(model, data, layers, position, stop, batch, changes)[:, -1]).cpu()


def _call(
    model: LoadedModel,
    data: TraceData,
    layers: range,
    position: int,
    stop: int,
    batch: int,
    changes: Sequence[_Change],
) -> Tensor:
    """The logits of a call of some layers and positions over the baseline's cache."""
    cache = fill_cache(model, data, position)
    if position:
        cache.batch_repeat_interleave(batch)
    ids = torch.tensor([data.ids[position:stop]], device=model.device).expand(batch, -1)
    options = {"logits_to_keep": 1} if model.blueprint.keeps_last_logits else {}
    with only_layers(model, layers, data, position, stop), _changing(changes, batch):
        out: Tensor = model.network(input_ids=ids, **model.cached(cache), **options).logits
    return out
