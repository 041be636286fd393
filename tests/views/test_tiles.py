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

    def decode_tile(model, data, kind, span):
        found.append(list(span))
        return tiles.decode_tile(model, data, kind, span)

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
