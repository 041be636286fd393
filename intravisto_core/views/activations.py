"""What a run captured, as it is: activations, attention patterns, logits."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from torch import Tensor

from intravisto_core.analysis.decoding import read_logits
from intravisto_core.analysis.parts import compute_head_outs
from intravisto_core.errors import RequestError, TraceError, expected
from intravisto_core.inspection.paths import find_module
from intravisto_core.lenses import table_lens
from intravisto_core.progress import Progress
from intravisto_core.records import Activation, Logits, ModuleValue, Pattern
from intravisto_core.request import ActivationView, LogitsView, ModuleView, PatternView
from intravisto_core.request.modules import join_path
from intravisto_core.request.ranges import index, rows_of_step
from intravisto_core.request.views import default_norm
from intravisto_core.sites import Capability, Reading, Site
from intravisto_core.tracing.module_values import to_arrays
from intravisto_core.views.context import ViewContext
from intravisto_core.views.tiles import TileKind, project_tile
from intravisto_core.views.vectors import explain_blank, list_rows

_RESTS_ON = {
    Site.ACT: Capability.NEURONS,
    Site.Q: Capability.PATTERN,
    Site.K: Capability.PATTERN,
    Site.V: Capability.PATTERN,
}


def compute_activation(context: ViewContext, view: ActivationView) -> Generator[Progress, None, Activation]:
    """Captured values as they are, in float32.

    Raises:
        RequestError: no such layer, head or step, or a site that this model does not have.
    """
    model, entry = context.model, context.entry
    if view.site is Site.RESID_MID and model.blueprint.parallel:
        raise RequestError("resid_mid: a parallel block adds attention and MLP at once and has none")
    layer, head = index(view.layer, model.dimensions.n_layers, "layer"), view.head
    rows = rows_of_step(view.step, entry.prompt_length, entry.length)
    if head is not None and not view.site.per_head:
        raise RequestError(f"head: {view.site} is not split by head. Leave the head out")
    if view.site is Site.PATTERN and head is not None:
        head = index(head, model.dimensions.n_heads, "head")
        values = _read_site(context, view.site, layer, slice(head, head + 1))[0]
    else:
        values = _read_site(context, view.site, layer)
        if head is not None:
            head = index(head, values.shape[0], "head")
            values = values[head]
    values = values[rows] if values.ndim == 2 else values[:, rows]
    yield Progress(1, 1)
    return Activation(entry.id, view.site, layer, head, values.float().cpu().numpy(), model.name, view.step)


def _read_site(context: ViewContext, site: Site, layer: int, heads: slice = slice(None)) -> Tensor:
    """A site of a layer, (n, width) or (heads, n, width). heads: which rows of the pattern are computed."""
    model, data = context.model, context.data
    if site is Site.PATTERN:
        context.card.require(Capability.PATTERN)
        return data.pattern(layer, heads)
    if site is Site.HEAD_OUT:
        context.card.require(Capability.HEADS)
        return compute_head_outs(model, layer, data.site(Site.Z, layer))
    if site in _RESTS_ON:
        context.card.require(_RESTS_ON[site])
    if site is Site.ACT and model.blueprint.architecture.w_out is None:
        raise RequestError("act: this model is a mixture of experts. Ask for experts(layer, expert)")
    return data.site(site, layer)


def compute_module(context: ViewContext, view: ModuleView) -> Generator[Progress, None, ModuleValue]:
    """What the run kept of a module.

    Raises:
        RequestError: the model has no such module. TraceError: the run did not keep it.
    """
    path, _ = find_module(context.model.network, view.path)
    key, kept = join_path(path, view.what), context.data.modules
    if key not in kept:
        found = ", ".join(kept) or "none"
        raise TraceError(
            expected("module", f"one that this trace kept ({found})", key, f'Run again with modules=("{key}",)')
        )
    yield Progress(1, 1)
    return ModuleValue(context.entry.id, path, view.what, to_arrays(kept[key]))


def compute_pattern(context: ViewContext, view: PatternView) -> Generator[Progress, None, Pattern]:
    """The pattern of one head, from the captured q and k."""
    model, data, entry = context.model, context.data, context.entry
    context.card.require(Capability.PATTERN)
    layer = index(view.layer, model.dimensions.n_layers, "layer")
    head = index(view.head, model.dimensions.n_heads, "head")
    weights = data.pattern(layer, slice(head, head + 1))
    yield Progress(1, 1)
    return Pattern(entry.id, layer, head, weights[0].cpu().numpy(), entry.tokens, model=model.name)


def compute_logits(context: ViewContext, view: LogitsView) -> Generator[Progress, None, Logits]:
    """All logits after a position.

    The model's own: kept for the last position, else from the kept final stream by its own norm and head. Of a cell: by
    lens and norm, as the heatmap reads it.

    Raises:
        RequestError: no such position or row, or a cell that is blank, with the reason.
    """
    model, data, entry = context.model, context.data, context.entry
    position = index(view.position, entry.length, "position")
    yield Progress(0, 1, "decoding")
    if view.row is None:
        last = position == entry.length - 1
        values = data.last_logits if last else model.logits(data.final[position : position + 1])[0]
        return Logits(entry.id, position, values.cpu().numpy(), model.name)
    row = index(view.row, model.dimensions.n_layers + 2, "row")
    if blank := explain_blank(view.component, Reading.TOP, row, model):
        raise RequestError(f"row: expected a cell that is not blank; {blank}")
    norm = view.norm or default_norm(view.component, view.lens, Reading.TOP)
    lens = table_lens(view.lens)
    lens.check_policy(norm)
    kind = TileKind(view.component, lens, norm, Reading.TOP)
    rows = list(list_rows(view.component, Reading.TOP, model.dimensions.n_layers))
    _, projection, _, own, _ = project_tile(model, data, kind, [position])
    at = slice(rows.index(row), rows.index(row) + 1)
    cell = replace(projection, x_hat=projection.x_hat[at], mix=projection.mix[at])
    values = read_logits(model, cell, lens, own[at])[0]
    return Logits(entry.id, position, values.cpu().numpy(), model.name, row, view.component, view.lens, norm)
