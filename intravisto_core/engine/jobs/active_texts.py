"""One neuron or feature over several texts, each of which is run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import nan

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.progress import Progress
from intravisto_core.records import ActiveText, ActiveTexts
from intravisto_core.request import ActiveTextsRequest
from intravisto_core.request.ranges import index
from intravisto_core.sites import Capability, Site
from intravisto_core.traces.plain_runs import run_prompts
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData
from intravisto_core.views.layer.feature import find_dictionary
from intravisto_core.views.layer.features import find_sites, read_place
from intravisto_core.views.layer.neuron import read_activation, read_expert

Array = np.ndarray
Read = Callable[[TraceData], Array]


def run_active_texts(
    traces: Traces, request: ActiveTextsRequest, session: str, control: RunControl
) -> Generator[Progress, None, ActiveTexts]:
    """The texts, run one after the other; of each only the activation is kept.

    Raises:
        RequestError: no such layer, neuron, expert, dictionary or feature; or a text is too long.
        ModelError: the model fails the identity that neurons rest on.
    """
    layer = index(request.layer, traces.model.dimensions.n_layers, "layer")
    part, sites, read = _find_part(traces, request, layer)
    found = []
    for number, text in enumerate(request.texts):
        yield Progress(number, len(request.texts), f"text {number + 1} of {len(request.texts)}")
        (data,) = yield from run_prompts(traces, [text], sites, control)
        found.append(_describe(traces, number, data, read(data)))
    found.sort(key=lambda each: -abs(each.largest))
    return ActiveTexts(traces.model.name, part, layer, tuple(found))


def _find_part(traces: Traces, request: ActiveTextsRequest, layer: int) -> tuple[str, tuple[Site, ...], Read]:
    """Its name, the sites that it is read from, and how."""
    model = traces.model
    if request.feature is not None:
        dictionary = find_dictionary(traces.dictionaries, layer, request.dictionary)
        coder = dictionary.layers[layer]
        feature = index(request.feature, coder.coder.n_features, "feature", negatives=False)

        def read_feature(data: TraceData) -> Array:
            values: Array = coder.coder.read_feature(read_place(model, data, coder.reads), feature).cpu().numpy()
            return values

        return f"layer {layer}, feature {feature} of {dictionary.name}", find_sites(model, coder.reads), read_feature
    traces.card.require(Capability.NEURONS)
    if request.neuron is None:
        raise RequestError(expected("neuron", "a neuron, or a feature", None))
    neuron, expert = request.neuron, read_expert(model, layer, request.neuron, request.expert)

    def read_neuron(data: TraceData) -> Array:
        positions, act = read_activation(model, data, layer, expert, neuron)
        values: Array = np.full(data.length, nan, np.float32)
        values[positions] = act.cpu().numpy()
        return values

    inside = f"expert {expert}, " if expert >= 0 else ""
    return f"layer {layer}, {inside}neuron {neuron}", (Site.ACT,), read_neuron


def _describe(traces: Traces, number: int, data: TraceData, values: Array) -> ActiveText:
    sizes: Array = np.nan_to_num(np.abs(values), nan=-1.0)
    first = 1 if len(values) > 1 else 0
    place = first + int(sizes[first:].argmax())
    known = sizes[place] >= 0
    return ActiveText(
        number=number,
        tokens=traces.model.reader.tokens(data.ids, len(data.ids)),
        activation=values.astype(np.float32),
        largest=float(values[place]) if known else 0.0,
        position=place if known else -1,
    )
