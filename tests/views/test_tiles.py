"""Which positions a heatmap decodes."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.views import tile_rows, tiles

WIDTH = 12
APART = (0, 13, 19, 20, 24, 25)


@pytest.fixture
def spans(monkeypatch):
    """The positions of each decoded tile, tiles being at most 12 positions wide."""
    found: list[list[int]] = []

    def decode_tile(model, data, kind, span, given):
        found.append(list(span))
        return tiles.decode_tile(model, data, kind, span, given)

    monkeypatch.setattr(tiles, "count_tile_positions", lambda rows, d_vocab: WIDTH)
    monkeypatch.setattr(tile_rows, "decode_tile", decode_tile)
    return found


@pytest.fixture
def traces(tiny_folder):
    """Two handles of one text of 27 positions, the second in an engine that has decoded nothing yet."""
    engines = [iv.open_model(str(tiny_folder("llama")), device_map="cpu") for _ in range(2)]
    yield [engine.trace("ab c!ab d~ab ab c!ab d~ab", max_new_tokens=1) for engine in engines]
    for engine in engines:
        engine.close()


def same(one: iv.DecodedGrid, other: iv.DecodedGrid) -> None:
    assert np.array_equal(one.token_ids, other.token_ids)
    for name in ("probabilities", "kl_final", "kl_below", "next_log_prob", "entropy", "cosine"):
        assert np.allclose(getattr(one, name), getattr(other, name), atol=1e-5, equal_nan=True), name
    assert np.array_equal(one.says, other.says)
    assert np.array_equal(one.next_ids, other.next_ids)


def test_positions_far_apart_are_decoded_alone(traces, spans):
    whole, apart = traces
    length = len(whole.tokens)
    assert length == 27
    expected = whole.heatmap(positions=list(APART))
    # one of the first twelve alone; four of the second, and two of the last three, with what stands between
    assert spans == [list(range(12, 24)), [24, 25, 26], [0]]
    spans.clear()
    apart.heatmap()
    assert spans == [list(range(12)), list(range(12, 24)), [24, 25, 26]]
    spans.clear()
    same(expected, apart.heatmap(positions=list(APART)))
    assert spans == [], "what was decoded before is not decoded again"


def test_a_row_without_cells_decodes_none(traces, spans):
    found = traces[0].heatmap(component="mlp", rows=[0], positions=[0, 25])
    assert spans == []
    assert np.isfinite(found.norms).all()


def test_a_followed_token_without_ranks_is_read_from_decoded_cells(traces, spans, monkeypatch):
    trace, _ = traces
    for options in ({}, {"lens": "linear"}, {"component": "mlp"}, {"lens": "max"}, {"norm": "none", "lens": "input"}):
        whole = trace.heatmap(watch=[" b", 3], **options)
        quick = trace.heatmap(watch=[7, " b"], ranks=False, positions=range(3, 20), **options)
        one, other = whole.watch[0], quick.watch[1]
        np.testing.assert_allclose(other.logit, one.logit[:, 3:20], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(other.probability, one.probability[:, 3:20], rtol=1e-4, atol=1e-7)
        # where two tables compete, each cell is read from both, and its rank is known
        assert quick.watch[0].rank.any() == (options.get("lens") == "max")


def test_columns_come_in_the_order_asked_for_and_in_time(traces, spans):
    """Without any time one tile more comes with every request, that of the looked-for positions first."""
    whole, pieces = traces
    expected = whole.heatmap(watch=[" b"])
    spans.clear()
    seen = []
    for _ in range(3):
        grid = pieces.heatmap(watch=[" b"], first=[13], within=0.0)
        seen.append(grid.positions.tolist())
    assert spans == [list(range(12, 24)), list(range(12)), [24, 25, 26]]
    assert seen == [list(range(12, 24)), list(range(24)), list(range(27))]
    same(expected, grid)
    np.testing.assert_array_equal(grid.watch[0].rank, expected.watch[0].rank)
    spans.clear()
    some = pieces.heatmap(positions=[25, 2], first=[26], within=0.0)
    assert some.positions.tolist() == [25, 2], "what is kept already costs no time"
    assert spans == []
