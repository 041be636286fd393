"""Views of one cell, and of one token over all cells, against full logits computed by the tests' own decoder."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.request import Generation
from tests.tiny import N_LAYERS

FAMILIES = ("llama", "gpt2")
ROW, POSITION = 2, 4


@pytest.fixture(scope="module", params=["open here", "at a service"])
def case(request, case):
    """Every test of this file runs on both kinds of engine."""
    return case if request.param == "open here" else request.getfixturevalue("case_at_service")


def stream_logits(tiny, site: str, layer: int, position: int) -> np.ndarray:
    """Logits of a stream vector by the output lens, in float64."""
    x = tiny.run.sites[site][layer][position].astype(np.float64)
    return tiny.decoder.logits(tiny.decoder.normed(x, "final", x), "output", layer + 1)


def rank_of(logits: np.ndarray, token: int) -> int:
    return 1 + int((logits > logits[token] + 1e-9).sum())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("component", ["attention", "mlp"])
def test_written_tokens_are_those_of_the_stream_cell(case, family, component):
    tiny = case(family)
    written = tiny.trace.written(component, ROW, POSITION, n=8)
    grid = tiny.trace.heatmap(component, rows=[ROW], positions=[POSITION], top_k=8)
    assert grid.suppressed_ids is not None
    np.testing.assert_array_equal(written.promoted_ids, grid.token_ids[0, 0])
    np.testing.assert_array_equal(written.suppressed_ids, grid.suppressed_ids[0, 0])
    np.testing.assert_allclose(written.promoted, grid.logits[0, 0], atol=1e-5)
    np.testing.assert_allclose(written.suppressed, grid.suppressed_logits[0, 0], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("component", "before", "after"), [("attention", "resid_pre", "resid_mid"), ("mlp", "resid_mid", "resid_post")]
)
def test_ranks_before_and_after_are_those_of_the_stream(case, family, component, before, after):
    tiny = case(family)
    written = tiny.trace.written(component, ROW, POSITION)
    for site, up, down in (
        (before, written.promoted_before, written.suppressed_before),
        (after, written.promoted_after, written.suppressed_after),
    ):
        logits = stream_logits(tiny, site, ROW - 1, POSITION)
        assert [rank_of(logits, int(t)) for t in written.promoted_ids] == up.tolist()
        assert [rank_of(logits, int(t)) for t in written.suppressed_ids] == down.tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shares_of_a_cell_are_those_of_the_trace(case, family):
    tiny = case(family)
    cell = tiny.trace.cell_shares(ROW, POSITION)
    assert cell.missing == {}
    for i, measure in enumerate(iv.ShareMeasure):
        if measure is iv.ShareMeasure.NORM:
            continue  # its 1e-6 test compares with the junctions of the view, here with one
        whole = tiny.trace.shares(measure)
        for name in ("attention", "mlp", "residual_attention", "residual_mlp"):
            expected = getattr(whole, name)[ROW - 1, POSITION]
            assert getattr(cell, name)[i] == pytest.approx(expected, abs=1e-4), (measure, name)


def test_a_token_is_followed_by_its_id(case):
    tiny = case("llama")
    by_text, by_id = (tiny.trace.heatmap(watch=w).watch[0] for w in (["c"], np.int32(tiny.engine.tokenize("c")[-1].id)))
    assert (by_id.token_id, by_id.n_tokens, by_id.shown) == (by_text.token_id, 1, by_text.shown)
    np.testing.assert_array_equal(by_id.rank, by_text.rank)
    np.testing.assert_array_equal(tiny.trace.query(by_id.token_id).first_row, tiny.trace.query("c").first_row)


def test_next_tokens_by_hand(case):
    tiny = case("llama")
    logits = tiny.trace.logits(POSITION).astype(np.float64)
    own = np.exp(logits - logits.max())
    own /= own.sum()
    order = np.argsort(-own)
    found = tiny.trace.next_tokens(POSITION, n=6, temperature=0.5, top_k=3)
    np.testing.assert_array_equal(found.token_ids, order[:6])
    np.testing.assert_allclose(found.model, own[order[:6]], rtol=1e-5)
    sharp = own[order[:3]] ** 2
    np.testing.assert_allclose(found.sampled, [*(sharp / sharp.sum()), 0, 0, 0], rtol=1e-4)
    assert found.n_left == 3
    plain = tiny.trace.next_tokens(POSITION, n=6)
    np.testing.assert_allclose(plain.sampled, plain.model, rtol=1e-6)
    assert plain.n_left == tiny.engine.model.d_vocab


@pytest.mark.parametrize("family", FAMILIES)
def test_a_query_finds_the_lowest_row_and_its_writer(case, family):
    tiny = case(family)
    top_k = 10
    query = tiny.trace.query("c", top_k=top_k)
    watched = tiny.trace.heatmap(watch=["c"]).watch[0]
    updates = {c: tiny.trace.heatmap(c, watch=["c"]).watch[0].logit for c in ("attention", "mlp")}
    np.testing.assert_array_equal(query.rank, watched.rank)
    assert set(query.first_row.tolist()) > {-1}, "the example has columns of both kinds"
    for p, first in enumerate(query.first_row.tolist()):
        rows = [r for r in range(N_LAYERS + 2) if watched.rank[r, p] <= top_k]
        assert first == (rows[0] if rows else -1)
        if first in (-1, 0, N_LAYERS + 1):
            assert query.writer[p] == {-1: "", 0: "embeddings", N_LAYERS + 1: "final norm"}[first]
        else:
            rise = {name: change[first, p] for name, change in updates.items()}
            assert query.writer[p] == max(rise, key=rise.get)
            assert query.attention[p] == pytest.approx(rise["attention"], abs=1e-6)
            assert query.mlp[p] == pytest.approx(rise["mlp"], abs=1e-6)
    best = watched.rank[:, POSITION]
    low = tiny.trace.query("c", top_k=int(best.min()))
    assert low.first_row[POSITION] == best.argmin(), "rank k is among the top k"


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: t.written("block", ROW, POSITION),
        lambda t: t.written("mlp", 0, POSITION),
        lambda t: t.written("mlp", N_LAYERS + 1, POSITION),
        lambda t: t.written("mlp", ROW, 999),
        lambda t: t.written("mlp", ROW, POSITION, n=33),
        lambda t: t.cell_shares(0, POSITION),
        lambda t: t.next_tokens(999),
        lambda t: t.next_tokens(POSITION, top_k=3),
        lambda t: t.query(""),
        lambda t: t.query("c", top_k=0),
        lambda t: t.query(-1),
        lambda t: t.query(10**6),
        lambda t: t.heatmap(watch=[-1]),
        lambda t: t.heatmap(watch=[1.5]),
        lambda t: t.heatmap(watch=[10**6]),
        lambda t: t.query("c", positions=[999]),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_range(case, ask):
    with pytest.raises(iv.RequestError, match="expected"):
        ask(case("llama").trace)


def test_every_record_of_a_cell_can_be_seen_and_tabled(case):
    trace = case("gpt2").trace
    records = (
        trace.written("mlp", ROW, POSITION),
        trace.cell_shares(ROW, POSITION),
        trace.next_tokens(POSITION, temperature=2.0),
        trace.query("c", top_k=10),
        trace.sinks(),
    )
    for record in records:
        assert len(record.frame()) > 0
        assert record.figure().data
        assert record.figure(dark=True).to_json()


@pytest.mark.parametrize(
    "view",
    [
        iv.UpdateView("id", "mlp", 2, 3),
        iv.CellSharesView("id", 1, 2),
        iv.NextTokensView("id", 3, Generation(temperature=0.5, top_p=0.9)),
        iv.QueryView("id", " Rome", 3, iv.Span(1, 4)),
    ],
)
def test_views_of_a_cell_go_through_json(view):
    assert iv.from_json(iv.to_json(view)) == view
    assert hash(iv.from_json(iv.to_json(view))) == hash(view)
