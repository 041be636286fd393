"""Predicted and measured effects of links of a flow."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from intravisto_core.analysis.effects import compute_rank_correlation
from intravisto_core.analysis.lenses import compute_output_logits
from intravisto_core.errors import RequestError
from intravisto_core.experiments.check_links import check_links
from intravisto_core.experiments.link_runs import Metric
from intravisto_core.progress import Progress, relay_positions
from intravisto_core.records import LinkCheck
from intravisto_core.request import Link, LinkCheckView
from intravisto_core.request.ranges import index, resolve_layers_and_heads
from intravisto_core.sites import Capability, Component
from intravisto_core.traces.plain_runs import read_plain_data
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl
from intravisto_core.views.typed_tokens import DefaultContrast, target_and_contrast


def run_link_check(
    traces: Traces, view: LinkCheckView, session: str, control: RunControl
) -> Generator[Progress, None, LinkCheck]:
    """Predicted and measured effects of links.

    Raises:
        RequestError: a place out of range. ModelError: an identity or gradients that the links need are missing.
    """
    model, entry = traces.model, traces.entry(view.trace, session)
    if entry.request.interventions:
        raise RequestError("check_links: expected an unedited trace; got an edited one. Check its baseline's links")
    data = yield from read_plain_data(traces, entry)
    position = index(view.position, entry.length, "position")
    logits = compute_output_logits(model, data.final[position : position + 1])[0]
    target, contrast, notes = target_and_contrast(model, logits, view.target, view.contrast, DefaultContrast.RUNNER_UP)
    links = [_placed(traces, link, entry.length) for link in view.links]
    turns = check_links(model, data, links, Metric(target, contrast, position))
    found = yield from relay_positions(turns, len(links), "taking links away")
    predicted, measured = found.predicted.numpy(), found.measured.numpy()
    numbers = {
        name: np.array([-1 if (v := getattr(link, field)) is None else v for link in links])
        for name, field in (("layer", "layer"), ("at", "position"), *((n, n) for n in ("source", "head")))
    }
    pairs = [link.neuron if isinstance(link.neuron, tuple) else (-1, link.neuron) for link in links]
    numbers["expert"] = np.array([expert for expert, _ in pairs])
    numbers["neuron"] = np.array([-1 if neuron is None else neuron for _, neuron in pairs])
    return LinkCheck(
        model=model.name,
        trace=entry.id,
        target=target,
        contrast=contrast,
        position=position,
        metric=found.metric,
        labels=tuple(_label(link) for link in links),
        component=tuple(link.component for link in links),
        **numbers,
        predicted=predicted,
        measured=measured,
        size=found.size.numpy(),
        noise=found.noise,
        rank_correlation=compute_rank_correlation(predicted, measured),
        shown={i: model.reader.shown(i) for i in (target, contrast)},
        notes=(*entry.notes, *notes),
    )


def _placed(traces: Traces, link: Link, length: int) -> Link:
    """A link with its places counted from 0, checked against the model and what the model may be asked."""
    size = traces.model.dimensions
    if link.component is Component.ATTENTION and (link.head is not None or link.source is not None):
        traces.card.require(Capability.PATTERN)
        traces.card.require(Capability.HEADS)
    if link.neuron is not None:
        traces.card.require(Capability.NEURONS)
        if not isinstance(link.neuron, tuple) and traces.model.blueprint.architecture.w_out is not None:
            index(link.neuron, size.d_mlp, "neuron")
    return replace(
        resolve_layers_and_heads(link, size.n_layers, size.n_heads),
        position=index(link.position, length, "position"),
        source=None if link.source is None else index(link.source, length, "source"),
    )


def _label(link: Link) -> str:
    what = link.component.label
    if link.component is Component.BLOCK:
        what = "stream before the block"
    elif link.component is Component.MID:
        what = "stream after attention"
    if link.head is not None:
        what = f"head {link.head}"
    if link.neuron is not None:
        expert, neuron = link.neuron if isinstance(link.neuron, tuple) else (-1, link.neuron)
        what = f"neuron {neuron}" if expert < 0 else f"expert {expert}, neuron {neuron}"
    if link.source is not None:
        what += f" from position {link.source}"
    return f"layer {link.layer}, position {link.position}: {what}"
