"""Requests: frozen, checked when built, and the same text of JSON wherever they are written."""

from __future__ import annotations

import dataclasses
import json

import pytest

import intravisto_core as iv
from intravisto_core.request import (
    ActivationView,
    AttributionView,
    CellSharesView,
    DisagreementView,
    FlowView,
    GraphView,
    HeadSharesView,
    LogitsView,
    NextTokensView,
    PatternView,
    QueryView,
    RouteView,
    SharesView,
    UpdateView,
)
from intravisto_core.request.codec import KINDS

REQUESTS = [
    iv.Span(0, -1),
    iv.Generation(3, stop=("a",)),
    iv.ModelSpec("demo", dtype="bfloat16"),
    iv.TraceRequest("a prompt"),
    iv.TraceRequest((1, 2, 3), iv.Generation(5, temperature=0.7, stop=("a", 3), forced=(4, 5)), False, ("z", "act")),
    iv.TraceRequest("a", chat=True, messages=[("system", "b"), ["user", "c"]]),
    iv.TraceRequest("a", interventions=[iv.Scale("z", 0, -1, head=1, factor=2)], baseline="id", text="held"),
    iv.Generated(2),
    iv.PromptSet("names", ["a", "b"]),
    iv.TensorRef("00", (3,), "love"),
    iv.Replace("resid_post", 3, -1, token=" Paris", lens="linear", match_norm=False),
    iv.ReplaceMain("attn_out", 1, [1, 2], token=" Paris"),
    iv.Ablate("act", 0, iv.Span(-3, 5), neuron=(1, 4), how="mean", source=iv.PromptSet("names", ["a"])),
    iv.Patch("resid_pre", 0, "prompt", source="other", source_positions=[3], source_layer=1),
    iv.Steer("mlp_out", 2, iv.Generated(1), direction=[1.0, 2.0], strength=3, unit="absolute"),
    iv.RemoveDirection("resid_mid", 2, direction=" a"),
    iv.SwapDirection("resid_mid", 2, source=" a", target=" b"),
    iv.Scale("z", 0, -1, head=1, factor=0.5),
    iv.SetValue("mlp_out", 1, "all", value=[[1.0, 2.0]]),
    iv.KnockOut(0, -1, "prompt", [0, 2]),
    iv.FreezePattern(1, 3),
    iv.CompareView("id", "other", " a", 3, -1, "mlp", rows=[1, 2], patching="noise"),
    iv.Link("attention", 1, -1, source=2, head=0),
    iv.LinkCheckView("id", [iv.Link("mlp", 0, 3, neuron=2), iv.Link("mid", 1, -1)], " a"),
    iv.DirectionRequest("love", "I love you", ["I hate you"], layer=2),
    iv.HeatmapView("id", "mlp", "linear", "stream", iv.Span(-3, 5), [1, -1], 7, ("x",), "top"),
    SharesView("id", "kl"),
    ActivationView("id", "q", 3, 1, step=2),
    iv.DecodeRequest([1.0, 2.0], "linear", "none", 3, row=2),
    iv.ModuleRequest("model.norm", [[1.0, 2.0]]),
    LogitsView("id", 3, row=2, component="mlp", lens="input"),
    iv.TraceBatch([iv.TraceRequest("a"), iv.TraceRequest((1, 2))]),
    iv.ModuleView("id", "model.layers.-1.mlp:input"),
    iv.ModuleBlock("model.layers.-1.mlp:input", "matrix", x=0),
    iv.ArchitectureView("id", [iv.ModuleBlock("model.norm"), iv.ModuleBlock("model.layers", "size")], says=False),
    iv.ModuleOutputView("id", "model.layers.0", statistic="histogram"),
    iv.TraceRequest("a", modules=["model.norm", "model.layers.3.mlp:input"]),
    PatternView("id", 0, 2),
    iv.SinksView("id"),
    LogitsView("id", -1),
    iv.ExpertsView("id", 2, 3),
    UpdateView("id", "attention", 2, 3),
    CellSharesView("id", 1, -1),
    NextTokensView("id", 3, iv.Generation(0, temperature=0.5, top_k=3, stop=("a", 4))),
    QueryView("id", " Rome", 3, iv.Span(0, 4)),
    QueryView("id", 17),
    iv.HeatmapView("id", watch=("x", 17)),
    FlowView("id", 3, "generated", "kl", "projection", iv.Span(1, 4), 3, 0.01, 0.1, "renormalise", "iterative", False),
    DisagreementView("id", None, 2, "norm", "weights", "l1", rows=[1, 2]),
    HeadSharesView("id", 2, -1, "value_weighted"),
    GraphView("id", 3, "generated", 0.1),
    RouteView("id", "projection", sinks="hide"),
    AttributionView("id", " Rome", 5, -2, "neurons", 1, None),
    iv.ExplainView("id", " Rome", 5, 3, False),
    iv.GradientView("id", " Rome", 5, "mlp_out", 2, 3),
    iv.SaliencyView("id", " Rome", 5, 3, "integrated_gradients", 64, "zero", 3, 7),
    iv.MeasureTestRequest(["a b c", "d e f"], True, draws=3),
    iv.CircuitRequest(["L1H0", "L2 MLP"], [("a", "b"), ((1, 2), (3, 2))], [" a", None], by="attribution", draws=3),
    iv.Claim(iv.Ablate("z", 3, -1, head=1), [" Rome", 5, None], effect="lowers"),
    iv.EvidenceView("id", iv.Claim([iv.KnockOut(0, -1, -2)] * 2, position=-2), ["a", "b"], ["part", "prompt"], 6, 3),
    iv.ReadBackView("id", iv.Replace("resid_post", 3, -1, token=" Paris"), 3),
    iv.AttentionView("id", -1, [0, 2], iv.Span(1, 3), [0], "value_weighted", "hide", [0]),
    iv.SparseAttentionView("id", "mean", "mean", 0.02, "projection", "renormalise"),
    iv.HeadTargetsView("id", [0]),
    iv.HeadPatternsView("id", 12, "hide"),
    iv.AttentionScoreView("id", 2, -1, 3, 1, "weighted", 8),
    iv.AttentionCutView("id", 2, -1, 3, 1, "L1H0", "query"),
    iv.PatchingRequest(["a", (1, 2)], ["b", "c"], [" Rome", 5], None, "z", "noise", [-1], None, "kl", "ends", False),
    iv.PatchingRequest("a b", "c d e", alignment=[(0, 0), (1, 2)], positions=[-1], chat=True),
    iv.PathPatchingRequest("a b", "a c", [(1, 2), (0, -1)], (-1, 3, "q"), through_mlps=True),
    iv.PathPatchingRequest("a b", "a c", (1, 2)),
    iv.PatchingRequest("a b", iv.SwapTokens(" a", 7, [1])),
    iv.ResampleTokens([1, -1], 3, 1),
    iv.EmbeddingNoise(iv.Span(0, 2), 2.5, 3, 1),
    iv.SwapTokens(3, 7),
    iv.SweepRequest(["a", "b"], [" Rome", None], 5, "mlp_out", "mean", [-1], [-1], False),
    iv.HeadTypesRequest(16, 2, 1),
    iv.HeadCompositionRequest(2, -1),
    iv.LayerView("id", -1, 3, " Rome", 5, "versus", 4, 6, 2, "logit", 5),
    iv.ActiveTextsRequest(["a", "b c"], -1, 5, 1),
    iv.FeatureView("id", 2, 5, "a dictionary", 3, " Rome", 5, 7, "logit"),
    iv.HeadView("id", 2, -1, 3, " Rome", 5, 4, 7, "logit"),
    iv.NeuronView("id", 2, 5, 1, 3, " Rome", 5, 7, "logit"),
    iv.NeuronsView("id", None, 3, "pull", 7, " Rome", 5, promotes=" Paris"),
]


