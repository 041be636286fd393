"""Neurons of experts, against the experts' matrices written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from tests import tiny
from tests.case import Case
from tests.inside import entry_of
from tests.interventions.manual import Hand, run
from tests.interventions.test_cells import off
from tests.reference.families import MOE

ALLOWED = 2e-5


def qwen_neuron(case: Case, layer: int, expert: int, neuron: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of Qwen3-MoE: the expert's weight at every position (0 where not chosen), the neuron's value, its column."""
    block, config = case.plain.layers[layer], case.plain.config
    mid = torch.tensor(case.plain.sites["resid_mid"][layer])
    with torch.no_grad():
        x = block.post_attention_layernorm(mid)
        p = (x @ block.mlp.gate.weight.T).softmax(-1)
        best = p.topk(config.num_experts_per_tok, -1)
        chosen = best.values / best.values.sum(-1, keepdim=True) if config.norm_topk_prob else best.values
        weight = torch.where(best.indices == expert, chosen, 0.0).sum(-1)
        gate, up = (x @ block.mlp.experts.gate_up_proj[expert].T).chunk(2, -1)
        act = (torch.nn.functional.silu(gate) * up)[:, neuron]
        column = block.mlp.experts.down_proj[expert][:, neuron]
    return weight.numpy(), act.numpy(), column.detach().numpy()


@pytest.mark.parametrize("operation", ["zero", "scale", "set value", "mean", "patch"])
def test_a_neuron_of_an_expert(family, operation):
    case = family("Qwen3-MoE")
    layer, expert, neuron = 1, 2, 5
    weight, act, column = qwen_neuron(case, layer, expert, neuron)
    had = np.flatnonzero(weight)
    assert 1 < len(had) < len(case.ids)
    at = {"site": "act", "layer": layer, "positions": "all", "neuron": (expert, neuron)}
    edit, new = {
        "zero": (iv.Ablate(**at), 0 * act),
        "scale": (iv.Scale(**at, factor=-3.0), -3 * act),
        "set value": (iv.SetValue(**at, value=2.0), 0 * act + 2),
        "mean": (iv.Ablate(**at, how="mean"), 0 * act + act[had].mean()),
        "patch": (iv.Patch(**at, source=case.trace, source_positions=int(had[0])), 0 * act + act[had[0]]),
    }[operation]
    added = torch.tensor(np.outer(weight * (new - act), column))
    hand = Hand("mlp_out", layer, tuple(range(len(case.ids))), lambda x: x + added)
    reference = run(case.plain, case.ids, hand)
    assert off(case.trace.edit(edit).activation("resid_post", 1), reference) <= ALLOWED
    assert off(reference, case.plain.sites["resid_post"][1]) > 1e-3


def test_nothing_changes_where_the_expert_is_not_chosen(family):
    case = family("Qwen3-MoE")
    weight, _, _ = qwen_neuron(case, 1, 2, 5)
    other = int(np.flatnonzero(weight == 0)[0])
    edited = case.trace.edit(iv.SetValue("act", 1, other, neuron=(2, 5), value=9.0))
    assert entry_of(edited).reused is None
    assert np.array_equal(edited.logits(), case.trace.logits())


@pytest.mark.parametrize("name", [n for n in tiny.CONFIGS if n != "Qwen3-MoE" and tiny.kind(n) in MOE])
def test_a_neuron_on_every_family_of_experts(family, name):
    """The change of the stream lies along the neuron's column, at positions of its expert alone."""
    case = family(name)
    if not case.engine.model.capabilities["neurons"].ok:
        pytest.skip("this family's neurons are not shown")
    at = iv.SetValue("act", 1, "all", neuron=(1, 3), value=1.5)
    before, after = (t.activation("mlp_out", 1) for t in (case.trace, case.trace.edit(at)))
    moved = after - before
    column = case.engine.kept_traces.model.weights.get("expert_out.1.1")[:, 3].float().numpy()
    size = np.linalg.norm(moved, axis=-1)
    changed = size > 1e-4
    assert 0 < changed.sum() <= len(case.ids)
    along = moved[changed] @ column / (size[changed] * np.linalg.norm(column))
    assert np.allclose(np.abs(along), 1, atol=1e-3)


@pytest.mark.parametrize(
    ("neuron", "said"), [(None, "expert"), (3, "expert"), ((9, 0), "0 to 3"), ((0, 999), "in expert 0")]
)
def test_a_neuron_that_is_not_there_is_refused(family, neuron, said):
    with pytest.raises(iv.RequestError, match=said):
        family("Qwen3-MoE").trace.edit(iv.Ablate("act", 1, neuron=neuron))


def test_edits_of_one_neuron_act_one_after_the_other(family):
    """Doubled, then lowered by a half of what the first left; and the experts' view says what came of it."""
    case = family("Qwen3-MoE")
    layer, expert, neuron = 1, 2, 5
    weight, act, column = qwen_neuron(case, layer, expert, neuron)
    at = {"site": "act", "layer": layer, "positions": "all", "neuron": (expert, neuron)}
    set_then_scaled = case.trace.edit(iv.SetValue(**at, value=2.0), iv.Scale(**at, factor=-1.5))
    added = torch.tensor(np.outer(weight * (-3.0 - act), column))
    hand = Hand("mlp_out", layer, tuple(range(len(case.ids))), lambda x: x + added)
    assert off(set_then_scaled.activation("resid_post", 1), run(case.plain, case.ids, hand)) <= ALLOWED
    seen = set_then_scaled.experts(layer, expert)
    before = case.trace.experts(layer, expert)
    assert np.allclose(seen.act[:, neuron], -3.0)
    rest = np.arange(seen.act.shape[1]) != neuron
    assert np.allclose(seen.act[:, rest], before.act[:, rest], atol=1e-5)


def test_the_attribution_of_an_edited_expert_adds_up(family):
    case = family("Qwen3-MoE")
    edited = case.trace.edit(iv.SetValue("act", 1, "all", neuron=(2, 5), value=3.0))
    weight, _, _ = qwen_neuron(case, 1, 2, 5)
    position = int(np.flatnonzero(weight)[-1])
    found = edited.attribution(11, 23, position=position, by="neurons", layer=1)
    assert abs(found.remainder) < 1e-4
