"""What a comparison decodes, and that it says the same as the heatmaps of both runs."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.analysis import decoding
from intravisto_core.views import difference, tile_rows, tiles
from tests.reference.equal import assert_close


@pytest.fixture
def decoded(monkeypatch):
    """How many cells were decoded, by the name of who asked."""
    found = {"tiles": 0, "difference": 0}

    def counted(module, name, count):
        old = getattr(module, name)

        def work(*args, **how):
            found[count] += len(args[1].x_hat)
            return old(*args, **how)

        monkeypatch.setattr(module, name, work)

    counted(tiles, "decode_state", "tiles")
    counted(tiles, "decode_update", "tiles")
    counted(difference, "compute_logits", "difference")
    return found


def narrow(monkeypatch):
    """Tiles of four positions, so that a text is more than one."""
    monkeypatch.setattr(tiles, "count_tile_positions", lambda rows, d_vocab: 4)


@pytest.mark.parametrize("component", ["block", "mlp"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_comparison_says_what_both_heatmaps_say(tiny_folder, monkeypatch, name, component):
    narrow(monkeypatch)
    engine = iv.open_model(str(tiny_folder(name)), device_map="cpu")
    trace = engine.trace("ab c!ab d~ab", max_new_tokens=8)
    edited = trace.edit(iv.Ablate("attn_out", 1, 9), iv.Scale("mlp_out", 1, 12, factor=-3.0))
    record = trace.compare(edited, component=component)
    before, after = (t.heatmap(component=component) for t in (trace, edited))
    assert np.array_equal(record.grid_ids, before.token_ids[..., 0])
    assert np.array_equal(record.grid_edited_ids, after.token_ids[..., 0])
    assert (record.grid_ids != record.grid_edited_ids).any()
    has = record.grid_ids >= 0
    touched = record.grid_distance > 0
    assert not touched[:, :9].any()
    assert not touched[:2].any()
    assert touched[2:, 12:][has[2:, 12:]].all()
    assert (record.grid_difference[has & ~touched] == 0).all()
    if component == "block":
        assert (record.grid_kl[~touched] == 0).all()
        assert (record.grid_kl[-1, 12:] > 0).all()
    else:
        assert np.isnan(record.grid_kl).all()
    engine.close()


def test_only_cells_that_differ_are_decoded_again(tiny_folder, monkeypatch, decoded):
    narrow(monkeypatch)
    engine = iv.open_model(str(tiny_folder("llama")), device_map="cpu")
    trace = engine.trace("ab c!ab d~ab", max_new_tokens=3)
    trace.heatmap()
    rows, length = engine.model.n_layers + 2, len(trace.tokens)
    assert decoded["tiles"] == rows * length
    edited = trace.edit(iv.Scale("mlp_out", 1, -1, factor=2.0))
    later = length - trace.prompt_length + 1
    trace.compare(edited)
    # the edit's cells and those of a run that changes nothing, each in both runs
    assert decoded["difference"] <= 4 * (rows - 2) * later
    assert decoded["tiles"] == rows * length
    edited.heatmap(watch=["c"])
    first_tile = 4 * ((trace.prompt_length - 1) // 4)
    assert decoded["tiles"] == rows * (length + length - first_tile)
    same, own = trace.heatmap(watch=["c"]), edited.heatmap(watch=["c"])
    assert np.array_equal(same.watch[0].rank[:, :first_tile], own.watch[0].rank[:, :first_tile])
    assert not np.array_equal(same.watch[0].logit[:, -1], own.watch[0].logit[:, -1])
    engine.close()


def test_of_equal_logits_the_same_token_is_named(tiny_folder):
    """A stream of zeros says every token alike."""
    engine = iv.open_model(str(tiny_folder("llama")), device_map="cpu")
    trace = engine.trace("ab c!")
    edited = trace.edit(iv.Scale("resid_post", 0, 2, factor=0.0))
    record, heatmap = trace.compare(edited), edited.heatmap()
    assert np.ptp(heatmap.logits[1, 2]) == 0
    assert np.array_equal(record.grid_edited_ids, heatmap.token_ids[..., 0])
    engine.close()


def test_cells_that_say_the_same_may_still_lie_apart(tiny_folder):
    """The norm takes a scale away, but not from the distance."""
    engine = iv.open_model(str(tiny_folder("llama")), device_map="cpu")
    trace = engine.trace("ab c!")
    record = trace.compare(trace.edit(iv.Scale("resid_post", 0, 2, factor=2.0**16)))
    assert record.grid_distance[1, 2] == pytest.approx(2**16 - 1)
    assert record.grid_kl[1, 2] == pytest.approx(0, abs=1e-4)
    louder = record.edited
    again = trace.edit(iv.Scale("resid_post", 0, 2, factor=2.0**17))
    record = engine.view(iv.CompareView(louder, again.id))
    assert record.grid_distance[1, 2] == pytest.approx(1)
    engine.close()


def test_free_text_has_the_next_tokens_of_its_own(tiny_folder, monkeypatch):
    """With the baseline's tiles at hand, an edit's cells are those that it has without them."""
    narrow(monkeypatch)
    change = iv.Replace("resid_post", 1, -1, token="z", match_norm=False)
    found = []
    for before in (True, False):
        engine = iv.open_model(str(tiny_folder("llama")), device_map="cpu")
        trace = engine.trace("ab c!ab d~ab", max_new_tokens=8)
        if before:
            trace.heatmap()
        found.append(trace.edit(change, text="free").heatmap())
        engine.close()
    assert np.array_equal(found[0].token_ids, found[1].token_ids)
    assert_close(found[0].next_log_prob, found[1].next_log_prob)


def test_the_names_that_are_counted_are_the_ones_that_decode():
    assert tiles.decode_state is decoding.decode_state
    assert tile_rows.decode_tile is tiles.decode_tile
