"""Patches of queries, keys, values and patterns as edits of a trace, held against runs by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from tests import tiny
from tests.patching.literal import HEADS, Literal
from tests.patching.test_grids import ALLOWED, CLEAN, CORRUPT, FIRST
from tests.reference.families import Plain

PLACES = tuple(range(FIRST, len(CLEAN)))


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "GPT-Neo", "Gemma-2"])
@pytest.mark.parametrize("site", HEADS)
def test_a_patch_is_a_full_run_with_the_values_put_in(family, name, site):
    case = family(name)
    donor, receiver = case.engine.trace(CLEAN), case.engine.trace(CORRUPT)
    edit = iv.Patch(site, 1, PLACES, head=1, source=donor)
    edited = receiver.edit(edit)
    if name == "GPT-Neo":
        grid = case.engine.patching(CLEAN, CORRUPT, what=site)
        logits = edited.logits(-1)
        m = logits[grid.targets[0]] - logits[grid.contrasts[0]]
        assert m == pytest.approx(grid.corrupt + grid.effect[1, 1], abs=ALLOWED)
        return
    literal = Literal(Plain(case.folder, CLEAN), Plain(case.folder, CORRUPT), CORRUPT)
    wanted = literal.logits(site, 1, PLACES, 1)
    assert edited.logits(-1) == pytest.approx(wanted, abs=ALLOWED)
    assert not np.allclose(edited.logits(-1), receiver.logits(-1), atol=10 * ALLOWED)
    if site == "pattern":
        assert edited.pattern(1, 1)[FIRST:] == pytest.approx(donor.pattern(1, 1)[FIRST:], abs=ALLOWED)
    else:
        kept = edited.activation(site, 1, head=1)
        np.testing.assert_array_equal(kept[FIRST:], donor.activation(site, 1, head=1)[FIRST:])
        np.testing.assert_array_equal(kept[:FIRST], receiver.activation(site, 1, head=1)[:FIRST])


@pytest.mark.parametrize("site", ["q", "k", "v", "pattern"])
def test_what_is_generated_reads_the_patched_values(family, site):
    """Steps over the cache give what one call over the whole text gives: the cache holds what was put in."""
    case = family("Llama")
    donor, receiver = case.engine.trace(CLEAN), case.engine.trace(CORRUPT)
    if site == "pattern":
        edit = iv.Patch(site, 0, PLACES[:2], source=donor)
        short = receiver.edit(edit)
        with pytest.raises(iv.RequestError, match="same length"):
            case.engine.trace((*CORRUPT, 5)).edit(edit)
        assert not np.allclose(short.logits(-1), receiver.logits(-1), atol=10 * ALLOWED)
        return
    edit = iv.Patch(site, 0, PLACES[:2], source=donor)
    free = case.engine.trace(CORRUPT, max_new_tokens=4).edit(edit, text="free")
    ids = tuple(token.id for token in free.tokens)
    whole = case.engine.trace(ids).edit(edit)
    assert free.logits(-1) == pytest.approx(whole.logits(-1), abs=ALLOWED)


def test_the_receiver_s_own_values_change_nothing(family):
    trace = family("Llama").engine.trace(CORRUPT)
    for site in HEADS:
        same = trace.edit(iv.Patch(site, 1, "all", source=trace))
        np.testing.assert_array_equal(same.logits(-1), trace.logits(-1))


@torch.no_grad()
def test_queries_and_keys_of_other_positions_are_turned(family):
    """A key moved by three positions has the scores that RoPE by hand gives."""
    case = family("Llama")
    donor, receiver = case.engine.trace(CLEAN), case.engine.trace(CORRUPT)
    edited = receiver.edit(iv.Patch("k", 1, [6], head=0, source=donor, source_positions=[3]))
    found = edited.activation("k", 1, head=0)[6]
    old = donor.activation("k", 1, head=0)[3]
    base = case.engine.kept_traces.model.config.rope_parameters["rope_theta"]
    half = len(old) // 2
    angles = 3 * base ** (-np.arange(half) / half)
    a, b = old[:half], old[half:]
    turned = np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)])
    assert found == pytest.approx(turned, abs=ALLOWED)
    values = receiver.edit(iv.Patch("v", 1, [6], head=0, source=donor, source_positions=[3]))
    np.testing.assert_array_equal(
        values.activation("v", 1, head=0)[6], donor.activation("v", 1, head=0)[3], "values are not turned"
    )


def test_places_that_there_are_not_are_refused(family):
    case = family("Llama")
    trace = case.engine.trace(CLEAN)
    with pytest.raises(iv.RequestError, match="head: expected -2 to 1; got 2"):
        trace.edit(iv.Patch("k", 0, [1], head=2, source=trace))
    (kept,) = trace.edit(iv.Patch("v", 0, [1], head=-1, source=trace)).interventions
    assert kept.head == 1, "the last kv head"
    with pytest.raises(iv.RequestError, match="Ablate does not exist at q; Patch does"):
        iv.Ablate("q", 0)
    with pytest.raises(iv.RequestError, match="the same positions, at pattern"):
        trace.edit(iv.Patch("pattern", 0, [3], source=trace, source_positions=[2]))
    bloom = family("Bloom").engine.trace(tiny.FAMILY_PROMPT)
    with pytest.raises(iv.ModelError, match="in one piece"):
        bloom.edit(iv.Patch("q", 0, [1], source=bloom))
