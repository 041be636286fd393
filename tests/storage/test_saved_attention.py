"""Attention out of a saved run: every slice of what was kept whole, and rows of what was kept by its larger entries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.engine import saving_attention
from intravisto_core.engine.saving_attention import choose_least
from intravisto_core.sites import SinkHandling
from intravisto_core.storage import check_stored
from tests.flow.sinking import trace_with_sinks

WAYS = list(SinkHandling)


@pytest.fixture(scope="module")
def trace(case):
    return trace_with_sinks(case("llama").engine, "The cat sat on the mat and the dog")


@pytest.fixture(scope="module")
def whole(trace, tmp_path_factory) -> iv.Trace:
    return iv.open_trace(trace.save(tmp_path_factory.mktemp("saved") / "whole.intravisto", "attention"))


@pytest.fixture(scope="module")
def rows(trace, tmp_path_factory) -> iv.Trace:
    """As of a text so long that the cube is too large for a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving_attention, "LARGEST_CUBE", 0)
        return iv.open_trace(trace.save(tmp_path_factory.mktemp("saved") / "rows.intravisto", "attention"))


@pytest.mark.parametrize("sinks", WAYS)
@pytest.mark.parametrize(
    "slice_of",
    [{}, {"layer": 1}, {"layer": -1, "head": [2, 0]}, {"head": "mean"}, {"queries": [-1, 3], "keys": iv.Span(0, 4)}],
)
def test_every_slice_of_what_is_whole(trace, whole, slice_of, sinks):
    wanted, found = (each.attention(**slice_of, sinks=sinks) for each in (trace, whole))
    assert found.heads == wanted.heads
    assert np.array_equal(found.queries, wanted.queries)
    assert np.array_equal(found.keys, wanted.keys)
    for name in ("weights", "hidden", "learned"):
        assert np.allclose(getattr(found, name), getattr(wanted, name), atol=1e-5), name


@pytest.mark.parametrize("sinks", WAYS)
@pytest.mark.parametrize(("layer", "head"), [(1, 2), (0, "mean"), ("mean", "mean")])
def test_rows_from_either(trace, whole, rows, layer, head, sinks):
    wanted = trace.sparse_attention(layer, head, least=0.031, sinks=sinks)
    for saved in (whole, rows):
        found = saved.sparse_attention(layer, head, least=0.031, sinks=sinks)
        assert (found.layer, found.heads, found.least, found.sinks) == (wanted.layer, wanted.heads, 0.031, sinks)
        assert np.array_equal(found.starts, wanted.starts)
        assert np.array_equal(found.keys, wanted.keys)
        for name in ("weights", "hidden", "rest"):
            assert np.allclose(getattr(found, name), getattr(wanted, name), atol=0.011), name
        assert np.allclose(found.weights, wanted.weights, rtol=0.05)


@pytest.mark.parametrize("sinks", WAYS)
@pytest.mark.parametrize("shown_sinks", [(), (0,)])
@pytest.mark.parametrize(("layer", "head"), [(1, 2), (0, "mean"), ("mean", "mean")])
def test_marked_rows_from_either(trace, whole, rows, layer, head, sinks, shown_sinks):
    options = {"least": 0.04, "sinks": sinks, "shown_sinks": shown_sinks, "mark_sinks": True}
    wanted = trace.sparse_attention(layer, head, **options)
    for saved in (whole, rows):
        if saved is rows and layer == "mean" and shown_sinks:
            with pytest.raises(iv.NotSavedError):
                saved.sparse_attention(layer, head, **options)
            continue
        found = saved.sparse_attention(layer, head, **options)
        assert np.array_equal(found.keys, wanted.keys)
        assert np.array_equal(found.sink_keys, wanted.sink_keys) or found.sink_keys is wanted.sink_keys is None
        for name in ("weights", "hidden", "rest", "on_sinks"):
            assert np.allclose(getattr(found, name), getattr(wanted, name), atol=0.011), name


def test_what_was_left_out_is_said(trace, rows):
    assert rows.sparse_attention(1, 2, least=0.001).least == 0.01
    found = rows.attention(queries=[5])
    assert "without weights below 0.01" in found.notes[-1]
    exact = trace.attention(queries=[5])
    assert np.abs(found.weights - exact.weights).max() < 0.01
    assert np.array_equal(found.weights > 0, exact.weights >= 0.01)


def test_targets_pictures_and_types_are_there(trace, whole, rows):
    for saved in (whole, rows):
        assert np.array_equal(saved.head_targets().shares, trace.head_targets().shares)
        assert np.array_equal(saved.head_patterns(sinks="hide").pictures, trace.head_patterns(sinks="hide").pictures)
        assert np.array_equal(saved.view(iv.HeadTypesRequest()).induction, trace.engine.head_types().induction)


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: t.attention(strength="projection"),
        lambda t: t.sparse_attention(1, 2, strength="value_weighted"),
        lambda t: t.score(1, 2, 5, 3),
        lambda t: t.head_patterns(size=7),
    ],
)
def test_what_is_not_there_is_refused_with_what_to_save(whole, rows, ask):
    for saved in (whole, rows):
        with pytest.raises(iv.NotSavedError, match=r"does not hold .* attention"):
            ask(saved)


def test_what_the_text_has_not_is_refused_as_with_the_model(whole, rows):
    for saved in (whole, rows):
        with pytest.raises(iv.RequestError, match="layer: expected"):
            saved.sparse_attention(9, 1)
        with pytest.raises(iv.RequestError, match="queries: expected"):
            saved.attention(queries=[99])


def test_long_texts_of_many_heads_are_kept_from_a_higher_least():
    assert choose_least(32 * 32, 2000) == pytest.approx(0.038)
    assert choose_least(270, 400) == 0.01


def test_rows_that_do_not_fill_their_entries_are_refused(trace):
    found = trace.sparse_attention(1, 2)
    for starts in (found.starts + 1, found.starts[::-1].copy()):
        with pytest.raises(iv.TraceError, match="starts that rise from 0 to the number of keys"):
            check_stored(replace(found, starts=starts), "view", trace.id, 3, len(trace.tokens))
    outside = np.full_like(found.keys, 99)
    with pytest.raises(iv.TraceError, match="keys from 0 to"):
        check_stored(replace(found, keys=outside), "view", trace.id, 3, len(trace.tokens))
