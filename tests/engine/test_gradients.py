"""Gradients and saliency against plain autograd, separate runs, and a case that is worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import intravisto_core as iv
from intravisto_core.experiments import gradients
from intravisto_core.experiments.saliency import MOST_STEPS
from tests import tiny
from tests.reference.equal import assert_close
from tests.reference.families import LLAMA_PATHS, PATHS, Plain, is_parallel
from tests.tiny import CONFIGS

TARGET, CONTRAST, POSITION = 20, 41, 9
SITES = ("resid_pre", "attn_out", "mlp_out", "resid_post", "z", "act")
DENSE = ("Llama", "GPT-2", "Bloom", "Gemma-3", "Granite", "Phi")


def give(x: Any, leaf: Tensor) -> Any:
    """A module's value with a leaf added, whatever stands beside it."""
    return (x[0] + leaf.view(x[0].shape), *x[1:]) if isinstance(x, tuple) else x + leaf.view(x.shape)


@contextmanager
def nudged(plain: Plain, site: str, layer: int, leaves: list[Tensor]) -> Iterator[None]:
    """Within this context a leaf of zeros is added at a site; hooks of the test's own."""
    block = plain.layers[layer]
    paths = PATHS.get(plain.kind, LLAMA_PATHS)
    module = {"resid_pre": block, "resid_post": block}.get(site)
    if module is None:
        module = block.get_submodule(paths[("attn_out", "mlp_out", "z", "act").index(site)])

    def leaf_of(x: Any) -> Tensor:
        leaves.append(torch.zeros_like(x[0] if isinstance(x, tuple) else x, requires_grad=True))
        return leaves[-1]

    def before(_: Any, args: Any, kwargs: Any) -> Any:
        if args:
            return (args[0] + leaf_of(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"] + leaf_of(kwargs["hidden_states"])}

    with ExitStack() as stack:
        if site in ("resid_pre", "z", "act"):
            stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
        else:
            stack.callback(module.register_forward_hook(lambda m, i, x: give(x, leaf_of(x))).remove)
        yield


def read_metric(plain: Plain, ids: tuple[int, ...]) -> Tensor:
    logits = plain.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    return logits[TARGET] - logits[CONTRAST]


def find_gradient(plain: Plain, ids: tuple[int, ...], site: str, layer: int) -> np.ndarray:
    leaves: list[Tensor] = []
    with nudged(plain, site, layer, leaves), torch.enable_grad():
        (found,) = torch.autograd.grad(read_metric(plain, ids), leaves)
    if site in ("attn_out", "mlp_out"):
        found = found / getattr(plain.config, "residual_multiplier", 1.0)
    found = found.reshape(-1, found.shape[-1])
    return found.numpy()


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_are_those_of_autograd(family, name):
    own = family(name)
    ids, plain = own.ids[: POSITION + 1], own.plain
    mixture = own.engine.kept_traces.model.blueprint.architecture.w_out is None
    for layer in (0, -1):
        for site in SITES:
            if site == "act" and mixture:
                with pytest.raises(iv.RequestError, match="mixture of experts"):
                    own.trace.gradient(TARGET, CONTRAST, site, layer, POSITION)
                continue
            found = own.trace.gradient(TARGET, CONTRAST, site, layer, POSITION)
            expected = find_gradient(plain, ids, site, layer)
            if site == "z":
                found = found.transpose(1, 0, 2).reshape(found.shape[1], -1)
            assert len(found) == len(own.ids)
            assert not found[POSITION + 1 :].any(), "what comes later is not seen"
            scale = np.abs(expected).max()
            np.testing.assert_allclose(found[: POSITION + 1], expected, atol=2e-4 * max(scale, 1e-3), err_msg=site)
        if is_parallel(plain.config):
            with pytest.raises(iv.RequestError, match="parallel"):
                own.trace.gradient(TARGET, CONTRAST, "resid_mid", layer, POSITION)
        else:
            # what attention writes is added to the stream there, so both have one slope
            middle, written = (
                own.trace.gradient(TARGET, CONTRAST, site, layer, POSITION) for site in ("resid_mid", "attn_out")
            )
            np.testing.assert_allclose(middle, written, atol=1e-5 * np.abs(written).max())


def test_without_a_contrast_it_is_the_logit_alone(case):
    trace = case("llama").trace
    alone, other = (trace.gradient(id, layer=1, position=5) for id in (TARGET, CONTRAST))
    both = trace.gradient(TARGET, CONTRAST, layer=1, position=5)
    np.testing.assert_allclose(alone - other, both, atol=1e-5)
    top = int(trace.logits(5).argmax())
    assert_close(trace.gradient(layer=1, position=5), trace.gradient(top, layer=1, position=5))
    record = trace.view(iv.GradientView(trace, TARGET, layer=-2, position=5))
    assert (record.layer, record.contrast_id, record.target_id) == (1, -1, TARGET)
    assert record.metric == pytest.approx(trace.logits(5)[TARGET], abs=1e-5)


def embeddings_of(plain: Plain, ids: tuple[int, ...]) -> Tensor:
    with torch.no_grad():
        return plain.model.get_input_embeddings()(torch.tensor(ids)).clone()


def slope_at(plain: Plain, ids: tuple[int, ...], e: Tensor) -> tuple[float, Tensor]:
    """m and ∂m/∂e where the embeddings are e."""
    leaf = e.clone().requires_grad_()
    handle = plain.model.get_input_embeddings().register_forward_hook(lambda *_: leaf[None] * 1.0)
    try:
        with torch.enable_grad():
            m = read_metric(plain, ids)
            (found,) = torch.autograd.grad(m, [leaf])
    finally:
        handle.remove()
    return float(m.detach()), found


@pytest.mark.parametrize("name", CONFIGS)
def test_gradient_times_input_is_that_of_autograd(family, name):
    own = family(name)
    ids = own.ids[: POSITION + 1]
    e = embeddings_of(own.plain, ids)
    m, slope = slope_at(own.plain, ids, e)
    found = own.trace.saliency(TARGET, CONTRAST, POSITION)
    expected = (slope.double() * e.double()).sum(-1).numpy()
    np.testing.assert_allclose(found.scores[: POSITION + 1], expected, atol=2e-4 * max(np.abs(expected).max(), 1e-3))
    assert not found.scores[POSITION + 1 :].any()
    assert found.metric == pytest.approx(m, abs=1e-4)
    assert (found.completeness_error, found.replaced_by, found.steps) == (None, None, 0)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("reference", ["mean", "zero"])
def test_integrated_gradients_are_the_sum_of_the_slopes_on_the_way(family, name, reference):
    own = family(name)
    ids = own.ids[: POSITION + 1]
    found = own.trace.saliency(TARGET, CONTRAST, POSITION, "integrated_gradients", 8, reference)
    e = embeddings_of(own.plain, ids)
    start = torch.zeros_like(e)
    if reference == "mean":
        table = embeddings_of(own.plain, tuple(range(own.engine.model.d_vocab)))
        start = table.double().mean(0).to(e.dtype).expand_as(e).clone()
    start[0] = e[0]
    total = sum(
        slope_at(own.plain, ids, start + (k + 0.5) / found.steps * (e - start))[1].double() for k in range(found.steps)
    )
    expected = ((e - start).double() * total / found.steps).sum(-1).numpy()
    np.testing.assert_allclose(found.scores[: POSITION + 1], expected, atol=1e-3 * np.abs(expected).max())
    before, after = (slope_at(own.plain, ids, x)[0] for x in (start, e))
    assert (found.metric_reference, found.metric) == pytest.approx((before, after), abs=1e-4)
    missing = abs(found.scores.sum() - (found.metric - found.metric_reference))
    size = max(abs(found.metric - found.metric_reference), found.noise)
    assert found.completeness_error == pytest.approx(missing / size)
    assert found.converged == (found.completeness_error <= 1e-3)
    assert found.converged or any("did not converge" in note for note in found.notes)
    assert found.held.tolist() == [t.is_special or t.position == 0 for t in own.trace.tokens]
    assert not found.scores[found.held].any()


@pytest.fixture(scope="module")
def demo() -> Iterator[iv.Engine]:
    engine = iv.open_model("demo")
    yield engine
    engine.close()


@pytest.mark.parametrize("prompt", ["Q: What is the capital of Italy? A:", "1 2 3 4", "Anna and Tom went home. Tom"])
def test_integrated_gradients_are_complete_on_the_demo_model(demo, prompt):
    trace = demo.trace(prompt, max_new_tokens=1)
    found = trace.saliency(method="integrated_gradients")
    assert found.position == trace.prompt_length - 1
    assert found.target_id == trace.tokens[trace.prompt_length].id
    assert found.completeness_error <= 1e-3
    assert found.converged
    assert 32 <= found.steps <= MOST_STEPS


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Mistral", "gpt-oss", "Llama, dynamic RoPE"])
def test_occlusion_is_the_mean_of_separate_runs(family, name):
    own = family(name)
    ids, plain = own.ids[: POSITION + 1], own.plain
    found = own.trace.saliency(TARGET, CONTRAST, POSITION, "occlusion", draws=3, seed=1)
    with torch.no_grad():
        whole = float(read_metric(plain, ids))
        for position in range(POSITION + 1):
            others = found.replaced_by[position].tolist()
            if found.held[position]:
                assert (found.scores[position], others) == (0.0, [-1] * 3)
                continue
            assert len({*others, ids[position]}) == 4, "others, each once"
            without = [float(read_metric(plain, (*ids[:position], o, *ids[position + 1 :]))) for o in others]
            assert found.scores[position] == pytest.approx(whole - np.mean(without), abs=1e-3)
    assert (found.replaced_by[POSITION + 1 :] == -1).all()
    again = own.trace.saliency(TARGET, CONTRAST, POSITION, "occlusion", draws=3, seed=2)
    assert (again.replaced_by != found.replaced_by).any()
    shorter = own.trace.saliency(TARGET, CONTRAST, 4, "occlusion", draws=3, seed=1)
    np.testing.assert_array_equal(shorter.replaced_by[:5], found.replaced_by[:5])


@pytest.fixture
def idle(tmp_path: Any) -> Iterator[iv.Engine]:
    """A Llama whose blocks write nothing: a logit is the normed embedding's product with the table, alone."""
    engine = iv.open_model(tiny.write(CONFIGS["Llama"](), tmp_path), dtype="float32")
    engine.finish_check()  # which would refuse such a model
    for block in engine.kept_traces.model.blueprint.blocks:
        block.w_o.weight.data.zero_()
        block.w_out.weight.data.zero_()
    yield engine
    engine.close()


def test_a_model_without_blocks_is_worked_out_by_hand(idle):
    trace = idle.trace(tiny.FAMILY_PROMPT)
    model = idle.kept_traces.model
    x = model.blueprint.embed.weight[trace.tokens[-1].id].double().numpy()
    weight = model.blueprint.unembed.weight.double().numpy()
    direction = model.blueprint.final_norm.weight.double().numpy() * (weight[TARGET] - weight[CONTRAST])
    sigma = np.sqrt(np.mean(x**2) + model.config.rms_norm_eps)
    # d/dx of ⟨x/σ(x), D⟩
    expected = direction / sigma - x * (x @ direction) / (len(x) * sigma**3)
    for layer in (0, 1):
        found = trace.gradient(TARGET, CONTRAST, layer=layer)
        np.testing.assert_allclose(found[-1], expected, atol=1e-4 * np.abs(expected).max())
        assert not found[:-1].any()
    plain = trace.saliency(TARGET, CONTRAST)
    assert plain.scores[-1] == pytest.approx(x @ expected, abs=1e-4)
    whole = trace.saliency(TARGET, CONTRAST, method="integrated_gradients")
    mean = model.blueprint.embed.weight.double().mean(0).numpy()
    start = mean @ direction / np.sqrt(np.mean(mean**2) + model.config.rms_norm_eps)
    assert whole.scores[-1] == pytest.approx(x @ direction / sigma - start, rel=2e-3), "the whole change is its own"
    assert not whole.scores[:-1].any()
    hidden = trace.saliency(TARGET, CONTRAST, method="occlusion")
    assert np.abs(hidden.scores[:-1]).max() < 1e-5
    assert abs(hidden.scores[-1]) > 1e-3


def test_blocks_that_are_run_again_on_the_way_back_give_the_same(family, monkeypatch):
    for name in ("Llama", "Bloom", "Mixtral", "Gemma-2", "GPT-J"):
        trace = family(name).trace
        before = trace.gradient(TARGET, CONTRAST, "mlp_out", 0, POSITION)
        layer = trace.engine.kept_traces.model.blueprint.blocks[0].layer
        with monkeypatch.context() as patch:
            patch.setattr(gradients, "KEPT_BYTES", 0)
            # the same question in other words, since an answer is kept
            again = trace.gradient(TARGET, CONTRAST, "mlp_out", 0, POSITION - len(trace.tokens))
        assert "forward" not in vars(layer)
        np.testing.assert_allclose(again, before, atol=1e-5 * np.abs(before).max())


def test_cancelling_leaves_the_model_as_it_was(case):
    own = case("llama")
    view = iv.SaliencyView(own.trace, method="integrated_gradients", steps=1024, reference="zero", position=11)
    job = own.engine.submit(view)
    job.cancel()
    with pytest.raises(iv.Cancelled):
        job.result(60)
    model = own.engine.kept_traces.model
    assert not model.blueprint.embed._forward_hooks
    assert not torch.is_grad_enabled() or own.trace.logits(3).shape == (own.engine.model.d_vocab,)
    assert own.trace.saliency().scores.any()


def test_what_cannot_be_asked_is_refused(case, family, tmp_path):
    trace = case("llama").trace
    with pytest.raises(iv.RequestError, match=r"site: expected one of resid_pre.*; got 'q'"):
        trace.gradient(site="q")
    with pytest.raises(iv.RequestError, match="position: expected"):
        trace.saliency(position=99)
    with pytest.raises(iv.RequestError, match="steps: expected 1 to 1024; got 0"):
        trace.saliency(method="integrated_gradients", steps=0)
    with pytest.raises(iv.RequestError, match=r"position: expected one that has a token up to it.*; got 0"):
        trace.saliency(method="integrated_gradients", position=0)
    with pytest.raises(iv.RequestError, match="method: expected"):
        trace.saliency(method="magic")
    with pytest.raises(iv.RequestError, match="contrast: expected another token"):
        trace.saliency("a", "a")
    engine = iv.open_model(tiny.write(CONFIGS["Llama"](), tmp_path), device_map="offload")
    away = engine.trace(tiny.FAMILY_PROMPT)
    for ask in (away.gradient, away.saliency, lambda: away.saliency(method="integrated_gradients")):
        with pytest.raises(iv.ModelError, match="gradients: expected a model that can be differentiated"):
            ask()
    assert away.saliency(method="occlusion").scores.any(), "runs forward only"
    engine.close()


def test_quantised_models(tmp_path):
    pytest.importorskip("bitsandbytes")
    folder = tiny.write(CONFIGS["Llama"](), tmp_path)
    engine = iv.open_model(folder, quantisation="int8")
    trace = engine.trace(tiny.FAMILY_PROMPT)
    with pytest.raises(iv.ModelError, match="8-bit layers round"):
        trace.saliency()
    assert trace.saliency(method="occlusion").scores.any()
    engine.close()
    engine = iv.open_model(folder, quantisation="nf4", dtype="float32")
    found = engine.trace(tiny.FAMILY_PROMPT).saliency(TARGET, method="integrated_gradients")
    assert found.completeness_error <= 1e-3
    engine.close()


def test_the_page_shows_every_token_as_text(case):
    trace = case("llama").engine.trace("a<b>&c")
    for method in iv.SaliencyMethod:
        found = trace.saliency(method=method)
        page = found.html()
        assert "&lt;" in page
        assert page.count("<span class=") == len(trace.tokens)
        assert found.frame()["score"].sum() == pytest.approx(found.scores.sum())
        assert len(found.figure().data[0].x) == len(trace.tokens)
