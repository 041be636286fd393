"""Negative layers and heads count from the last one, in every request that names a layer or a head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core import request
from intravisto_core.request.ranges import resolve_layers_and_heads
from intravisto_core.sites import Site
from tests.case import Case

N_LAYERS, N_HEADS = 3, 4
NAMES = {"layer", "source_layer", "head", "heads"}
Make = Callable[[Case, int, int], Any]


def direction(case: Case, layer: int) -> Any:
    return case.engine.direction("c or d", ["abc"], ["abd"], layer=layer)


def cut(case: Case, layer: int, head: int) -> Any:
    found = case.trace.cut(layer, head, -1, 1, "embedding")
    return [found.predicted, found.measured]


def composition(case: Case, layer: int, head: int) -> Any:
    """Below the lowest layer there is no head: the one above it stands for it."""
    return case.engine.head_composition(layer + 1 if layer in (0, -N_LAYERS) else layer, head).k


def halve(x: Any) -> Any:
    return 0.5 * x


# each request with what comes of it at a layer and a head
REQUESTS: dict[str, Make] = {
    "ActivationView": lambda case, layer, head: case.trace.activation("q", layer, head=head),
    "PatternView": lambda case, layer, head: case.trace.pattern(layer, head),
    "AttributionView": lambda case, layer, head: case.trace.attribution(by="heads", layer=layer).value,
    "GradientView": lambda case, layer, head: case.trace.gradient(layer=layer),
    "DirectionRequest": lambda case, layer, head: direction(case, layer).vector,
    "AttentionView": lambda case, layer, head: case.trace.attention(layer, head).weights,
    "SparseAttentionView": lambda case, layer, head: case.trace.sparse_attention(layer, head).weights,
    "AttentionScoreView": lambda case, layer, head: case.trace.score(layer, head, -1, 1).matrix,
    "AttentionCutView": lambda case, layer, head: cut(case, layer, head),
    "HeadCompositionRequest": lambda case, layer, head: composition(case, layer, head),
    "LayerView": lambda case, layer, head: case.trace.layer(layer).states["size"],
    "HeadView": lambda case, layer, head: case.trace.head(layer, head, -1).sizes,
    "NeuronView": lambda case, layer, head: case.trace.neuron(layer, 3).activation,
    "ActiveTextsRequest": lambda case, layer, head: case.engine.active_texts("ab", layer, 3).texts[0].activation,
    "NeuronsView": lambda case, layer, head: case.trace.neurons(layer, -1).frame()["neuron"],
    "Link": lambda case, layer, head: case.trace.check_links([iv.Link("attention", layer, -1, head=head)]).measured,
    "Ablate": lambda case, layer, head: edited(case, iv.Ablate("z", layer, [-1], head=head)),
    "Scale": lambda case, layer, head: edited(case, iv.Scale("z", layer, [-1], head=head, factor=0.5)),
    "SetValue": lambda case, layer, head: edited(case, iv.SetValue("z", layer, [-1], head=head, value=1.0)),
    "Patch": lambda case, layer, head: edited(
        case, iv.Patch("z", 1, [-1], head=head, source=case.trace, source_positions=[2], source_layer=layer)
    ),
    "Replace": lambda case, layer, head: edited(case, iv.Replace("resid_post", layer, [-1], token="a")),
    "ReplaceMain": lambda case, layer, head: edited(case, iv.ReplaceMain("resid_post", layer, [-1], token="a")),
    "Steer": lambda case, layer, head: edited(case, iv.Steer("resid_post", layer, [-1], direction="a")),
    "RemoveDirection": lambda case, layer, head: edited(
        case, iv.RemoveDirection("resid_post", layer, [-1], direction="a")
    ),
    "SwapDirection": lambda case, layer, head: edited(
        case, iv.SwapDirection("resid_post", layer, [-1], source="a", target="b")
    ),
    "KnockOut": lambda case, layer, head: edited(case, iv.KnockOut(layer, [-1], [1], heads=[head])),
    "Apply": lambda case, layer, head: edited(case, iv.Apply("attn_out", layer, [-1], fn=halve)),
    "FreezePattern": lambda case, layer, head: edited(case, iv.FreezePattern(layer, heads=[head])),
}
ELSEWHERE = {
    "ExpertsView": "a mixture: tests/views/test_experts.py",
    "FeatureView": "a dictionary: tests/views/test_features.py",
}
ABSTRACT = {"AtSite", "AtPattern", "TokenEdit", "Intervention"}


def edited(case: Case, what: iv.Ablate) -> Any:
    trace = case.trace.edit(what)
    (kept,) = trace.interventions
    for name in NAMES:
        value = getattr(kept, name, None)
        for number in value if isinstance(value, tuple) else (value,):
            assert number is None or number == "all" or number >= 0 or isinstance(number, str), (name, value)
    return trace.logits(-1)


def test_every_request_that_names_a_layer_or_head_is_tested_here() -> None:
    found = {
        kind.__name__
        for name in dir(request)
        if isinstance(kind := getattr(request, name), type)
        and is_dataclass(kind)
        and NAMES & {f.name for f in fields(kind)}
    }
    assert found - ABSTRACT == set(REQUESTS) | set(ELSEWHERE)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_negative_layer_and_head_is_that_one_counted_from_the_last(case: Callable[[str], Case], name: str) -> None:
    own, make = case("llama"), REQUESTS[name]
    for layer, head in ((2, 3), (0, 1)):
        positive, negative = make(own, layer, head), make(own, layer - N_LAYERS, head - N_HEADS)
        np.testing.assert_array_equal(positive, negative)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_layer_that_is_not_there_is_refused_with_the_range(case: Callable[[str], Case], name: str) -> None:
    for layer in (N_LAYERS, -N_LAYERS - 1):
        with pytest.raises(iv.RequestError, match=rf"layer: expected -3 to 2; got {layer}"):
            REQUESTS[name](case("llama"), layer, 0)


@pytest.mark.parametrize("name", ["ActivationView", "PatternView", "Link", "Ablate", "KnockOut", "FreezePattern"])
def test_a_head_that_is_not_there_is_refused_with_the_range(case: Callable[[str], Case], name: str) -> None:
    for head in (N_HEADS, -N_HEADS - 1):
        with pytest.raises(iv.RequestError, match=rf"heads?: expected -4 to 3; got {head}"):
            REQUESTS[name](case("llama"), 0, head)


def test_records_say_the_resolved_numbers(case: Callable[[str], Case]) -> None:
    trace = case("llama").trace
    record = trace.engine.view(request.ActivationView(trace.id, Site.Q, -1, head=-1), session=trace.session)
    assert (record.layer, record.head) == (2, 3)
    checked = trace.check_links([iv.Link("attention", -1, -1, head=-1)])
    assert (int(checked.layer[0]), int(checked.head[0])) == (2, 3)
    assert checked.labels[0].startswith("layer 2")
    (kept,) = trace.edit(iv.KnockOut(-1, [-1], [1], heads=[-1, 3])).interventions
    assert kept == iv.KnockOut(2, [-1], [1], heads=[3])


def test_what_names_no_layer_stays_as_it_is() -> None:
    for what in (iv.Span(1, 2), iv.FreezePattern(0), iv.Ablate("mlp_out", 1)):
        assert resolve_layers_and_heads(what, 3, 4) is what
