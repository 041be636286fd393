"""Heads of one cell, the threshold graph, the route and the disagreement, against the literal reading."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.views.context import ViewContext
from intravisto_core.views.flow import graph as graph_view
from intravisto_core.views.flow import shares as flow_parts
from tests.flow.sinking import trace_with_sinks
from tests.flow.test_traces import KINDS, WHOLE, attention
from tests.inside import compute_records_anew
from tests.reference.families import is_parallel
from tests.tiny import FAMILY_PROMPT

ROW, POSITION = 2, 6
SINKING = "ab c!ab d~ab e#ab f"


def joint(tiny, row: int, position: int) -> dict[object, float]:
    """Joint L1 shares of one cell: by (head, source), "residual", "bias" and, in a parallel block, "mlp"."""
    plain, layer = tiny.plain, row - 1
    found = attention(plain, layer)
    at = {n: plain.sites[n][layer][position].astype(np.float64) for n in ("resid_pre", "mlp_out")}
    parts = {(h, j): found.moved[h, position, j] for h, j in np.ndindex(*found.moved.shape[::2][:1], position + 1)}
    parts |= {"residual": at["resid_pre"], "bias": found.bias[position]}
    if is_parallel(plain.config):
        parts["mlp"] = at["mlp_out"]
    whole = sum(parts.values())
    raw = {n: max(float(np.abs(whole).sum() - np.abs(whole - p).sum()), 0.0) for n, p in parts.items()}
    return {n: v / sum(raw.values()) for n, v in raw.items()}


@pytest.mark.parametrize("name", KINDS)
def test_joint_shares_of_a_cell(family, name):
    tiny = family(name)
    found, wanted = tiny.trace.head_shares(ROW, POSITION, joint=True), joint(tiny, ROW, POSITION)
    for part, share in wanted.items():
        if isinstance(part, tuple):
            assert found.shares[part] == pytest.approx(share, abs=2e-4), (name, part)
    assert found.residual == pytest.approx(wanted["residual"], abs=2e-4)
    assert found.bias == pytest.approx(wanted["bias"], abs=2e-4)
    if "mlp" in wanted:
        assert found.mlp == pytest.approx(wanted["mlp"], abs=2e-4)
    else:
        assert np.isnan(found.mlp)


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Gemma-2", "gpt-oss"])
def test_shares_of_heads(family, name):
    tiny = family(name)
    literal = attention(tiny.plain, ROW - 1)
    moved, pattern = literal.moved[:, POSITION], literal.pattern[:, POSITION]
    total = moved.sum((0, 1)) + literal.bias[POSITION]
    wanted = {
        "weights": pattern / len(pattern),
        "value_weighted": np.linalg.norm(moved, axis=-1) / np.linalg.norm(moved, axis=-1).sum(),
        "projection": moved @ total / (total @ total),
    }
    for division, shares in wanted.items():
        found = tiny.trace.head_shares(ROW, POSITION, attention=division)
        np.testing.assert_allclose(found.shares, shares, atol=2e-4, err_msg=division)
        assert found.shares.sum() + found.sink.sum() + found.bias == pytest.approx(1, abs=1e-4)
        assert np.isnan(found.residual)
        np.testing.assert_allclose(found.heads, shares.sum(1) + found.sink, atol=1e-3)
        np.testing.assert_allclose(found.sources, shares.sum(0), atol=1e-3)
    sinks = tiny.trace.head_shares(ROW, POSITION).sink
    np.testing.assert_allclose(sinks, (1 - pattern.sum(1)) / len(pattern), atol=1e-5)
    assert (sinks.max() > 1e-3) == (name == "gpt-oss")


@pytest.mark.parametrize("name", ["Llama", "Phi"])
def test_the_threshold_graph_sets_sinks_aside(family, name, monkeypatch):
    trace = trace_with_sinks(family(name).engine, FAMILY_PROMPT[::-1])
    sinks, least = trace.sinks().positions, 0.03
    shown, hidden, anew = (
        graph_edges(trace.graph(position=9, threshold=t, sinks=how))
        for how, t in (("show", 0.0), ("hide", least), ("renormalise", least))
    )
    assert hidden
    assert hidden != anew
    for found in (hidden, anew):
        for (kind, row, source, target), share in found.items():
            at = sinks[row - 1]
            assert kind != "attention" or source not in at
            taken = sum(shown.get(("attention", row, j, target), 0.0) for j in at) if found is anew else 0.0
            assert share == pytest.approx(shown[kind, row, source, target] / (1 - taken), abs=1e-5)
    for (kind, row, source, target), share in shown.items():
        here = (row, target) in {(r, t) for _, r, _, t in hidden}
        if here and share >= least + 1e-6 and not (kind == "attention" and source in sinks[row - 1]):
            assert (kind, row, source, target) in hidden
    # a long text keeps the largest sources alone, and finds the same
    compute_records_anew(monkeypatch)
    monkeypatch.setattr(flow_parts, "LONG", 1)
    monkeypatch.setattr(graph_view, "KEPT_SOURCES", 2)
    monkeypatch.setattr(ViewContext, "keep", lambda context, key, value: value)
    again = graph_edges(trace.graph(position=9, threshold=least, sinks="renormalise"))
    assert again == {key: pytest.approx(share, abs=1e-5) for key, share in anew.items()}


def graph_edges(graph: iv.ContributionGraph) -> dict[tuple[str, int, int, int], float]:
    """Share of each edge by kind, row of its upper end, and positions of source and target."""
    return {
        (str(k), int(graph.node_row[t]), int(graph.node_position[s]), int(graph.node_position[t])): float(share)
        for k, s, t, share in zip(graph.edge_kind, graph.edge_source, graph.edge_target, graph.edge_share, strict=True)
    }


@pytest.mark.parametrize("name", ["Llama", "Phi"])
def test_the_threshold_graph_is_the_literal_search(family, name):
    tiny = family(name)
    threshold = 0.05
    graph = tiny.trace.graph(position=POSITION, threshold=threshold)
    top, wanted = tiny.engine.model.n_layers, {}
    active = {POSITION}
    for row in range(top, 0, -1):
        below = set()
        for i in active:
            shares = joint(tiny, row, i)
            by_source = {
                j: sum(v for p, v in shares.items() if isinstance(p, tuple) and p[1] == j) for j in range(i + 1)
            }
            edges = [("attention", j, v) for j, v in by_source.items()] + [("residual", i, shares["residual"])]
            edges += [("mlp", i, shares["mlp"])] if "mlp" in shares else []
            for kind, j, share in edges:
                if share >= threshold:
                    wanted[kind, row, j, i] = share
                    below.add(j)
        active = below
    found = graph_edges(graph)
    assert found == {key: pytest.approx(share, abs=2e-4) for key, share in wanted.items()}
    assert (graph.edge_share[:-1] >= graph.edge_share[1:]).all()
    assert (graph.node_row[graph.edge_source] == graph.node_row[graph.edge_target] - 1).all()
    assert graph.n_edges == len(wanted)
    if name == "Llama":
        mlp = tiny.trace.shares("l1").mlp
        inside = graph.node_row > 0
        np.testing.assert_allclose(
            graph.node_mlp[inside], mlp[graph.node_row[inside] - 1, graph.node_position[inside]], rtol=1e-5
        )
    part = tiny.trace.graph(position=POSITION, threshold=threshold, rows=iv.Span(1, top + 1))
    assert part.node_row.min() == 1
    assert len(part.edge_share) < part.n_edges == graph.n_edges
    everything = tiny.trace.graph(position="generated", threshold=0)
    assert set(everything.starts) <= set(everything.node_position[everything.node_row == top])


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_graph_of_a_long_text_computes_and_keeps_what_it_needs(case, name, monkeypatch):
    trace = case(name).trace
    thresholds = (0.02, 0.3, 0.001, 0.25)
    short = [trace.graph(position=6, threshold=t) for t in thresholds]
    kept, asked = {}, []
    compute_records_anew(monkeypatch)
    monkeypatch.setattr(flow_parts, "LONG", 1)
    monkeypatch.setattr(graph_view, "KEPT_SOURCES", 4)
    monkeypatch.setattr(ViewContext, "find", lambda context, key: kept.get(key))
    monkeypatch.setattr(ViewContext, "keep", lambda context, key, value: kept.__setitem__(key, value) or value)
    computed = graph_view.compute_joint

    def watched(context, layer, queries):
        asked.extend((layer, query) for query in queries.tolist())
        return computed(context, layer, queries)

    monkeypatch.setattr(graph_view, "compute_joint", watched)
    for threshold, wanted in zip(thresholds, short, strict=True):
        asked.clear()
        graph = trace.graph(position=6, threshold=threshold)
        for part in ("node_row", "node_position", "node_mlp", "edge_source", "edge_target", "edge_share"):
            found = getattr(graph, part)
            np.testing.assert_allclose(found, getattr(wanted, part), rtol=1e-4, atol=1e-6, err_msg=part)
        assert graph.n_edges == wanted.n_edges
        reached = set(zip((graph.node_row - 1).tolist(), graph.node_position.tolist(), strict=True))
        assert set(asked) <= reached
        assert bool(asked) == (threshold in (0.02, 0.001)), "what is kept is enough for a larger threshold"
    tables = [table for key, table in kept.items() if key[0] == "joint"]
    assert tables
    assert {table["share"].shape[1] for table in tables} == {4}


@pytest.mark.parametrize("options", [{}, {"sinks": "hide"}, {"sinks": "renormalise"}])
@pytest.mark.parametrize(("measure", "division"), [("norm", "weights"), ("projection", "projection")])
def test_the_route_is_the_single_flows(case, options, measure, division):
    trace = trace_with_sinks(case("gpt2").engine, SINKING)
    route = trace.route(measure, division, **options)
    assert route.positions.tolist() == [t.position for t in trace.tokens if not t.is_prompt]
    for g, position in enumerate(route.positions):
        flow = trace.flow(None, int(position) - 1, measure, division, details=False, **WHOLE, **options)
        nodes = flow.nodes
        sources = np.zeros(len(trace.tokens))
        bottom = nodes[(nodes["row"] == 0) & (nodes["kind"] == "block")]
        sources[bottom["position"]] = bottom["mass"]
        np.testing.assert_allclose(route.sources[g], sources, atol=1e-9)
        for kind in ("attention", "mlp"):
            by_row = nodes[nodes["kind"] == kind].groupby("row")["mass"].sum()
            rows = by_row.reindex(range(1, flow.n_layers + 1), fill_value=0.0)
            np.testing.assert_allclose(getattr(route, kind)[g], rows, atol=1e-9)
        ends = ["sink", "bias", "hidden", "undefined", "intervention"]
        lost = nodes.groupby("kind")["mass"].sum().reindex(ends, fill_value=0.0)
        np.testing.assert_allclose(route.lost[g], lost, atol=1e-9)
    assert route.conservation < 1e-6


@pytest.mark.parametrize("handling", ["show", "hide", "renormalise"])
def test_heads_of_the_route_are_what_they_bring_from_elsewhere(case, handling):
    trace = trace_with_sinks(case("llama").engine, SINKING)
    sinks = trace.sinks().positions
    asked = {"attention": "weights", "sinks": handling}
    route, g = trace.route(**asked), 2
    flow = trace.flow(None, int(route.positions[g]) - 1, details=False, **WHOLE, **asked)
    wanted = np.zeros(route.heads.shape[1:])
    for n in np.flatnonzero(flow.node_kind == "attention"):
        row, position = int(flow.node_row[n]), int(flow.node_position[n])
        shares = trace.head_shares(row, position, attention="weights").shares.copy()
        if handling == "hide":
            shares[:, list(sinks[row - 1])] = 0
        if handling == "renormalise":
            given = shares[:, list(sinks[row - 1])].sum()
            shares[:, list(sinks[row - 1])] = 0
            shares /= 1 - given if given < 1 - 1e-6 else np.inf
        shares[:, position] = 0
        wanted[row - 1] += flow.node_mass[n] * shares.sum(1)
    np.testing.assert_allclose(route.heads[g], wanted, atol=1e-6)


@pytest.mark.parametrize("least", [1e-3, 0.02])
def test_disagreements_are_the_places_of_links_in_two_flows(case, least):
    trace = case("llama").trace
    found = trace.disagreement(position=6, measure="norm", other_measure="l1", min_mass=least, n=10)
    tables = [
        trace.flow(position=6, measure=m, details=False, **WHOLE).links.set_index(["source", "target"])["mass"]
        for m in ("norm", "l1")
    ]
    first, second = (set(table[table.abs() >= least].index) for table in tables)
    union = first | second
    assert found.n_links == len(union)
    assert min(len(first), len(second)) < len(union), "some are large enough in one flow only"
    both = [t.reindex(sorted(union), fill_value=0.0).abs() for t in tables]
    places = [b.rank(ascending=False, method="average") for b in both]
    for i, link in enumerate(zip(found.source, found.target, strict=True)):
        for side, mass, place in (
            (0, found.first_mass[i], found.first_place[i]),
            (1, found.second_mass[i], found.second_place[i]),
        ):
            assert mass == pytest.approx(tables[side].get(link, 0.0), abs=1e-12)
            larger = (both[side] > abs(mass) + 1e-12).sum()
            equal = (np.abs(both[side] - abs(mass)) <= 1e-12).sum()
            assert larger < place <= larger + equal, (link, places[side][link])
        assert found.distance[i] == pytest.approx(abs(np.log2(found.first_place[i] / found.second_place[i])))
    assert (found.distance[:-1] >= found.distance[1:]).all()
    assert len(found.distance) == 10
    with pytest.raises(iv.RequestError, match="another measure"):
        trace.disagreement(other_measure="l1")
    assert trace.disagreement(other_measure="l1", other_attention="projection").divisions[1] == "projection"


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: t.head_shares(0, 3),
        lambda t: t.head_shares(99, 3),
        lambda t: t.head_shares(1, 99),
        lambda t: t.graph(threshold=2),
        lambda t: t.graph(row=1, rows=[2]),
        lambda t: t.route(measure="size"),
        lambda t: t.disagreement(n=0),
    ],
)
def test_what_cannot_be_asked_is_refused(case, ask):
    with pytest.raises(iv.RequestError, match="expected"):
        ask(case("llama").trace)


def test_every_record_can_be_seen_tabled_and_written(case, tmp_path):
    trace = case("gpt2").trace
    records = (
        trace.flow(position=6, measure="projection", attention="projection"),
        trace.flow(position="generated", sinks="hide", top_k=0),
        trace.disagreement(position=6),
        trace.head_shares(ROW, 6),
        trace.graph(position=6),
        trace.route(),
        trace.attribution("c", "d", by="neurons"),
    )
    for record in records:
        assert len(record.frame()) > 0
        for dark in (False, True):
            assert record.figure(dark=dark).to_json()
        assert record.save(tmp_path / "x.json").stat().st_size > 100
        assert record.save(tmp_path / "x.csv").stat().st_size > 100
    assert list(records[0].nodes.columns) == ["id", "kind", "row", "position", "mass"]
    assert list(records[0].links.columns) == ["source", "target", "kind", "share", "mass", "kl"]
    assert set(records[0].links["kind"]) <= {"residual", "attention", "mlp", "norm", "sink", "bias"}
    assert set(records[0].links["source"]) | set(records[0].links["target"]) <= set(records[0].nodes["id"])
