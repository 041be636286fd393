"""Gradients and saliency of edited runs: against autograd through hooks of the test's own, measured slopes and runs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import intravisto_core as iv
from tests.engine.test_gradients import CONTRAST, POSITION, TARGET, embeddings_of, nudged, read_metric, slope_at
from tests.interventions import manual
from tests.interventions.manual import Hand
from tests.reference.families import Plain

PLACES = (2, 5, 6)


def squash(x: Tensor) -> Tensor:
    return torch.tanh(3 * x) + x


def autograd(plain: Plain, ids: tuple[int, ...], hand: Hand, site: str, layer: int) -> np.ndarray:
    """∂m/∂(a site) with the values of a place changed by a hook before it; the slope is taken after the change."""
    leaves: list[Tensor] = []
    with ExitStack() as stack, torch.enable_grad():
        manual._hook(stack, plain, ids, hand)
        stack.enter_context(nudged(plain, site, layer, leaves))
        (found,) = torch.autograd.grad(read_metric(plain, ids), leaves)
    if site in ("attn_out", "mlp_out"):
        found = found / getattr(plain.config, "residual_multiplier", 1.0)
    return found.reshape(-1, found.shape[-1]).numpy()


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found[: len(expected)], expected, atol=3e-4 * np.abs(expected).max())


@pytest.mark.parametrize("site", ["resid_pre", "attn_out", "mlp_out", "resid_post", "z", "act"])
@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Granite", "Bloom"])
def test_through_a_function_they_are_those_of_autograd(family, name, site):
    own = family(name)
    ids, hand = own.ids[: POSITION + 1], Hand(site, 1, PLACES, squash)
    edited = own.trace.edit(iv.Apply(site, 1, PLACES, squash))
    # before the function, and just after it
    for asked, layer in (("mlp_out", 0), (site, 1)):
        found = edited.gradient(TARGET, CONTRAST, asked, layer, POSITION)
        if asked == "z":
            found = found.transpose(1, 0, 2).reshape(found.shape[1], -1)
        close(found, autograd(own.plain, ids, hand, asked, layer))
        assert not found[POSITION + 1 :].any()


def test_a_function_at_a_module_and_one_that_looks_back(family):
    own = family("Llama")
    plain, ids = own.plain, own.ids[: POSITION + 1]
    block = plain.layers[0]
    written: list[Tensor] = []
    e = embeddings_of(plain, ids)
    with ExitStack() as stack:
        stack.callback(block.self_attn.register_forward_hook(lambda m, i, x: written.append(x[0])).remove)
        add = lambda m, i, x: torch.sin(x) + written[-1] ** 2  # noqa: E731
        stack.callback(block.mlp.register_forward_hook(add).remove)
        m, slope = slope_at(plain, ids, e)
    functions = (
        iv.Apply(
            module="model.layers.0.mlp", fn=lambda x, seen: torch.sin(x) + seen["model.layers.0.self_attn"][0] ** 2
        ),
        iv.Apply("mlp_out", 0, "all", lambda x, seen: torch.sin(x) + seen["attn_out", 0] ** 2),
    )
    for function in functions:
        found = own.trace.edit(function).saliency(TARGET, CONTRAST, POSITION)
        assert found.metric == pytest.approx(m, abs=1e-4)
        close(found.scores, (slope.double() * e.double()).sum(-1).numpy())


EDITS = {
    "zero": lambda t: iv.Ablate("attn_out", 0, PLACES),
    "mean": lambda t: iv.Ablate("mlp_out", 0, "all", how="mean"),
    "scale a head": lambda t: iv.Scale("z", 1, "all", head=1, factor=-2.0),
    "a neuron": lambda t: iv.Scale("act", 1, [4, 9], neuron=3, factor=3.0),
    "steer": lambda t: iv.Steer("resid_post", 0, "all", direction="7", strength=1.0),
    "remove": lambda t: iv.RemoveDirection("resid_mid", 0, "all", direction="7"),
    "main": lambda t: iv.ReplaceMain("resid_post", 0, [4], token="7"),
    "replace": lambda t: iv.Replace("resid_mid", 0, [3], token="7"),
    "patch": lambda t: iv.Patch("resid_pre", 1, [3], source=t, source_positions=[5]),
    "knock out": lambda t: iv.KnockOut(1, queries=[8, 9], keys=[2, 3, 4]),
    "freeze": lambda t: (iv.Scale("resid_post", 0, [2], factor=2.0), iv.FreezePattern(1)),
}


@pytest.mark.parametrize("name", EDITS)
def test_the_slope_is_what_runs_measure(family, name):
    """⟨∂m/∂x, v⟩ is how m moves when v is added to x, in runs of the engine that know nothing of gradients."""
    own = family("Llama")
    made = EDITS[name](own.trace)
    edits = made if isinstance(made, tuple) else (made,)
    edited = own.trace.edit(*edits)
    generator = torch.Generator().manual_seed(3)
    for layer in (0, 1):
        slope = edited.gradient(TARGET, CONTRAST, "resid_pre", layer, POSITION)
        assert slope.any()
        for position in (0, 3, POSITION):
            v = torch.randn(slope.shape[1], generator=generator)
            if not slope[position].any():
                continue
            v = torch.from_numpy(slope[position]) / np.linalg.norm(slope[position]) + 0.3 * v / v.norm()
            size = 2e-2

            def moved(by: float, layer: int = layer, position: int = position, v: Tensor = v) -> float:
                add = iv.Apply("resid_pre", layer, [position], lambda x: x + by * v)
                logits = own.trace.edit(*edits, add).logits(POSITION)
                return float(logits[TARGET] - logits[CONTRAST])

            measured = (moved(size) - moved(-size)) / (2 * size)
            assert float(slope[position] @ v.numpy()) == pytest.approx(measured, rel=0.03, abs=1e-3)


def test_values_that_stay_as_they_were_have_the_slope_of_the_edit(family):
    trace = family("Llama").trace
    edited = trace.edit(iv.Patch("resid_pre", 1, "all", source=trace))
    assert not edited.gradient(TARGET, layer=0, position=POSITION).any(), "values that were put in hang on nothing"
    np.testing.assert_allclose(
        edited.gradient(TARGET, layer=1, position=POSITION),
        trace.gradient(TARGET, layer=1, position=POSITION),
        atol=1e-5,
    )
    assert not edited.saliency(TARGET, position=POSITION).scores.any()
    frozen = trace.edit(iv.FreezePattern(0), iv.FreezePattern(1))
    assert frozen.logits(POSITION) == pytest.approx(trace.logits(POSITION), abs=1e-5)
    one, other = (t.gradient(TARGET, layer=0, position=POSITION) for t in (frozen, trace))
    assert np.abs(one - other).max() > 1e-2 * np.abs(other).max(), "no slope goes through a frozen pattern"


@pytest.mark.parametrize("name", ["zero", "knock out"])
def test_integrated_gradients_of_an_edited_run_add_up(family, name):
    own = family("Llama")
    edited = own.trace.edit(EDITS[name](own.trace))
    found = edited.saliency(TARGET, CONTRAST, POSITION, "integrated_gradients")
    assert found.converged
    assert found.completeness_error <= 1e-3
    logits = edited.logits(POSITION)
    assert found.metric == pytest.approx(float(logits[TARGET] - logits[CONTRAST]), abs=1e-4)
    plain = own.trace.saliency(TARGET, CONTRAST, POSITION, "integrated_gradients")
    assert np.abs(found.scores - plain.scores).max() > 1e-3


@pytest.mark.parametrize("with_function", [False, True])
def test_occlusion_of_an_edited_run_is_the_mean_of_edited_runs(family, with_function):
    own = family("Llama")
    edit = iv.Apply("mlp_out", 1, [3, 4], squash) if with_function else iv.Scale("mlp_out", 1, [3, 4], factor=-3.0)
    edited = own.trace.edit(edit)

    def metric(trace: Any) -> float:
        logits = trace.logits(POSITION)
        return float(logits[TARGET] - logits[CONTRAST])

    found = edited.saliency(TARGET, CONTRAST, POSITION, "occlusion", draws=2)
    prompt = own.ids[: edited.prompt_length]
    for position in (1, 3):
        others = found.replaced_by[position].tolist()
        runs = [own.engine.trace((*prompt[:position], o, *prompt[position + 1 :])).edit(edit) for o in others]
        expected = metric(edited) - np.mean([metric(run) for run in runs])
        assert found.scores[position] == pytest.approx(expected, abs=1e-3)


def test_functions_are_called_as_in_the_run(case):
    own = case("llama")
    shapes: list[tuple[int, ...]] = []

    def mix(x: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        return x + 0.5 * x.mean(0)  # what comes later has a say: in one call it would be another function

    edited = own.trace.edit(iv.Apply("resid_post", 1, "all", mix))
    last = len(edited.tokens) - 1
    in_the_run, shapes[:] = list(shapes), []
    found = edited.view(iv.GradientView(edited, layer=0, position=last))
    assert shapes == in_the_run
    assert found.metric == pytest.approx(float(edited.logits(last).max()), abs=1e-4)
    # the whole prompt is run, since the function is given all of it
    early = edited.gradient(layer=0, position=2)
    assert early[3 : edited.prompt_length].any()
    assert not early[edited.prompt_length :].any()


def test_a_free_continuation_is_differentiated_over_its_own_text(case):
    trace = case("llama").trace
    edited = trace.edit(iv.Scale("mlp_out", 1, "all", factor=-4.0), text="free")
    assert edited.text != trace.text
    last = len(edited.tokens) - 1
    found = edited.saliency(position=last)
    assert found.target_id == int(edited.logits(last).argmax())
    assert found.metric == pytest.approx(float(edited.logits(last).max()), abs=1e-4)


def test_what_has_no_slope_is_said_or_refused_by_name(case, family):
    own = case("llama")
    trace = own.trace

    def hide(x: Tensor) -> Tensor:
        return x.detach() * 1.5

    for place in ({"site": "mlp_out", "layer": 1, "positions": "all"}, {"module": "model.layers.1.mlp"}):
        found = trace.edit(iv.Apply(fn=hide, **place)).saliency()
        assert any("hide" in note and "its slope is 0" in note for note in found.notes)
    outside = trace.edit(iv.Apply("mlp_out", 1, "all", lambda x: torch.from_numpy(x.numpy() * 2)))
    with pytest.raises(iv.TraceError, match=r"Apply at layer 1, mlp_out: the function .*numpy"):
        outside.saliency()
    noisy = trace.edit(iv.Apply("mlp_out", 1, "all", lambda x: x + torch.randn_like(x)))
    for ask in (noisy.saliency, noisy.gradient):
        with pytest.raises(iv.RequestError, match="give the same each time"):
            ask()
    with own.engine.hook() as h:
        h.post("model.layers.1.mlp", lambda module, input, output: output * 2)
        hooked = own.engine.trace(own.prompt)
    with pytest.raises(iv.RequestError, match=r"hooks changed it at model.layers.1.mlp.*iv.Apply"):
        hooked.gradient()
    experts = family("Mixtral").trace.edit(iv.Ablate("act", 1, "all", neuron=(0, 3)))
    with pytest.raises(iv.RequestError, match=r"single neurons of experts .*layer 1"):
        experts.saliency()


def test_nothing_of_a_pass_stays_behind(family):
    own = family("Llama")
    edited = own.trace.edit(iv.Apply("resid_mid", 1, "all", squash), iv.KnockOut(0, queries=[4], keys=[2]))
    before = edited.logits()
    edited.saliency()
    network = own.engine.kept_traces.model.network
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert not any(p.grad is not None for p in network.parameters())
    np.testing.assert_array_equal(edited.logits(), before)
