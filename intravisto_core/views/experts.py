"""The view of a mixture of experts."""

from __future__ import annotations

from collections.abc import Generator

from intravisto_core.analysis.experts import read_mixture, run_expert
from intravisto_core.errors import RequestError
from intravisto_core.progress import Progress
from intravisto_core.records import Experts
from intravisto_core.request import ExpertsView
from intravisto_core.request.ranges import index
from intravisto_core.sites import Capability
from intravisto_core.views.context import ViewContext


def compute_experts(context: ViewContext, view: ExpertsView) -> Generator[Progress, None, Experts]:
    """Who was chosen where, with what weight; of one expert its neurons too.

    Raises:
        RequestError: the model has no experts, or not this one or this layer.
        TraceError: the run did not keep what went into the experts.
    """
    model, data, entry = context.model, context.data, context.entry
    layer = index(view.layer, model.dimensions.n_layers, "layer")
    part = model.blueprint.blocks[layer].experts
    if part is None:
        raise RequestError(f'experts: {model.name} has none: its MLPs are whole. Ask for activation("act", layer)')
    context.card.require(Capability.NEURONS)
    routing = data.routed(layer)
    chosen, weights = read_mixture(model, layer, routing)
    expert, run = view.expert, None
    if expert is not None:
        expert = index(expert, max(part.n_routed, int(chosen.max()) + 1), "expert")
        run = data.expert(layer, expert, run_expert(model, layer, expert, routing))
    yield Progress(1, 1)
    logits = weights.new_empty((len(chosen), 0)) if routing.logits is None else routing.logits.float()
    return Experts(
        model=model.name,
        trace=entry.id,
        layer=layer,
        n_routed=part.n_routed,
        probabilities=logits.softmax(-1).cpu().numpy(),
        chosen=chosen.cpu().numpy(),
        weights=weights.cpu().numpy(),
        tokens=entry.tokens,
        expert=expert,
        positions=None if run is None else run.positions.cpu().numpy(),
        act=None if run is None else run.act.cpu().numpy(),
    )