def test_every_kind_of_request_is_tried_here():
    assert {type(r).__name__ for r in REQUESTS} == set(KINDS)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: type(r).__name__)
def test_a_request_survives_json(request_):
    text = iv.to_json(request_)
    back = iv.from_json(text)
    assert back == request_
    assert hash(back) == hash(request_)
    assert iv.to_json(back) == text
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")), "canonical: keys in order"
    assert json.loads(text)["kind"] == type(request_).__name__


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: type(r).__name__)
def test_a_request_is_frozen(request_):
    name = dataclasses.fields(request_)[0].name
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
        setattr(request_, name, "other")


def test_strings_and_enums_are_the_same_request():
    assert iv.HeatmapView("id", "mlp", "linear") == iv.HeatmapView("id", iv.Component.MLP, iv.Lens.LINEAR)
    assert iv.to_json(iv.HeatmapView("id", lens="max")) == iv.to_json(iv.HeatmapView("id", lens=iv.Lens.MAX))


def test_the_order_of_sites_does_not_matter():
    assert iv.TraceRequest("a", sites=["z", "q"]) == iv.TraceRequest("a", sites=("q", "z", "q"))


NO_REQUESTS = ["", "{", "[]", "{}", '{"kind": "Bomb"}', '{"kind": 3}', "null", "[" * 100_000, '{"kind": ' * 50_000]


@pytest.mark.parametrize("text", [*NO_REQUESTS, None, 3, ["a"]], ids=lambda text: str(text)[:20])
def test_what_is_no_request_is_refused(text):
    with pytest.raises(iv.IntravistoError, match="request"):
        iv.from_json(text)


@pytest.mark.parametrize(
    "body",
    [
        '{"kind": "SharesView", "trace": "id", "size": 3}',
        '{"kind": "SharesView"}',
        '{"kind": "HeatmapView", "trace": "id", "rows": {"from": 1}}',
        '{"kind": "TraceRequest", "prompt": "a", "generation": 3}',
    ],
)
def test_a_damaged_request_is_refused_as_one(body):
    with pytest.raises(iv.IntravistoError):
        iv.from_json(body)
