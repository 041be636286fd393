"""Patching grids against a literal loop of full runs with hooks of the tests' own, and against transformer-lens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import intravisto_core as iv
from tests import tiny
from tests.patching.literal import HEADS, STREAM, Literal
from tests.reference import hooked
from tests.reference.families import Plain

ALLOWED = 1e-5
CLEAN = tiny.FAMILY_PROMPT[:8]
CORRUPT = (*CLEAN[:3], CLEAN[3] + 5, CLEAN[4], CLEAN[5] + 2, *CLEAN[6:])
FIRST = 3
FAMILIES = ("Llama", "GPT-2", "GPT-NeoX, parallel", "Gemma-2", "Qwen3-MoE")


@pytest.fixture(scope="module", params=FAMILIES)
def both(request: pytest.FixtureRequest, family: Any) -> tuple[Any, dict[str, Literal]]:
    """A tiny model, and the literal loop of each direction."""
    case = family(request.param)
    runs = {name: Plain(case.folder, ids) for name, ids in (("clean", CLEAN), ("corrupt", CORRUPT))}
    return case.engine, {
        "denoise": Literal(runs["clean"], runs["corrupt"], CORRUPT),
        "noise": Literal(runs["corrupt"], runs["clean"], CLEAN),
    }


def count_heads(literal: Literal, what: str) -> int:
    config = literal.donor.config
    kv = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return kv if what in ("k", "v") else config.num_attention_heads


@pytest.mark.parametrize("what", [*STREAM, *HEADS])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_every_cell_is_a_full_run_with_the_values_put_in(both, what, direction):
    engine, literals = both
    literal = literals[direction]
    if what == "resid_mid" and engine.model.block == "parallel":
        with pytest.raises(iv.RequestError, match="parallel"):
            engine.patching(CLEAN, CORRUPT, what=what)
        return
    grid = engine.patching(CLEAN, CORRUPT, what=what, direction=direction)
    target, contrast = grid.targets[0], grid.contrasts[0]

    def m(logits: np.ndarray) -> float:
        return float(logits[target] - logits[contrast])

    clean, corrupt = m(literals["noise"].receiver.logits[-1]), m(literals["denoise"].receiver.logits[-1])
    assert (grid.clean, grid.corrupt) == pytest.approx((clean, corrupt), abs=ALLOWED)
    receiving = corrupt if direction == "denoise" else clean
    differing = tuple(range(FIRST, len(CLEAN)))
    wanted = np.zeros_like(grid.effect)
    for row, column in np.ndindex(*wanted.shape):
        place = ((column,), None) if what in STREAM else (differing, column)
        wanted[row, column] = m(literal.logits(what, row, *place)) - receiving
    assert wanted.shape[1] == (len(CLEAN) if what in STREAM else count_heads(literal, what))
    assert grid.effect == pytest.approx(wanted, abs=ALLOWED)
    share = wanted / (clean - corrupt) * (1 if direction == "denoise" else -1)
    assert grid.recovered == pytest.approx(share, abs=ALLOWED / abs(clean - corrupt))
    assert (grid.effect[grid.skipped] == 0).all()
    if what in STREAM:
        assert grid.skipped[:, :FIRST].all()
    assert np.abs(wanted).max() > 100 * grid.noise_floor


def test_families_that_keep_their_attention_to_themselves_refuse_what_is_inside(family):
    """Bloom gives queries, keys and values in one piece; its heads and its stream can be patched."""
    engine = family("Bloom").engine
    with pytest.raises(iv.ModelError, match="in one piece"):
        engine.patching(CLEAN, CORRUPT, what="q")
    case = family("Bloom")
    literal = Literal(Plain(case.folder, CLEAN), Plain(case.folder, CORRUPT), CORRUPT)
    grid = engine.patching(CLEAN, CORRUPT, what="z")
    logits = literal.logits("z", 0, tuple(range(FIRST, len(CLEAN))), 1)
    wanted = logits[grid.targets[0]] - logits[grid.contrasts[0]] - grid.corrupt
    assert grid.effect[0, 1] == pytest.approx(wanted, abs=ALLOWED)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
@torch.no_grad()
def test_grids_are_those_of_transformer_lens(case, name):
    """Its own helpers on the same weights: stream, parts, heads, queries and patterns, at all positions."""
    from transformer_lens import patching

    each = case(name)
    lens = hooked.build(each.model)
    clean = each.ids[:9]
    corrupt = (clean[0], clean[1] + 1, *clean[2:6], clean[6] + 2, *clean[7:])
    _, cache = lens.run_with_cache(torch.tensor([clean]))
    helpers = {
        "resid_pre": patching.get_act_patch_resid_pre,
        "resid_mid": patching.get_act_patch_resid_mid,
        "attn_out": patching.get_act_patch_attn_out,
        "mlp_out": patching.get_act_patch_mlp_out,
        "z": patching.get_act_patch_attn_head_out_all_pos,
        "q": patching.get_act_patch_attn_head_q_all_pos,
        "pattern": patching.get_act_patch_attn_head_pattern_all_pos,
    }
    for what, helper in helpers.items():
        grid = each.engine.patching(clean, corrupt, what=what)
        target, contrast = grid.targets[0], grid.contrasts[0]
        metric = lambda logits: logits[0, -1, target] - logits[0, -1, contrast]  # noqa: B023, E731
        found = helper(lens, torch.tensor([corrupt]), cache, metric).numpy() - grid.corrupt
        assert grid.effect == pytest.approx(found, abs=3e-5), what
