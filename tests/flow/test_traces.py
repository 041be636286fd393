"""Flows of real traces against the literal reading: every kind of block, attention and norm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.engine import flow_details, flow_parts
from tests.families.tiny import _LLAMA, _PATHS, is_parallel
from tests.flow.literal import Attention, Layer, Walk

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
    w_o = block.get_submodule(_PATHS.get(plain.kind, _LLAMA)[2])
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


def cut(flow: iv.Flow, row: int) -> float:
    """Mass of all blocks at a row and of the terminals above it, from the public table alone."""
    nodes = flow.nodes
    ends = nodes["kind"].isin(["sink", "bias", "hidden", "undefined", "intervention"]) & (nodes["row"] > row)
    here = (nodes["kind"] == "block") & (nodes["row"] == row)
    return float(nodes.loc[ends | here, "mass"].sum())


@pytest.mark.parametrize("position", [-1, "generated"])
@pytest.mark.parametrize("options", [{}, {"hide_start": True}, {"hide_start": True, "reweigh": True}])
def test_every_full_cut_is_whole(family, position, options):
    for name in ("gpt-oss", "Phi", "GPT-2"):
        for measure, division in (("norm", "value_weighted"), ("kl", "weights"), ("projection", "projection")):
            trace = family(name).trace
            flow = trace.flow(None, position, measure, division, details=False, **WHOLE, **options)
            for row in range(flow.n_layers + 2):
                assert cut(flow, row) == pytest.approx(1, abs=1e-6 * max(1, flow.node_mass.max())), (name, row)
            if options == {"hide_start": True}:
                assert "hidden" in flow.node_kind
                reads = flow.links[flow.links["source"].str.match(r"block\.\d+\.0$")]
                assert not reads["target"].str.startswith("attention").any()


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


def test_divergences_and_readings_are_those_of_the_cells(case):
    for name in ("llama", "gemma2", "gpt2"):
        tiny = case(name)
        flow = tiny.trace.flow(position=6, top_k=3, min_mass=1e-3)
        component = {"block": "block", "mid": "mid", "attention": "attention", "mlp": "mlp"}
        grids = {c: tiny.trace.heatmap(c) for c in component}
        changes = tiny.trace.heatmap(reading="difference")

        def logits(n: int, flow=flow, tiny=tiny) -> np.ndarray:
            at = int(flow.node_row[n]), int(flow.node_position[n])
            return tiny.cells.logits(str(flow.node_kind[n]), "output", "final", *at)

        for s, t, kl in zip(flow.link_source, flow.link_target, flow.link_kl, strict=True):
            if flow.node_position[s] < 0:
                assert np.isnan(kl)
                continue
            upper, lower = (z - np.logaddexp.reduce(z) for z in (logits(t), logits(s)))
            assert kl == pytest.approx(float((np.exp(upper) * (upper - lower)).sum()), abs=2e-4, rel=1e-3), name
        for n, kind in enumerate(flow.node_kind):
            row, position = int(flow.node_row[n]), int(flow.node_position[n])
            grid, q = grids[str(kind)], int(flow.node_reading[n])
            np.testing.assert_array_equal(flow.reading_ids[q], grid.token_ids[row, position])
            numbers = grid.logits if kind in ("attention", "mlp") else grid.probabilities
            np.testing.assert_allclose(flow.reading_numbers[q], numbers[row, position], atol=1e-5)
            d = int(flow.node_difference[n])
            if kind == "mid":
                np.testing.assert_array_equal(flow.reading_ids[d], grids["attention"].token_ids[row, position])
            elif kind == "block" and 1 <= row <= flow.n_layers:
                np.testing.assert_array_equal(flow.reading_ids[d], changes.token_ids[row, position])
            else:
                assert d == -1


def test_the_iterative_reading_of_nodes_is_that_of_the_cells(case):
    trace = case("llama").trace
    flow = trace.flow(position=6, top_k=2, min_mass=1e-2, reading="iterative")
    grids = {c: trace.heatmap(c, reading="iterative") for c in ("block", "mid", "attention", "mlp")}
    for n, kind in enumerate(flow.node_kind):
        row, position, q = int(flow.node_row[n]), int(flow.node_position[n]), int(flow.node_reading[n])
        np.testing.assert_array_equal(flow.reading_ids[q], grids[str(kind)].token_ids[row, position])
        assert flow.reading_unit[q] == "coefficient"


def test_a_link_between_states_tells_what_was_added_there(case):
    trace = case("llama").trace
    flow = trace.flow(position=6, top_k=1)
    wrote = {c: trace.heatmap(c).token_ids for c in ("attention", "mlp")}
    for i in np.flatnonzero(flow.link_kind == "residual"):
        t = flow.link_target[i]
        into = "attention" if flow.node_kind[t] == "mid" else "mlp"
        ids = wrote[into][flow.node_row[t], flow.node_position[t]]
        np.testing.assert_array_equal(flow.reading_ids[flow.link_difference[i]], ids)
    assert (flow.link_difference[flow.link_kind != "residual"] == -1).all()


def test_a_flow_without_details_is_the_same_flow(case):
    trace = case("llama").trace
    plain, full = trace.flow(top_k=2, details=False), trace.flow(top_k=2)
    np.testing.assert_array_equal(plain.link_mass, full.link_mass)
    assert plain.node_id == full.node_id
    assert np.isnan(plain.link_kl).all()
    assert (plain.node_reading == -1).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"row": 0}, "1 to"),
        ({"row": 99}, "1 to"),
        ({"position": 99}, "position"),
        ({"position": "all"}, "generated"),
        ({"measure": "size"}, "projection"),
        ({"attention": "size"}, "value_weighted"),
        ({"top_k": -1}, "top_k"),
        ({"min_mass": 2}, "min_mass"),
        ({"reweigh": True}, "position 0"),
        ({"reading": "difference"}, "iterative"),
        ({"row": 1, "rows": [3]}, "row 1"),
        ({"size": 3}, "min_weight"),
    ],
)
def test_what_cannot_be_asked_is_refused(case, options, said):
    with pytest.raises(iv.RequestError, match=said):
        case("llama").trace.flow(**options)


def test_generated_tokens_are_needed_where_they_are_asked_for(case):
    trace = case("llama").engine.trace("ab c")
    for ask in (lambda: trace.flow(position="generated"), trace.route):
        with pytest.raises(iv.RequestError, match="max_new_tokens"):
            ask()


def test_the_kl_pair_is_refused_in_a_parallel_block(family):
    with pytest.raises(iv.RequestError, match="parallel"):
        family("Phi").trace.flow(measure="kl_pair")


def test_a_model_whose_heads_fail_is_refused_all_but_the_weights(case):
    engine, trace = case("llama").engine, case("llama").trace
    card = engine.model
    failed = {**card.capabilities, iv.Capability.HEADS: iv.Check(False, 0.5, "heads do not add up")}
    try:
        engine._card = replace(card, capabilities=failed)
        for ask in (lambda: trace.flow(attention="projection"), lambda: trace.attribution(by="heads")):
            with pytest.raises(iv.ModelError, match="heads do not add up"):
                ask()
        assert len(trace.flow(details=False).links) > 0
    finally:
        engine._card = card


def test_what_an_edit_put_into_the_stream_is_a_part_of_its_own(case):
    llama = case("llama")
    for site, layer, row, kind in (
        ("resid_mid", 1, 2, "mid"),
        ("resid_pre", 2, 2, "block"),
        ("resid_post", 1, 2, "block"),
    ):
        edited = llama.trace.edit(iv.Scale(site=site, layer=layer, positions=[3], factor=1.5))
        flow = edited.flow(position=-1, details=False, **WHOLE)
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


def test_a_long_text_takes_turns_and_gives_the_same(case, monkeypatch):
    engine, trace = case("llama").engine, case("llama").trace
    short = trace.flow(top_k=3)
    monkeypatch.setattr(flow_parts, "LONG", 1)
    job = engine.submit(iv.FlowView(trace.id, top_k=3))
    flow = job.result(60)
    np.testing.assert_array_equal(flow.link_mass, short.link_mass)
    np.testing.assert_array_equal(flow.link_kl, short.link_kl)
    assert job.progress.text == "links"


def test_divergences_under_a_soft_cap_are_kept(case, monkeypatch):
    trace = case("gemma2").trace
    first = trace.flow(position=7, top_k=2)
    monkeypatch.setattr(flow_details, "divergences_by_logits", None)
    again = trace.flow(position=7, top_k=1)
    known = first.links.set_index(["source", "target"])["kl"]
    wanted = [known[link] for link in zip(again.links["source"], again.links["target"], strict=True)]
    np.testing.assert_array_equal(again.link_kl, np.array(wanted, np.float32))


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
