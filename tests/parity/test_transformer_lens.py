"""Attribution and interventions against transformer-lens: its cache, its stacks, its hooks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import intravisto_core as iv
from tests.reference import hooked
from tests.reference.plain import error

FAMILIES = ("llama", "gpt2", "gemma2", "qwen2")
ALLOWED = 1e-5
TARGET, CONTRAST, POSITION = 20, 41, 9
LAYER, HEAD, NEURON = 1, 2, 7
KEYS = (0, 3)


@pytest.fixture(scope="module", params=FAMILIES)
def both(request: pytest.FixtureRequest, case: Any) -> tuple[Any, Any]:
    """Our tiny model, and the same one in transformer-lens."""
    tiny = case(request.param)
    return tiny, hooked.build(tiny.model)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_attribution_by_components_heads_and_neurons(case, name):
    tiny = case(name)
    lens = hooked.build(tiny.model, fold_ln=True)
    _, cache = lens.run_with_cache(torch.tensor([list(tiny.ids)]))

    def attributed(stack: torch.Tensor) -> np.ndarray:
        """What each vector of the stack (n, batch, position, d) adds to the logit difference at the position."""
        return cache.logit_attrs(stack, tokens=TARGET, incorrect_tokens=CONTRAST)[:, 0, POSITION].numpy()

    parts, labels = cache.decompose_resid(return_labels=True)
    expected = dict(zip(labels, attributed(parts), strict=True))
    kinds = {"attention": "attn_out", "mlp": "mlp_out"}
    found = tiny.trace.attribution(TARGET, CONTRAST, POSITION)
    embedded = sum(v for k, v in zip(found.kind, found.value, strict=True) if k in ("embedding", "position"))
    assert embedded == pytest.approx(expected["embed"] + expected.get("pos_embed", 0.0), abs=1e-4)
    ours = {
        f"{layer}_{kinds[kind]}": value
        for kind, layer, value in zip(found.kind, found.layer, found.value, strict=True)
        if kind in kinds
    }
    assert len(ours) == 2 * tiny.engine.model.n_layers
    for label, value in ours.items():
        assert value == pytest.approx(expected[label], abs=1e-4), label
    if lens.cfg.use_normalization_before_and_after:
        return  # its heads and neurons are not sent through the norm behind them
    heads = tiny.trace.attribution(TARGET, CONTRAST, POSITION, "heads")
    stacked = attributed(cache.stack_head_results())
    assert heads.value[heads.kind == "head"] == pytest.approx(stacked, abs=1e-4)
    neurons = tiny.trace.attribution(TARGET, CONTRAST, POSITION, "neurons", n=None)
    stacked = attributed(cache.stack_neuron_results(layer=lens.cfg.n_layers))
    assert neurons.value[neurons.kind == "neuron"] == pytest.approx(stacked, abs=1e-4)


def _set(x: torch.Tensor, hook: Any, at: Any, new: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    x = x.clone()
    x[at] = new(x[at])
    return x


def _changes(tiny: Any, lens: Any) -> dict[str, tuple[Any, str, Callable[..., torch.Tensor]]]:
    """Each intervention with the hook of transformer-lens, and the function at it, that do the same."""
    other = tiny.engine.trace(tuple(reversed(tiny.ids[: tiny.trace.prompt_length])))
    _, donor = lens.run_with_cache(torch.tensor([[token.id for token in other.tokens]]))
    at, direction = (0, POSITION), np.linspace(-1, 1, lens.cfg.d_model, dtype=np.float32)
    pre = f"blocks.{LAYER}.hook_resid_pre"
    patched = donor[pre][0, POSITION]
    steered = torch.tensor(direction)
    last = tiny.trace.prompt_length - 1
    return {
        "a head at zero": (
            iv.Ablate("z", LAYER, POSITION, head=HEAD),
            f"blocks.{LAYER}.attn.hook_z",
            partial(_set, at=(*at, HEAD), new=torch.zeros_like),
        ),
        "a neuron at 2.5": (
            iv.SetValue("act", LAYER, POSITION, neuron=NEURON, value=2.5),
            f"blocks.{LAYER}.mlp.hook_post",
            partial(_set, at=(*at, NEURON), new=lambda x: torch.full_like(x, 2.5)),
        ),
        "attention at zero": (
            iv.Ablate("attn_out", LAYER, POSITION),
            f"blocks.{LAYER}.hook_attn_out",
            partial(_set, at=at, new=torch.zeros_like),
        ),
        "an MLP at half": (
            iv.Scale("mlp_out", LAYER, POSITION, factor=0.5),
            f"blocks.{LAYER}.hook_mlp_out",
            partial(_set, at=at, new=lambda x: x / 2),
        ),
        "a stream of another text": (
            iv.Patch("resid_pre", LAYER, POSITION, source=other.id),
            pre,
            partial(_set, at=at, new=lambda _: patched),
        ),
        "a steered stream": (
            iv.Steer("resid_post", LAYER, POSITION, direction=direction, strength=3.0, unit="absolute"),
            f"blocks.{LAYER}.hook_resid_post",
            partial(_set, at=at, new=lambda x: x + 3.0 * steered / steered.norm()),
        ),
        "keys out of sight": (
            iv.KnockOut(LAYER, [last], list(KEYS), heads=[HEAD]),
            f"blocks.{LAYER}.attn.hook_attn_scores",
            partial(_set, at=(0, HEAD, last, list(KEYS)), new=lambda x: torch.full_like(x, -torch.inf)),
        ),
    }


@torch.no_grad()
def test_every_kind_of_intervention(both):
    tiny, lens = both
    ids = torch.tensor([list(tiny.ids)])
    plain = lens(ids)[0].numpy()
    for name, (change, hook, function) in _changes(tiny, lens).items():
        reference = lens.run_with_hooks(ids, fwd_hooks=[(hook, function)])[0].numpy()
        assert error(plain, reference) > 1e-3, f"{name}: the hook does something"
        edited = tiny.trace.edit(change, text="held")
        for position in (POSITION, len(tiny.ids) - 1):
            found = edited.logits(position)[None]
            assert error(found, reference[position : position + 1]) <= ALLOWED, (name, position)
        tiny.engine.forget(edited.id)
