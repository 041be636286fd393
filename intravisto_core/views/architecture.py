"""The modules of the model, over the text of a trace: the tree, the flow, what is measured (docs/methods.md §12)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from intravisto_core.analysis.lenses import compute_logits
from intravisto_core.errors import RequestError, expected
from intravisto_core.inspection.inspector import Inspector, at_once
from intravisto_core.inspection.module_hooks import find_node
from intravisto_core.inspection.statistics import Block, Vocabulary, measure
from intravisto_core.lenses import Projection
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress
from intravisto_core.records import Architecture, ModuleOutput
from intravisto_core.request import ArchitectureView, HeatmapView, ModuleOutputView, Span
from intravisto_core.request.modules import join_path
from intravisto_core.views.context import ViewContext
from intravisto_core.views.heatmap import compute_heatmap

MOST_POSITIONS = 512
KEY = ("inspector",)
# what it holds of a structure: the flow, and the last run
ROUGH_BYTES = 1 << 20


def compute_architecture(context: ViewContext, view: ArchitectureView) -> Generator[Progress, None, Architecture]:
    """Tree, flow, one run over the text and what is measured in it.

    Raises:
        RequestError: a block names a module that there is not, or dimensions that its tensor does not have.
    """
    yield Progress(0, 2, "looking at the modules")
    inspector = _inspector(context)
    for block in view.blocks:
        inspector.attach(block.path, block.statistic, block.what, x=block.x, y=block.y, spread=block.spread)
    try:
        found = _run(inspector, context)
    finally:
        for block in view.blocks:
            inspector.detach(block.path)
    if not view.says:
        return found
    yield Progress(1, 2, "reading the layers")
    return replace(found, says=(yield from _read_layers(context)))


def compute_module_output(context: ViewContext, view: ModuleOutputView) -> Generator[Progress, None, ModuleOutput]:
    """What is measured at one side of one module.

    Raises:
        RequestError: there is no such module, its tensor does not have the dimensions, or the trace is edited and did
        not keep the module.
    """
    yield Progress(0, 1, "looking at the module")
    path, _ = find_node(context.model.network, view.path)
    block = Block(path, view.statistic, view.what, view.x, view.y, view.spread)
    tokens = tuple(token.shown for token in context.entry.tokens)
    kept = context.data.modules.get(join_path(path, view.what))
    model = context.model
    if kept is not None:
        measured = measure(block, kept, model.name, tokens, context.entry.id, read_vocabulary(model))
        if measured is not None:
            return measured
    if _is_changed(context):
        key = join_path(path, view.what)
        raise RequestError(
            expected("path", "a module that this edited trace kept", key, f'Edit it again with modules=("{key}",)')
        )
    inspector = _inspector(context)
    inspector.attach(path, view.statistic, view.what, x=view.x, y=view.y, spread=view.spread)
    try:
        outputs = _run(inspector, context).outputs
    finally:
        inspector.detach(path)
    for found in outputs:
        if (found.path, found.what, found.statistic) == (path, view.what, view.statistic):
            return found
    raise RequestError(expected("path", f"a module with a tensor as its {view.what}, in this run", path))


def make_inspector(model: LoadedModel, turn: Callable[[Callable[[], Any]], Any] = at_once) -> Inspector:
    """A loaded model opened for looking. turn: see `Inspector`."""
    return Inspector(
        model.network,
        model.tokenizer,
        name=model.name,
        turn=turn,
        show=model.reader.shown,
        vocabulary=read_vocabulary(model),
    )


def read_vocabulary(model: LoadedModel) -> Vocabulary:
    """How vectors at any module of a model are read: through the formula of its final norm and its unembedding.

    No module is called, since this happens inside a run. Scores of all tokens are taken as they are.
    """

    def logits(x: Tensor) -> Tensor | None:
        if x.shape[-1] == model.weights.n_rows("unembed"):
            return x
        if x.shape[-1] != model.dimensions.d_model:
            return None
        x_hat = model.norm(x.to(model.device))
        return compute_logits(model, Projection(x_hat, torch.ones(len(x_hat), device=model.device)))

    return Vocabulary(logits, model.reader.shown)


def _inspector(context: ViewContext) -> Inspector:
    """One for all views of a model: the flow is traced once."""
    found: Inspector | None = context.store.get(KEY)
    if found is None:
        found = make_inspector(context.model)
        context.store.put(KEY, found, ROUGH_BYTES)
    return found


def _run(inspector: Inspector, context: ViewContext) -> Architecture:
    """One call over the text, or its beginning."""
    ids = [token.id for token in context.entry.tokens]
    given = torch.tensor([ids[:MOST_POSITIONS]], device=context.model.device)
    inspector.forward(input_ids=given, **_options(context.model))
    notes = []
    if len(ids) > MOST_POSITIONS:
        notes.append(f"Shapes, times and sizes are of the first {MOST_POSITIONS} of {len(ids):,} tokens.")
    if _is_changed(context):
        notes.append("Times and sizes are of a run without the edits.")
    found = inspector.architecture
    run = found.run and replace(found.run, text=context.entry.text)
    outputs = tuple(replace(each, trace=context.entry.id) for each in found.outputs)
    return replace(found, run=run, outputs=outputs, notes=tuple(notes))


def _is_changed(context: ViewContext) -> bool:
    """Whether edits, functions or hooks took part in the run of the trace."""
    return bool(context.entry.request.interventions or context.entry.only_once)


def _options(model: LoadedModel) -> dict[str, Any]:
    """No cache; logits of the last position alone, where the model offers that."""
    known = inspect.signature(model.network.forward).parameters
    wanted = {"use_cache": False, "logits_to_keep": 1}
    return {name: value for name, value in wanted.items() if name in known}


def _read_layers(context: ViewContext) -> Generator[Progress, None, dict[str, tuple[tuple[str, float], ...]]]:
    """The top token at each position after every layer, by the layer's path."""
    n = context.model.dimensions.n_layers
    positions = Span(0, min(MOST_POSITIONS, context.entry.length))
    grid = yield from compute_heatmap(context, HeatmapView(context.entry.id, rows=Span(1, n + 1), positions=positions))
    paths = {id(module): path for path, module in context.model.network.named_modules()}
    found = {}
    for layer, block in enumerate(context.model.blueprint.blocks):
        top = zip(grid.token_ids[layer, :, 0].tolist(), grid.probabilities[layer, :, 0].tolist(), strict=True)
        found[paths[id(block.layer)]] = tuple((grid.shown[i], round(p, 4)) for i, p in top)
    return found
