"""The inside of a layer: every number against plain transformers' weights, and sums at every node (methods §7)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import intravisto_core as iv
from intravisto_core.request import LayerView
from intravisto_core.views.layer import cards
from tests import tiny
from tests.reference.inside import Inside, divergence, entropy, log_softmax

TARGET, CONTRAST, POSITION = 20, 41, 9
FAMILIES = ("Llama", "GPT-2", "GPT-J", "Gemma-2", "Qwen3-MoE", "gpt-oss")
LANES = ["attention", "mlp"]


@pytest.fixture(scope="module")
def literal(family):
    made: dict[tuple[str, int], Inside] = {}

    def get(name: str, layer: int) -> Inside:
        if (name, layer) not in made:
            made[name, layer] = Inside(family(name).plain, layer, POSITION)
        return made[name, layer]

    return get


def of(graph, **wanted):
    """The rows of the table of parts with these values."""
    parts = graph.parts
    for name, value in wanted.items():
        parts = parts[parts[name] == value]
    return parts


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("name", FAMILIES)
def test_heads_and_their_sources_are_those_of_plain_weights(family, literal, name, layer):
    trace, own = family(name).trace, literal(name, layer)
    graph = trace.layer(layer, POSITION, TARGET, CONTRAST)
    heads = of(graph, kind="head")
    assert sorted(heads["index"]) == list(range(len(own.heads)))
    assert heads["size"].is_monotonic_decreasing
    order = heads["index"].to_numpy()
    near = {"rtol": 2e-4, "atol": 2e-5}
    np.testing.assert_allclose(heads["size"], np.linalg.norm(own.heads[order], axis=1), **near)
    np.testing.assert_allclose(heads["pull"], own.pull(own.heads[order], TARGET, None), **near)
    np.testing.assert_allclose(heads["versus"], own.pull(own.heads[order], TARGET, CONTRAST), **near)
    after = own.state("resid_post")
    changes = own.change(own.heads[order], after)
    np.testing.assert_array_equal(heads["rank"], 1 + (changes > changes[:, [TARGET]]).sum(1))
    rows = [list(graph.part_index[graph.part_kind == "head"]).index(h) for h in order]
    listed = graph.part_ids[rows]
    np.testing.assert_allclose(graph.part_changes[rows], np.take_along_axis(changes, listed, 1), rtol=1e-3, atol=1e-4)
    bias = of(graph, kind="attention_bias")
    assert len(bias) == bool(own.attention_bias.any())
    if len(bias):
        np.testing.assert_allclose(bias["pull"], own.pull(own.attention_bias, TARGET, None), **near)
    real = graph.source_position >= 0
    np.testing.assert_array_equal(graph.source_position[real], np.arange(POSITION + 1))
    sources = own.sources[order][:, : POSITION + 1]
    np.testing.assert_allclose(graph.source_weight[:, real], own.pattern[order][:, : POSITION + 1], atol=1e-6)
    np.testing.assert_allclose(graph.source_size[:, real], np.linalg.norm(sources, axis=2), **near)
    np.testing.assert_allclose(graph.source_pull[:, real], own.pull(sources, TARGET, None), **near)
    np.testing.assert_allclose(graph.source_versus[:, real], own.pull(sources, TARGET, CONTRAST), **near)
    learned = graph.source_position == iv.records.layer.LEARNED_SINK
    assert learned.any() == (name == "gpt-oss")
    if learned.any():
        np.testing.assert_allclose(graph.source_weight[:, learned][:, 0], 1 - own.pattern[order].sum(1), atol=1e-6)
        assert not graph.source_pull[:, learned].any()


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("name", FAMILIES)
def test_neurons_are_those_of_plain_weights(family, literal, name, layer):
    trace, own = family(name).trace, literal(name, layer)
    graph = trace.layer(layer, POSITION, TARGET, CONTRAST, width="pull", neurons=5)
    near = {"rtol": 2e-4, "atol": 2e-5}
    if own.experts:
        experts = of(graph, kind="expert")
        assert set(experts["expert"]) == set(own.experts)
        for row in experts.itertuples():
            weight, act, neurons, bias = own.experts[row.expert]
            assert row.weight == pytest.approx(weight, rel=1e-5)
            assert row.pull == pytest.approx(own.pull(neurons.sum(0) + bias, TARGET, None), abs=2e-5)
            assert row.count == len(act)
        blocks = {e: (act, neurons) for e, (_, act, neurons, _) in own.experts.items()}
    else:
        blocks = {-1: (own.act, own.neurons)}
        assert graph.lane_count[1] == len(own.act)
        np.testing.assert_allclose(graph.lane_sizes[1], np.linalg.norm(own.neurons, axis=1).sum(), rtol=1e-4)
        sizes = np.sort(np.linalg.norm(own.neurons, axis=1))[::-1].cumsum()
        assert graph.lane_half[1] == int((sizes < sizes[-1] / 2).sum()) + 1
    every = np.concatenate([np.abs(own.pull(neurons, TARGET, None)) for _, neurons in blocks.values()])
    rows = of(graph, kind="neuron")
    np.testing.assert_allclose(np.sort(np.abs(rows["pull"]))[::-1], np.sort(every)[::-1][:5], **near)
    for row in rows.itertuples():
        act, neurons = blocks[row.expert]
        assert row.act == pytest.approx(act[row.index], rel=1e-4, abs=1e-6)
        assert row.size == pytest.approx(np.linalg.norm(neurons[row.index]), rel=2e-4, abs=1e-6)
        assert row.pull == pytest.approx(own.pull(neurons[row.index], TARGET, None), abs=2e-5)
    for expert, (_, neurons) in blocks.items():
        drawn = rows[rows["expert"] == expert]["index"].to_numpy()
        rest = np.delete(neurons, drawn, axis=0).sum(0)
        others = of(graph, kind="others", lane="mlp", expert=expert)
        np.testing.assert_allclose(others["pull"], own.pull(rest, TARGET, None), **near)
        np.testing.assert_allclose(others["size"], np.linalg.norm(rest), **near)


@pytest.mark.parametrize("name", FAMILIES)
def test_states_and_what_they_say_without_a_part(family, literal, name):
    layer, own = 1, literal(name, 1)
    graph = family(name).trace.layer(layer, POSITION, TARGET, CONTRAST, neurons=3)
    serial = name != "GPT-J"
    assert list(graph.state_name) == ["resid_pre", *(["resid_mid"] if serial else []), "resid_post"]
    assert graph.parallel is not serial
    for row in graph.states.itertuples():
        x = own.state(row.state)
        z = own.logits(x)
        assert row.size == pytest.approx(np.linalg.norm(x), rel=1e-5)
        assert row.entropy == pytest.approx(entropy(z), abs=1e-4)
        assert row.rank == 1 + (z > z[TARGET]).sum()
        assert row.pull == pytest.approx(own.pull(x, TARGET, None), abs=1e-4)
    joined = {
        "attention": own.state("resid_mid") if serial else own.state("resid_post"),
        "mlp": own.state("resid_post"),
    }
    for row in of(graph, kind="head").itertuples():
        with_it = own.logits(joined["attention"])
        without = own.logits(joined["attention"] - own.heads[row.index])
        assert row.kl == pytest.approx(divergence(with_it, without), rel=1e-3, abs=1e-7)
        assert row.entropy_change == pytest.approx(entropy(with_it) - entropy(without), abs=2e-5)
    if not own.experts:
        for row in of(graph, kind="neuron").itertuples():
            without = own.logits(joined["mlp"] - own.neurons[row.index])
            assert row.kl == pytest.approx(divergence(own.logits(joined["mlp"]), without), rel=1e-3, abs=1e-7)


def check_sums(graph):
    """In = out at every node of the lanes; what only reads has pull 0."""
    edges, nodes = graph.edges, graph.nodes.set_index("id")
    moves = edges[edges["kind"] != "reads"]
    assert not edges[edges["kind"] == "reads"][["size", "pull", "versus"]].to_numpy().any()
    into = moves.groupby("target")[["pull", "versus"]].sum()
    out = moves.groupby("source")[["pull", "versus"]].sum()
    both = into.index.intersection(out.index)
    assert {"attention", "mlp"} <= set(both)
    assert {f"head:{h}" for h in graph.heads} <= set(both)
    scale = 1 + nodes[["pull", "versus"]].abs().to_numpy().max()
    np.testing.assert_allclose(into.loc[both], out.loc[both], atol=1e-5 * scale)
    np.testing.assert_allclose(into.loc["resid_post"], nodes.loc["resid_post", ["pull", "versus"]], atol=1e-5 * scale)
    parts = graph.parts[~graph.inside]
    for number, lane in enumerate(LANES):
        total = parts[parts["lane"] == lane]["pull"].sum()
        assert total == pytest.approx(graph.lane_pull[number], abs=1e-5 * scale)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(FAMILIES),
    layer=st.integers(0, 1),
    position=st.integers(0, 16),
    width=st.sampled_from(["size", "pull", "versus"]),
    heads=st.none() | st.integers(0, 4),
    neurons=st.integers(0, 60),
)
def test_pulls_add_up_at_every_node(family, name, layer, position, width, heads, neurons):
    graph = family(name).trace.layer(layer, position, TARGET, CONTRAST, width, heads, neurons)
    check_sums(graph)
    drawn = graph.parts[(graph.part_kind == "head")]
    assert len(drawn) == (4 if heads is None else heads)


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_every_family_adds_up_to_the_direct_attribution(family, name):
    case = family(name)
    if not case.engine.model.capabilities["neurons"].ok:
        with pytest.raises(iv.ModelError, match="neurons"):
            case.trace.layer(0)
        return
    for contrast in (None, CONTRAST):
        whole = case.trace.attribution(TARGET, contrast, POSITION)
        for layer in range(case.engine.model.n_layers):
            graph = case.trace.layer(layer, POSITION, TARGET, CONTRAST, neurons=4)
            found = graph.lane_pull if contrast is None else graph.lane_versus
            for number, lane in enumerate(LANES):
                wanted = whole.value[(whole.kind == lane) & (whole.layer == layer)].item()
                assert found[number] == pytest.approx(wanted, abs=1e-4), (layer, lane)
    check_sums(graph)
    assert (graph.part_fired_ids[graph.part_kind == "neuron"] >= 0).all(), "what fires neurons is known"


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_parts_of_the_stream_fire_a_neuron(family, name):
    case = family(name)
    if not case.engine.model.capabilities["neurons"].ok:
        return
    graph = case.trace.layer(1, POSITION, TARGET, neurons=1)
    row = of(graph, kind="neuron").iloc[0]
    expert = None if row["expert"] < 0 else int(row["expert"])
    card = case.trace.neuron(1, int(row["index"]), expert, position=POSITION, target=TARGET)
    assert card.activation[POSITION] == pytest.approx(row["act"])
    assert card.pull == pytest.approx(row["pull"], abs=1e-6)
    assert card.kl == pytest.approx(row["kl"], rel=1e-3, abs=1e-7)
    assert np.sum(card.fired_up) == pytest.approx(card.up[POSITION], abs=2e-5)
    if card.gate is not None:
        assert np.sum(card.fired_gate) == pytest.approx(card.gate[POSITION], abs=2e-5)
        assert len(card.gate_reads) == len(card.up_reads) == 15
    assert card.place == 1
    assert (card.promoted.before >= 1).all()
    head = case.trace.head(1, 2, POSITION, target=TARGET)
    assert np.sum(head.pulls) == pytest.approx(head.pull, abs=2e-5)
    assert (head.query_ids >= 0).all()
    assert (head.key_ids >= 0).all()


def test_a_card_of_a_head_is_its_row(case):
    trace = case("llama").trace
    graph = trace.layer(1, 6, TARGET, CONTRAST, order="logit")
    for head in range(4):
        card, row = trace.head(1, head, 6, target=TARGET, contrast=CONTRAST), of(graph, kind="head", index=head).iloc[0]
        for name in ("size", "pull", "versus", "rank", "kl"):
            assert getattr(card, name) == pytest.approx(row[name], rel=1e-4, abs=1e-7), name
        scores, weights = card.scores[:7], card.weights[:7]
        np.testing.assert_allclose(np.exp(scores) / np.exp(scores).sum(), weights, atol=1e-5)
        assert np.isnan(card.scores[7:]).all()
        assert card.kv_head == head // 2
    product = graph.part_ids[:, 0]
    values = graph.part_changes
    assert (np.diff(values, axis=1) <= 1e-6).all(), "by product the changes fall"
    angle = trace.layer(1, 6, TARGET, CONTRAST).part_ids[:, 0]
    assert not np.array_equal(product, angle)


def test_what_a_query_looks_for_is_what_its_score_is_a_product_with(case):
    from intravisto_core.models.reader import read_readers
    from intravisto_core.views.layer.looks import find_directions
    from tests.inside import context_of

    tiny_case = case("qwen3")
    context, layer, head, i, j = context_of(tiny_case.engine, tiny_case.trace), 1, 3, 6, 2
    looked, answers = find_directions(context, layer, head, i, [j])
    queries, keys = read_readers(context.model, layer)
    stream = context.data.site("resid_pre", layer).float()
    kv = head // 2
    facts = context.data.facts[layer]
    sigma = keys.norm.sigma(stream[j]) * keys.raw(stream[j], kv)[1]
    score = tiny_case.trace.head(layer, head, i).scores[j]
    assert float(stream[j] @ looked / sigma) * facts.scaling == pytest.approx(score, rel=1e-4)
    sigma = queries.norm.sigma(stream[i]) * queries.raw(stream[i], head)[1]
    assert float(stream[i] @ answers / sigma) * facts.scaling == pytest.approx(score, rel=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_makes_a_value_and_which_rows_of_w_o_write(family, literal, monkeypatch, name):
    from intravisto_core.models.reader import read_readers
    from intravisto_core.views.layer.looks import find_values
    from tests.inside import context_of

    engine, trace, layer, head, j = family(name).engine, family(name).trace, 1, 3, 4
    context, own = context_of(engine, trace), literal(name, layer)
    (takes,) = find_values(context, layer, head, POSITION, [j])
    norm = read_readers(context.model, layer)[0].norm
    kv = head * engine.model.n_kv_heads // engine.model.n_heads
    value = context.data.site("v", layer)[kv, j].float()
    stream = context.data.site("resid_pre", layer)[j].float()
    whole = value @ value
    constant = context.model.weights.bias(f"w_v.{layer}")
    rest = 0 if constant is None else constant.unflatten(0, (-1, len(value)))[kv] @ value
    if norm.shift is not None:
        rows = context.model.weights.get(f"w_v.{layer}").float().unflatten(0, (-1, len(value)))[kv]
        rest = rest + value @ (rows @ norm.shift)
    assert float(stream @ takes / norm.sigma(stream) + rest) == pytest.approx(float(whole), rel=1e-3)
    card = trace.head(layer, head, POSITION, target=TARGET)
    z = context.data.site("z", layer)[head, POSITION].float().numpy()
    np.testing.assert_allclose(card.row_value, z[card.row_index], rtol=1e-6)
    assert (np.diff(card.row_size) <= 1e-7).all()
    monkeypatch.setattr(cards, "ROWS", len(z))
    every = trace.head(layer, head, POSITION, target=TARGET, n=14)
    assert every.row_pull.sum() == pytest.approx(own.pull(own.heads[head], TARGET, None), abs=2e-5)
    assert (card.value_ids >= 0).all()


def test_the_finder_of_neurons(family, literal):
    trace, own = family("Llama").trace, literal("Llama", 1)
    found = trace.neurons(1, POSITION, "size", 6, target=TARGET, contrast=CONTRAST)
    sizes = np.linalg.norm(own.neurons, axis=1)
    np.testing.assert_array_equal(found.neuron, np.argsort(-sizes)[:6])
    np.testing.assert_allclose(found.pull, own.pull(own.neurons[found.neuron], TARGET, None), atol=2e-5)
    everywhere = trace.neurons(None, POSITION, "pull", 8, target=TARGET).frame()
    assert everywhere["pull"].abs().is_monotonic_decreasing
    assert set(everywhere["layer"]) <= {0, 1}
    plain, ids = family("Llama").plain, family("Llama").ids
    pulls = []
    for position in range(len(ids) - 1):
        here = Inside(plain, 1, position)
        pulls.append(here.pull(here.neurons, ids[position + 1], None))
    mean = np.mean(pulls, axis=0)
    found = trace.neurons(1, POSITION, "attribution", 4)
    np.testing.assert_array_equal(found.neuron, np.argsort(-np.abs(mean))[:4])
    np.testing.assert_allclose(found.attribution, mean[found.neuron], atol=2e-5)
    found = trace.neurons(1, POSITION, promotes=TARGET, k=4)
    gamma, *_ = own._norm()
    direction = gamma * (own.table[TARGET] - own.table.mean(0))
    rows = own.neurons / own.act[:, None]
    cosine = rows @ direction / np.linalg.norm(direction) / np.linalg.norm(rows, axis=1)
    np.testing.assert_array_equal(found.neuron, np.argsort(-np.abs(cosine))[:4])
    np.testing.assert_allclose(found.cosine, cosine[found.neuron], atol=1e-5)


@pytest.mark.parametrize(
    ("edit", "kind", "lane"),
    [
        (iv.Ablate("attn_out", 1, (6,)), "intervention", "attention"),
        (iv.Steer("resid_mid", 1, (6,), direction="c", strength=1.0), "intervention", "attention"),
        (iv.Ablate("mlp_out", 1, (6,)), "intervention", "mlp"),
        (iv.Replace("resid_post", 1, (6,), token="c"), "intervention", "mlp"),
    ],
)
def test_what_an_edit_put_there_is_a_part(case, edit, kind, lane):
    trace = case("llama").trace
    edited = trace.edit(edit)
    graph = edited.layer(1, 6, TARGET, CONTRAST)
    check_sums(graph)
    assert len(of(graph, kind=kind, lane=lane)) == 1
    assert not len(of(edited.layer(1, 5, TARGET, CONTRAST), kind=kind))
    edited.forget()


def test_edited_heads_and_neurons_are_shown_as_the_run_had_them(case):
    trace = case("llama").trace
    edited = trace.edit(iv.Scale("z", 1, (6,), head=2, factor=3.0), iv.SetValue("act", 1, (6,), neuron=5, value=4.0))
    graph, plain = edited.layer(1, 6, TARGET, CONTRAST, neurons=48), trace.layer(1, 6, TARGET, CONTRAST)
    check_sums(graph)
    head = of(graph, kind="head", index=2)["size"].item()
    assert head == pytest.approx(3 * of(plain, kind="head", index=2)["size"].item(), rel=1e-4)
    assert of(graph, kind="neuron", index=5)["act"].item() == 4.0
    row = list(graph.heads).index(2)
    put_in = graph.source_position == iv.records.layer.EDITED_SOURCE
    assert graph.source_pull[row, put_in].item() == pytest.approx(of(graph, kind="head", index=2)["pull"].item())
    card = edited.head(1, 2, 6)
    assert card.edited
    neuron = edited.neuron(1, 5, position=6)
    assert neuron.activation[6] == 4.0
    edited.forget()


def test_bf16_adds_up_with_its_rounding_shown(tiny_folder):
    engine = iv.open_model(str(tiny_folder("llama")), dtype="bfloat16")
    graph = engine.trace(tiny.PROMPT).layer(1, 6, TARGET, CONTRAST, neurons=3)
    check_sums(graph)
    assert graph.rounding.any()
    assert np.abs(graph.rounding).max() < 0.1
    engine.close()


def test_long_texts_sum_up_the_sources_without_a_row(case):
    tiny_case = case("llama")
    trace = tiny_case.engine.trace("ab c" * 12)
    graph = trace.layer(2, -1, TARGET, CONTRAST)
    check_sums(graph)
    assert len(graph.source_position) == 25
    assert graph.source_position[-1] == iv.records.layer.OTHER_SOURCES
    np.testing.assert_allclose(graph.source_weight.sum(1), 1, atol=1e-5)
    trace.forget()


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda t: t.layer(9), "layer"),
        (lambda t: t.layer(0, 99), "position"),
        (lambda t: t.layer(0, width="mass"), "versus"),
        (lambda t: t.layer(0, heads=-1), "heads"),
        (lambda t: t.layer(0, neurons=2.5), "neurons"),
        (lambda t: t.layer(0, target=3, contrast=3), "same"),
        (lambda t: t.head(0, 9), "head"),
        (lambda t: t.neuron(0, 10**6), "neuron"),
        (lambda t: t.neuron(0, 1, 2), "expert"),
        (lambda t: t.neurons(0, rank_by="charm"), "attribution"),
        (lambda t: t.layer(0, foo=1), "foo"),
    ],
)
def test_what_cannot_be_asked_is_said(case, ask, said):
    with pytest.raises(iv.RequestError, match=said):
        ask(case("llama").trace)


def test_an_expert_is_asked_for_by_number(family):
    trace = family("Qwen3-MoE").trace
    with pytest.raises(iv.RequestError, match="mixture"):
        trace.neuron(1, 0)
    chosen = trace.experts(1).chosen[POSITION]
    left = next(e for e in range(4) if e not in chosen)
    with pytest.raises(iv.RequestError, match="chosen"):
        trace.neuron(1, 0, left, position=POSITION)


def test_rows_of_a_quantised_model_are_those_it_multiplies_by(tiny_folder):
    engine = iv.open_model(str(tiny_folder("llama")), quantisation="nf4")
    graph = engine.trace(tiny.PROMPT).layer(1, 6, TARGET, CONTRAST)
    check_sums(graph)
    assert graph.notes == ()
    engine.close()


def test_the_request_keeps_what_it_was_given(case):
    view = LayerView(case("llama").trace, -1, width="versus")
    assert (view.width.label, view.neurons) == ("against", 10)
    record = case("llama").trace.view(view)
    assert record.layer == 2
    assert "layer 2" in repr(record)


@pytest.mark.parametrize("size", [1e-4, 1.0, 60.0])
def test_losses_are_those_of_float64_whatever_their_size(size):
    from intravisto_core.analysis.layer_readings import compute_losses

    numbers = np.random.default_rng(3)
    z = numbers.normal(size=500) * 4
    others = z + numbers.normal(size=(3, 500)) * size
    p, found = log_softmax(z), torch.tensor(others, dtype=torch.float32)
    kl, change = compute_losses(torch.tensor(p, dtype=torch.float32), found.clone())
    wanted = [divergence(z, row) for row in found.double().numpy()]
    moved = [entropy(z) - entropy(row) for row in found.double().numpy()]
    np.testing.assert_allclose(kl, wanted, rtol=2e-2 if size < 1e-3 else 1e-4)
    np.testing.assert_allclose(change, moved, atol=3e-5, rtol=1e-4)


def test_layers_are_saved_with_a_run(case, tmp_path):
    trace = case("llama").trace
    card = trace.head(1, 2)
    kept = iv.HeadView(trace.id, 1, 2)
    path = trace.save(tmp_path / "run.intravisto", views=["layer", kept])
    opened = iv.open_trace(path)
    for layer in range(3):
        found, made = opened.layer(layer), trace.layer(layer)
        np.testing.assert_array_equal(found.part_pull, made.part_pull)
        assert found.shown == made.shown
        assert found.edges.equals(made.edges)
    assert opened.head(1, 2).promoted.texts == card.promoted.texts
    with pytest.raises(iv.NotSavedError):
        opened.layer(1, 3)


def test_pages_tables_and_files(case, family, tmp_path):
    for trace in (case("llama").trace, family("Qwen3-MoE").trace, family("GPT-J").trace):
        graph = trace.layer(1, 5, TARGET, CONTRAST, width="pull")
        page = graph.html()
        assert "http" not in page.split("<body>")[0].replace("http-equiv", "")
        assert len(page) < 200_000
        assert graph.save(tmp_path / "layer.csv").read_text("utf-8-sig").startswith("kind,lane,index,expert")
        assert graph.save(tmp_path / "layer.json").stat().st_size
        assert graph.figure().data
        for record in (trace.head(1, 1, 5), trace.neurons(1, 5, k=3)):
            assert len(record.frame())
            assert record.figure().data


def test_a_card_of_a_long_text_shows_its_end_and_the_largest_before(case):
    from intravisto_core.figures.web.layer_features_payload import over_text

    token = case("llama").trace.tokens[1]
    values = np.zeros(1000, np.float32)
    values[[0, 17, 990]] = 9.0, -3.5, 2.0
    found = over_text([token] * 1000, values)
    assert found["before"] == {"count": 960, "position": 17, "token": token.shown, "value": -3.5}
    assert (found["first"], len(found["tokens"]), len(found["values"]), found["largest"]) == (960, 40, 40, 3.5)
    short = over_text([token] * 3, np.array([5.0, 1.0, np.nan], np.float32))
    assert (short["before"], short["first"], short["largest"], short["values"][2]) == (None, 0, 1.0, None)
    assert over_text([token], np.array([2.0], np.float32))["largest"] == 2.0


def test_the_command(capsys, tmp_path, tiny_llama):
    from intravisto_core.cli import main

    run = ["layer", "ab c", "--model", str(tiny_llama), "--layers", "0,2", "--neurons", "3"]
    settings, page = tmp_path / "mine.json", tmp_path / "x.html"
    assert main([*run, "--width", "pull", "--save-settings", str(settings)]) == 0
    said = capsys.readouterr().out
    assert said.count("rank of") == 2
    assert "45 others" in said
    assert main([*run[:-2], "--settings", str(settings), "--out", str(page)]) == 0
    assert page.read_text().count("<h2>Layer") == 2
    settings.write_text('{"colour": "red"}')
    assert main([*run, "--settings", str(settings)]) == 2
    assert "width, heads, neurons, sources, order" in capsys.readouterr().err
    assert main([*run, "--layers", "two"]) == 2
