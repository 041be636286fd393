"""Flows of real traces against the literal reading: every kind of block, attention and norm."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv
from tests.flow.literal import Attention, Layer, Walk
from tests.flow.sinking import trace_with_sinks
from tests.reference.families import LLAMA_PATHS, PATHS, is_parallel
from tests.tiny import FAMILY_PROMPT

# Grouped heads; biases and LayerNorm; parallel blocks with and without biases; sinks and experts; experts; post-norms
# with and without 1+w; a residual multiplier; ALiBi.
KINDS = (
    "Llama",
    "GPT-2",
    "GPT-NeoX, parallel",
    "Phi",
    "gpt-oss",
    "Mixtral",
    "Gemma-2",
    "OLMo-2",
    "Granite",
    "Bloom",
)
DIVISIONS = tuple(str(d) for d in iv.AttentionDivision)
LITERAL = ("norm", "projection", "l1")
WHOLE = {"min_mass": 0, "max_nodes": None, "max_links": None}
POSITION = 5


def shares(measure: str, parts: dict[str, np.ndarray]) -> dict[str, float]:
    """Shares of one junction, written out."""
    whole = sum(parts.values())
    if measure == "projection":
        return {n: float(p @ whole / (whole @ whole)) for n, p in parts.items()}
    if measure == "norm":
        raw = {n: float(np.linalg.norm(p)) for n, p in parts.items()}
    else:
        raw = {n: max(float(np.abs(whole).sum() - np.abs(whole - p).sum()), 0.0) for n, p in parts.items()}
    return {n: v / sum(raw.values()) for n, v in raw.items()}


def attention(plain, layer: int) -> Attention:
    """The attention of a layer from the plain model's own pattern, values and weights."""
    block = plain.layers[layer]
    w_o = block.get_submodule(PATHS.get(plain.kind, LLAMA_PATHS)[2])
    weight = w_o.weight.detach().double().numpy()
    weight = weight if plain.kind == "gpt2" else weight.T
    heads = plain.config.num_attention_heads
    bias = np.zeros(weight.shape[1]) if w_o.bias is None else w_o.bias.detach().double().numpy()
    post_norm = None
    if plain.kind in ("gemma2", "olmo2"):
        gamma = block.post_attention_layernorm.weight.detach().double().numpy() + (plain.kind == "gemma2")
        eps = plain.config.rms_norm_eps

        def post_norm(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
            return gamma * part / np.sqrt((whole**2).mean(-1, keepdims=True) + eps)

    return Attention.of(
        plain.patterns[layer].astype(np.float64),
        plain.sites["v"][layer].astype(np.float64),
        weight.reshape(heads, -1, weight.shape[1]),
        bias,
        post_norm,
        getattr(plain.config, "residual_multiplier", 1.0),
    )


def layers(plain, measure: str, division: str) -> list[Layer]:
    out = []
    for number in range(len(plain.layers)):
        at = {n: plain.sites[n][number].astype(np.float64) for n in ("resid_pre", "attn_out", "mlp_out")}
        streams, parallel = range(len(at["resid_pre"])), is_parallel(plain.config)
        first = [shares(measure, {"attention": at["attn_out"][p], "residual": at["resid_pre"][p]}) for p in streams]
        if parallel:
            parts = {"mlp": "mlp_out", "attention": "attn_out", "residual": "resid_pre"}
            second = [shares(measure, {n: at[site][p] for n, site in parts.items()}) for p in streams]
        else:
            mid = plain.sites["resid_mid"][number].astype(np.float64)
            second = [shares(measure, {"mlp": at["mlp_out"][p], "residual": mid[p]}) for p in streams]
        out.append(Layer(second, first, *attention(plain, number).divide(division)))
    return out


@pytest.mark.parametrize("name", KINDS)
def test_a_flow_is_the_literal_reading(family, name):
    tiny = family(name)
    size = tiny.engine.model.n_layers
    for measure, division in [*zip(LITERAL, DIVISIONS, strict=True), ("norm", "projection"), ("projection", "weights")]:
        flow = tiny.trace.flow(None, POSITION, measure, division, details=False, **WHOLE)
        walk = Walk(layers(tiny.plain, measure, division), is_parallel(tiny.plain.config))
        walk.go(("block", size + 1, POSITION), 1.0)
        named = {n: f"{n[0]}.{n[1]}" + ("" if n[2] < 0 else f".{n[2]}") for n in walk.nodes}
        largest = max(1.0, *(abs(m) for m in walk.nodes.values()))
        for node, mass in zip(flow.node_id, flow.node_mass, strict=True):
            kinds = [walk.nodes[n] for n, text in named.items() if text == node]
            assert mass == pytest.approx(sum(kinds), abs=3e-4 * largest), (measure, division, node)
        assert flow.links["mass"].abs().sum() == pytest.approx(sum(abs(m) for m in walk.links.values()), rel=1e-3), (
            measure,
            division,
        )
        assert flow.conservation <= 1e-6 * largest
        assert flow.drawn == pytest.approx(1)
        if not flow.signed:
            assert (flow.node_mass >= 0).all()
        if division == "weights":
            assert ("sink" in flow.node_kind) == (name == "gpt-oss")
        if division == "projection":
            biases = np.abs(attention(tiny.plain, 0).bias).max() > 0
            assert ("bias" in flow.node_kind) == bool(biases), name


def test_the_defaults_are_l1_and_value_weighted(case):
    trace = case("llama").trace
    for ask in (trace.flow, trace.route, trace.disagreement):
        said = ask(details=False) if ask == trace.flow else ask()
        named = ask(measure="l1", attention="value_weighted", **({"details": False} if ask == trace.flow else {}))
        for field in ("node_mass", "sources", "first_mass"):
            if hasattr(said, field):
                np.testing.assert_array_equal(getattr(said, field), getattr(named, field))
    assert trace.shares().measure == "norm"


@pytest.fixture(scope="module")
def demo():
    """An engine on the demo model."""
    engine = iv.open_model("demo")
    yield engine
    engine.close()


LOST = "Peter, Oscar and Robert went to the park. Oscar and Peter gave a key to"


def test_what_brings_no_part_nearer_passes_by_the_residual_link(demo):
    trace = demo.trace(LOST)
    flow = trace.flow(measure="l1", attention="weights", details=False, **WHOLE)
    mlp = trace.shares("l1").mlp
    assert np.isnan(mlp).any(), "the shares themselves stay undefined"
    masses = flow.nodes.set_index("id")["mass"]
    passed = [(i + 1, p) for i, p in np.argwhere(np.isnan(mlp)).tolist() if f"block.{i + 1}.{p}" in masses]
    assert passed
    for row, position in passed:
        assert masses[f"mid.{row}.{position}"] == pytest.approx(masses[f"block.{row}.{position}"])
        assert f"mlp.{row}.{position}" not in masses
    lost = flow.nodes[flow.nodes["kind"] == "undefined"]["mass"].sum()
    attention = trace.shares("l1").attention
    where = np.argwhere(np.isnan(attention)).tolist()
    assert lost == pytest.approx(sum(masses.get(f"mid.{i + 1}.{p}", 0.0) for i, p in where), abs=1e-9)
    assert flow.conservation < 1e-9


def test_where_an_edit_takes_part_in_it_it_stays_undefined(demo):
    trace = demo.trace(LOST)
    mlp = trace.shares("l1").mlp
    layer, position = (int(x) for x in np.argwhere(np.isnan(mlp))[-1])
    held = trace.edit(iv.Scale(site="mlp_out", layer=layer, positions=[position], factor=1.0))
    if np.isnan(held.shares("l1").mlp[layer, position]):
        flow = held.flow(layer + 1, position, "l1", "weights", details=False, **WHOLE)
        assert flow.nodes.set_index("id")["mass"][f"undefined.{layer + 1}"] == pytest.approx(1)
        before = trace.flow(layer + 1, position, "l1", "weights", details=False, **WHOLE)
        assert f"undefined.{layer + 1}" not in before.node_id


def cut(flow: iv.Flow, row: int) -> float:
    """Mass of all blocks at a row and of the terminals above it, from the public table alone."""
    nodes = flow.nodes
    ends = nodes["kind"].isin(["sink", "bias", "hidden", "undefined", "intervention"]) & (nodes["row"] > row)
    here = (nodes["kind"] == "block") & (nodes["row"] == row)
    return float(nodes.loc[ends | here, "mass"].sum())


@pytest.mark.parametrize("position", [-1, "generated"])
@pytest.mark.parametrize("options", [{}, {"sinks": "hide"}, {"sinks": "renormalise"}])
def test_every_full_cut_is_whole(family, position, options):
    for name in ("gpt-oss", "Phi", "GPT-2"):
        trace = trace_with_sinks(family(name).engine, FAMILY_PROMPT[::-1])
        sinks = dict(trace.sinks())
        for measure, division in (("norm", "value_weighted"), ("kl", "weights"), ("projection", "projection")):
            flow = trace.flow(None, position, measure, division, details=False, **WHOLE, **options)
            for row in range(flow.n_layers + 2):
                assert cut(flow, row) == pytest.approx(1, abs=1e-6 * max(1, flow.node_mass.max())), (name, row)
            if options:
                assert "hidden" in flow.node_kind or options["sinks"] != "hide"
                reads = flow.links[flow.links["target"].str.startswith("attention")]
                for source in reads["source"]:
                    kind, row, *place = source.split(".")
                    assert kind != "block" or int(place[0]) not in sinks.get(int(row), ()), source


def test_the_start_of_all_generated_tokens_are_the_positions_that_say_them(case):
    trace = case("llama").trace
    flow = trace.flow(position="generated", details=False)
    says = list(range(trace.prompt_length - 1, len(trace.tokens) - 1))
    assert flow.starts.tolist() == says
    top = flow.nodes[flow.nodes["row"] == flow.n_layers + 1]
    assert top["position"].tolist() == says
    np.testing.assert_allclose(top["mass"], 1 / len(says))


def test_rows_are_a_window_on_the_same_flow(case):
    trace = case("gpt2").trace
    whole = trace.flow(details=False, **WHOLE)
    part = trace.flow(rows=iv.Span(1, 3), details=False, **WHOLE)
    assert set(part.node_row.tolist()) == {1, 2}
    same = whole.nodes.set_index("id")["mass"]
    np.testing.assert_allclose(part.node_mass, same[part.node_id])
    assert part.drawn_in_rows == pytest.approx(1)
    assert part.drawn == pytest.approx(np.abs(part.link_mass).sum() / np.abs(whole.link_mass).sum())
    assert part.cut["rows"] == pytest.approx(1 - part.drawn)


def test_limits_leave_the_largest(case):
    trace = case("llama").trace
    whole = trace.flow(details=False, **WHOLE).links
    few = trace.flow(top_k=2, min_mass=0, max_nodes=None, max_links=None, details=False).links
    reads = whole[whole["source"].str.startswith("block") & whole["target"].str.startswith("attention")]
    for target, group in reads.groupby("target"):
        drawn = few[(few["target"] == target) & few["source"].str.startswith("block")]
        assert sorted(drawn["mass"]) == pytest.approx(sorted(group["mass"])[-2:]), target
    most = trace.flow(min_mass=0, max_links=9, details=False)
    assert most.links["mass"].tolist() == pytest.approx(whole["mass"].nlargest(9).tolist())
    nodes = trace.flow(min_mass=0, max_nodes=12, details=False)
    left_out = trace.flow(details=False, **WHOLE).nodes.set_index("id")["mass"].drop(nodes.node_id)
    assert left_out.max() <= nodes.node_mass.min() + 1e-12
    assert 8 <= len(nodes.node_mass) <= 12
    assert most.cut["count"] == pytest.approx(1 - most.drawn)


def test_a_flow_can_start_anywhere(case):
    trace = case("llama").trace
    flow = trace.flow(2, 4, details=False, **WHOLE)
    assert (flow.row, flow.starts.tolist()) == (2, [4])
    assert flow.node_id[0] == "block.2.4"
    assert flow.node_mass[0] == 1
    assert flow.node_position.max() == 4


def test_what_an_edit_put_into_the_stream_is_a_part_of_its_own(case):
    llama = case("llama")
    for site, layer, row, kind in (
        ("resid_mid", 1, 2, "mid"),
        ("resid_pre", 2, 2, "block"),
        ("resid_post", 1, 2, "block"),
    ):
        edited = llama.trace.edit(iv.Scale(site=site, layer=layer, positions=[3], factor=1.5))
        flow = edited.flow(position=-1, measure="norm", attention="weights", details=False, **WHOLE)
        ends = flow.links[flow.links["source"] == f"intervention.{row}"]
        assert ends["target"].tolist() == [f"{kind}.{row}.3"], site
        junction = flow.links[flow.links["target"] == f"{kind}.{row}.3"]
        assert junction["share"].sum() == pytest.approx(1)
        if kind == "mid":
            parts = [edited.activation(n, layer=1)[3] for n in ("resid_pre", "attn_out")]
            lengths = [np.linalg.norm(p) for p in (*parts, 0.5 * sum(parts))]
            assert ends["share"].iloc[0] == pytest.approx(lengths[2] / sum(lengths), abs=1e-4)
        for r in range(flow.n_layers + 2):
            assert cut(flow, r) == pytest.approx(1, abs=1e-6)
        shares = edited.shares()
        part = shares.intervention_attention if kind == "mid" else shares.intervention_mlp
        assert np.flatnonzero(part[row - 1]).tolist() == [3]
    assert llama.trace.shares().intervention_mlp is None


@pytest.mark.parametrize("name", ["Llama", "Gemma-2", "Phi"])
def test_what_an_edit_wrote_in_a_heads_place_comes_from_no_position(family, name):
    trace, layer, head, at = family(name).trace, 1, 1, 4
    edited = trace.edit(iv.SetValue(site="z", layer=layer, head=head, positions=[at], value=0.3))
    total = edited.activation("attn_out", layer=layer)[at]
    found = edited.head_shares(layer + 1, at, attention="projection")
    assert not found.shares[head].any()
    assert found.shares.sum() + found.bias + found.intervention == pytest.approx(1, abs=1e-4)
    if name != "Gemma-2":
        w_o = trace.engine.kept_traces.model.weights.get(f"w_o.{layer}").float().numpy()
        columns = w_o.reshape(len(w_o), len(found.shares), -1)[:, head]
        written = 0.3 * columns.sum(1)
        assert found.intervention == pytest.approx(written @ total / (total @ total), abs=1e-4)
    for division in ("weights", "value_weighted", "projection"):
        flow = edited.flow(layer + 1, at, attention=division, details=False, **WHOLE)
        ends = flow.links[flow.links["source"] == f"intervention.{layer + 1}"]
        assert ends["target"].tolist() == [f"attention.{layer + 1}.{at}"]
        if division == "weights":
            assert ends["share"].iloc[0] == pytest.approx(1 / len(found.shares))
        assert flow.conservation <= 1e-6
    joint = edited.head_shares(layer + 1, at, joint=True)
    parts = [joint.shares.sum(), joint.residual, joint.bias, joint.intervention, np.nan_to_num(joint.mlp)]
    assert sum(parts) == pytest.approx(1, abs=1e-4)
    assert not joint.shares[head].any()


@pytest.mark.parametrize("name", ["Llama", "Phi"])
@pytest.mark.parametrize("site", ["attn_out", "mlp_out"])
def test_what_an_edit_wrote_for_attention_or_mlp_ends_there(family, name, site):
    trace, at = family(name).trace, 4
    node = "attention" if site == "attn_out" else "mlp"
    edited = trace.edit(iv.Steer(site=site, layer=1, positions=[at], direction="c", strength=1.0))
    for division in ("weights", "value_weighted", "projection"):
        flow = edited.flow(2, at, attention=division, details=False, **WHOLE)
        ends = flow.links[flow.links["target"] == f"{node}.2.{at}"]
        assert ends["source"].tolist() == ["intervention.2"]
        assert ends["share"].iloc[0] == pytest.approx(1)
        for row in range(3):
            assert cut(flow, row) == pytest.approx(1, abs=1e-6)


def test_half_precision_loses_no_mass_either(tiny_folder):
    engine = iv.open_model(str(tiny_folder("gemma2")), dtype="bfloat16")
    try:
        trace = engine.trace("ab c!ab", max_new_tokens=2)
        for measure, division in (("norm", "value_weighted"), ("projection", "projection"), ("l1", "weights")):
            flow = trace.flow(None, -1, measure, division, **WHOLE)
            assert flow.conservation <= 1e-6
            assert np.isfinite(flow.link_kl[flow.node_position[flow.link_source] >= 0]).all()
        found = trace.attribution("c", "d", by="neurons", n=None)
        assert abs(found.remainder) <= 2e-2 * max(1, np.abs(found.value).max())
        assert trace.graph(threshold=0.01).edge_share.min() >= 0.01
        assert trace.route("projection", "projection").conservation <= 1e-6
    finally:
        engine.close()


@pytest.mark.parametrize("name", ["Llama", "Phi"])
def test_an_edit_of_neurons_stays_within_the_mlp_node(family, name):
    trace, at = family(name).trace, 4
    edited = trace.edit(iv.SetValue(site="act", layer=1, positions=[at], neuron=2, value=9.0))
    assert not np.allclose(edited.activation("mlp_out", layer=1)[at], trace.activation("mlp_out", layer=1)[at])
    flow = edited.flow(2, at, details=False, **WHOLE)
    assert not [node for node in flow.node_id if node.startswith("intervention")]
    ends = flow.links[flow.links["target"] == f"mlp.2.{at}"]
    assert [source.split(".")[0] for source in ends["source"]] == ["block" if name == "Phi" else "mid"]
    assert ends["share"].tolist() == [1]
