"""What can be asked of a grid besides: alignment, estimates, metrics, made prompts, sets of prompts, cancelling."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import intravisto_core as iv
from intravisto_core.analysis.alignment import align, find_first_difference
from intravisto_core.analysis.bootstrap import bootstrap_mean
from intravisto_core.experiments.patch_cells import order_coarse_first
from tests.patching.test_grids import ALLOWED, CLEAN, CORRUPT, FIRST

IDS = st.lists(st.integers(0, 3), min_size=1, max_size=9)


@given(IDS, IDS)
def test_aligned_pairs_rise_and_equal_ends_stand_for_each_other(clean, corrupt):
    if len(clean) == len(corrupt):
        assert align(clean, corrupt, iv.Alignment.SAME_LENGTH) == tuple((i, i) for i in range(len(clean)))
    else:
        with pytest.raises(iv.RequestError, match=f"They part at position {find_first_difference(clean, corrupt)}:"):
            align(clean, corrupt, iv.Alignment.SAME_LENGTH)
    if clean[-1] != corrupt[-1] and len(clean) != len(corrupt):
        with pytest.raises(iv.RequestError, match="end with the same token"):
            align(clean, corrupt, iv.Alignment.ENDS)
        return
    pairs = align(clean, corrupt, iv.Alignment.ENDS)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(pairs)), "rising in both"
    assert pairs[-1] == (len(clean) - 1, len(corrupt) - 1), "the last stands for the last"
    if len(clean) != len(corrupt):
        assert all(clean[a] == corrupt[b] for a, b in pairs)
        first = find_first_difference(clean, corrupt)
        shared = min(first, len(clean) - 1, len(corrupt) - 1)
        assert pairs[:shared] == tuple((i, i) for i in range(shared)), "as far as both begin alike"


@given(st.integers(1, 90))
def test_a_picture_grows_evenly_and_holds_every_layer_once(n):
    parts = order_coarse_first(range(n))
    assert sorted(layer for part in parts for layer in part) == list(range(n))
    assert parts[0] == list(range(0, n, 4))


@pytest.mark.parametrize("what", ["resid_pre", "mlp_out", "z", "q", "k", "v", "pattern"])
@pytest.mark.parametrize("metric", ["logit_diff", "probability", "kl"])
def test_the_estimate_is_the_slope_of_the_exact_effect(family, what, metric):
    """A cell whose values are moved a thousandth of the way changes m by a thousandth of the estimate."""
    from intravisto_core.experiments.patch_cells import Cell
    from intravisto_core.experiments.patch_estimate import estimate_effects
    from intravisto_core.experiments.patch_metric import Measured
    from intravisto_core.experiments.patch_runs import Exchange
    from intravisto_core.tracing import RunControl

    engine = family("Llama").engine
    traces = engine.kept_traces
    model = traces.model
    held = [engine.trace(ids) for ids in (CLEAN, CORRUPT)]
    donor, receiver = (traces.kept_data(traces.entry(trace.id, "")) for trace in held)
    with torch.no_grad():
        clean, now = model.logits(torch.stack([donor.final[-1], receiver.final[-1]]))
        measured = Measured(iv.PatchMetric(metric), 4, 70, clean)
        exchange = Exchange.of(model, receiver, donor, iv.Site(what), measured, RunControl())
        head = 1 if iv.Site(what).per_head else None
        places = ((FIRST, FIRST),) if head is None else tuple((p, p) for p in range(FIRST, len(CLEAN)))
        cell = Cell(0, places, head)
        estimate = float(estimate_effects(exchange, [cell])[0])
        own, other = exchange.read(cell, receiver, own=True), exchange.read(cell, donor)
        step = 0.02
        ends = [exchange.run([cell], [own + sign * step * (other - own)]) for sign in (1, -1)]
        slope = float(ends[0] - ends[1]) / (2 * step)
        assert float(measured(now[None])[0]) == pytest.approx(float(exchange.run([cell], [own])[0]), abs=ALLOWED)
    assert estimate == pytest.approx(slope, rel=0.02, abs=2e-5)


def test_the_other_metrics_are_what_the_logits_say(family):
    engine = family("GPT-2").engine
    clean, corrupt = engine.trace(CLEAN), engine.trace(CORRUPT)
    edited = corrupt.edit(iv.Patch("resid_pre", 1, [FIRST], source=clean))
    logits = [t.logits(-1).astype(np.float64) for t in (clean, corrupt, edited)]
    p, q, r = (np.exp(z - np.logaddexp.reduce(z)) for z in logits)
    grid = engine.patching(CLEAN, CORRUPT, metric="probability", layers=[1], positions=[FIRST])
    top = grid.targets[0]
    assert top == int(p.argmax())
    assert grid.contrasts == (-1,)
    assert (grid.clean, grid.corrupt) == pytest.approx((p[top], q[top]), abs=1e-6)
    assert grid.effect[0, 0] == pytest.approx(r[top] - q[top], abs=1e-6)
    grid = engine.patching(CLEAN, CORRUPT, metric="kl", layers=[-1], positions=[FIRST])
    divergence = lambda a, b: float((a * np.log(a / b)).sum())  # noqa: E731
    assert (grid.clean, grid.corrupt) == pytest.approx((0, divergence(p, q)), abs=1e-5)
    assert grid.recovered[0, 0] == pytest.approx(1 - divergence(p, r) / divergence(p, q), abs=1e-4)


def test_prompts_of_other_lengths_are_patched_where_they_are_aligned(family):
    """Tokens that stand elsewhere: the patch of an edited trace gives each cell, keys and queries turned."""
    engine = family("Llama").engine
    longer = (*CLEAN[:3], 40, 41, *CLEAN[4:])
    with pytest.raises(iv.RequestError, match="part at position 3"):
        engine.patching(CLEAN, longer)
    grid = engine.patching(CLEAN, longer, alignment="ends")
    assert grid.alignment.tolist() == [[0, 0], [1, 1], [2, 2], [4, 5], [5, 6], [6, 7], [7, 8]]
    assert grid.positions.tolist() == [0, 1, 2, 4, 5, 6, 7]
    donor, receiver = engine.trace(CLEAN), engine.trace(longer)
    m = lambda trace: trace.logits(-1)[grid.targets[0]] - trace.logits(-1)[grid.contrasts[0]]  # noqa: E731
    edited = receiver.edit(iv.Patch("resid_pre", 1, [6], source=donor, source_positions=[5]))
    assert grid.effect[1, 4] == pytest.approx(m(edited) - m(receiver), abs=ALLOWED)
    for what in ("k", "q"):
        heads = engine.patching(CLEAN, longer, what=what, alignment="ends")
        assert heads.positions.tolist() == [4, 5, 6, 7]
        patch = iv.Patch(what, 0, [5, 6, 7, 8], head=1, source=donor, source_positions=[4, 5, 6, 7])
        assert heads.effect[0, 1] == pytest.approx(m(receiver.edit(patch)) - m(receiver), abs=ALLOWED)
    with pytest.raises(iv.RequestError, match="same length"):
        engine.patching(CLEAN, longer, what="pattern", alignment="ends")
    given = engine.patching(CLEAN, longer, alignment=[(3, 4), (7, 8)])
    assert given.positions.tolist() == [3, 7]


def test_only_the_places_that_were_asked_for_are_run(family):
    engine = family("Llama").engine
    whole = engine.patching(CLEAN, CORRUPT, what="z")
    assert whole.positions.tolist() == list(range(FIRST, len(CLEAN))), "at every position that differs"
    last = engine.patching(CLEAN, CORRUPT, what="z", layers=[-1], positions=[-1])
    assert (last.layers.tolist(), last.positions.tolist()) == ([1], [7])
    assert last.effect[0] == pytest.approx(whole.effect[1], abs=ALLOWED), "of the last layer the last one alone counts"
    part = engine.patching(CLEAN, CORRUPT, positions=[1, 4])
    assert part.effect.shape == (2, 2)
    with pytest.raises(iv.RequestError, match="positions: expected"):
        engine.patching(CLEAN, CORRUPT, positions=[8])
    with pytest.raises(iv.RequestError, match="differs from the clean one"):
        engine.patching(CLEAN, CLEAN)


def test_a_prompt_can_be_made_corrupt(case):
    engine = case("llama").engine
    swapped = engine.patching("ab c!ab d", iv.SwapTokens("a", "b"), what="z")
    assert "".join(t.text for t in swapped.corrupt_tokens[1:]) == "ba c!ba d"
    direct = engine.patching("ab c!ab d", "ba c!ba d", what="z")
    np.testing.assert_array_equal(swapped.effects, direct.effects)
    one = engine.patching("ab c!ab d", iv.SwapTokens("a", "b", positions=[1, 2]), what="z")
    assert "".join(t.text for t in one.corrupt_tokens[1:]) == "ba c!ab d"
    with pytest.raises(iv.RequestError, match="a prompt with neither"):
        engine.patching("ab c", iv.SwapTokens("x", "y"))
    drawn = engine.patching("ab c!ab d", iv.ResampleTokens([2, 4], draws=3, seed=1), what="resid_pre")
    assert (len(drawn.effects), drawn.each.shape[0], drawn.draws) == (3, 1, 3)
    again = engine.patching("ab c!ab d", iv.ResampleTokens([2, 4], draws=3, seed=1), what="resid_pre")
    np.testing.assert_array_equal(drawn.effects, again.effects)
    changed = [a.id != b.id for a, b in zip(drawn.clean_tokens, drawn.corrupt_tokens, strict=True)]
    assert np.flatnonzero(changed).tolist() == [2, 4]
    share = drawn.effects.mean(0) / (drawn.cleans - drawn.corrupts).mean()
    assert drawn.recovered == pytest.approx(share)
    with pytest.raises(iv.RequestError, match="a special token"):
        engine.patching("ab c", iv.ResampleTokens([0]))


@torch.no_grad()
def test_noise_is_put_on_what_the_first_layer_reads(case):
    """The corrupt run is that of a stream with the noise; putting the clean stream back at layer 0 undoes it."""
    each = case("gpt2")
    grid = each.engine.patching("ab c!ab d", iv.EmbeddingNoise([2, 3], sigma=2.0, draws=2, seed=3))
    assert grid.first_difference == 2
    assert [t.id for t in grid.clean_tokens] == [t.id for t in grid.corrupt_tokens]
    assert grid.skipped[0, [0, 1, 4, 5]].all()
    trace = each.engine.trace("ab c!ab d")
    stream = trace.activation("resid_pre", 0)
    noise = np.random.default_rng((3, 0)).standard_normal((2, stream.shape[1])) * stream[1:].std(ddof=1) * 2.0
    made = trace.edit(iv.SetValue("resid_pre", 0, [2, 3], value=(stream[[2, 3]] + noise).astype(np.float32)))
    m = lambda t: t.logits(-1)[grid.targets[0]] - t.logits(-1)[grid.contrasts[0]]  # noqa: E731
    assert grid.corrupts[0] == pytest.approx(m(made), abs=ALLOWED)
    back = made.edit(iv.SetValue("resid_pre", 1, [3], value=trace.activation("resid_pre", 1)[3]))
    assert grid.effects[0, 1, 3] == pytest.approx(m(back) - m(made), abs=ALLOWED)
    assert grid.correlation > 0, "the slope is taken at the run with the noise"


def test_a_set_of_prompts_has_a_mean_and_each_one_s_own(case):
    engine = case("llama").engine
    pairs = (("ab c!ab d", "ac c!ab d"), ("xy z!xy d", "xy w!xy d"), ("qr s", "qr t"))
    both = engine.patching([a for a, _ in pairs], [b for _, b in pairs], what="z", target=["a", "b", None])
    alone = [engine.patching(a, b, what="z", target=t) for (a, b), t in zip(pairs, ("a", "b", None), strict=True)]
    for i, one in enumerate(alone):
        assert both.each[i] == pytest.approx(one.recovered, abs=1e-4)
        assert both.targets[i] == one.targets[0]
        own = both.choose_prompt(i)
        assert own.recovered == pytest.approx(one.recovered, abs=1e-4)
        for name in ("clean_tokens", "corrupt_tokens", "first_difference", "targets", "contrasts"):
            assert getattr(own, name) == getattr(one, name), name
        np.testing.assert_array_equal(own.positions, one.positions)
        np.testing.assert_array_equal(own.skipped, one.skipped)
        assert own.choose_prompt(0) is own
        assert not one.prompts
    with pytest.raises(iv.RequestError, match="0 to 2"):
        both.choose_prompt(3)
    assert both.frame()["recovered, prompt 1"].to_numpy() == pytest.approx(both.each[1].ravel())
    assert "Mean over 3 pairs" in both.html()
    assert "Mean over" not in both.html(prompt=1)
    assert both.recovered == pytest.approx(both.each.mean(0))
    assert (both.interval[0] <= both.recovered + 1e-9).all()
    assert (both.recovered <= both.interval[1] + 1e-9).all()
    with pytest.raises(iv.RequestError, match="prompts of one length, since columns are positions"):
        engine.patching([a for a, _ in pairs], [b for _, b in pairs])
    with pytest.raises(iv.RequestError, match="as many prompts as are clean"):
        engine.patching(["ab", "cd"], ["ac"])


def test_the_interval_of_a_mean_is_that_of_scipy():
    from scipy.stats import bootstrap

    values = np.random.default_rng(5).normal(1, 2, (12, 2))
    found = bootstrap_mean(values)
    for column in range(2):
        wanted = bootstrap((values[:, column],), np.mean, n_resamples=10_000, method="percentile", rng=1)
        ends = wanted.confidence_interval
        assert found[:, column] == pytest.approx([ends.low, ends.high], abs=0.06)


def test_a_grid_grows_and_a_cancel_keeps_the_cells_made(case, monkeypatch):
    from intravisto_core.experiments import patch_cells

    monkeypatch.setattr(patch_cells, "MOST_CELLS", 1)
    engine = case("llama").engine
    whole = engine.patching("ab c!ab d", "ac c!ab d")
    job = engine.submit(iv.PatchingRequest("ab c!ab d", "ac c!ab d"))
    seen: list[iv.PatchGrid] = []
    while not job.state.ended:
        partial = job.progress.partial
        if isinstance(partial, iv.PatchGrid) and (not seen or partial.n_run > seen[-1].n_run):
            seen.append(partial)
            if partial.n_run > partial.skipped.sum() + 3:
                job.cancel()
        time.sleep(0.0005)
    found = job.result()
    if not found.cancelled:
        pytest.skip("it was through before it could be cancelled")
    made = np.isfinite(found.effects[0])
    assert seen[-1].n_run <= made.sum() < made.size
    np.testing.assert_array_equal(found.effects[0][made], whole.effects[0][made])
    assert np.isnan(found.recovered[~made]).all()


def test_the_record_is_seen_and_tabled(case):
    engine = case("llama").engine
    grid = engine.patching("ab c!ab d", "ac c!ab d", estimate=True)
    table = grid.frame()
    assert len(table) == grid.effect.size
    assert {"layer", "position", "clean_token", "corrupt_token", "effect", "recovered", "estimate"} <= set(table)
    assert engine.patching("ab", "ac", what="k").frame()["head"].max() == 1, "kv heads"
    words = grid.figure().to_json()
    assert "not run" in words
    for colour in ("effect", "estimate"):
        grid.figure(colour=colour, dark=True)
    with pytest.raises(iv.RequestError):
        grid.figure(colour="x" * 3, shade=1)
