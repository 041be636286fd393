"""Any module of the model's tree, kept by its path: beside plain hooks on the checkpoint as transformers loads it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from tests import tiny
from tests.reference.equal import assert_close

PATHS = (
    "model.layers.1.mlp",
    "model.layers.-1.self_attn.o_proj:input",
    "model.layers.0.self_attn",
    "model.embed_tokens:input",
    "lm_head",
)


@pytest.fixture(scope="module")
def traced(case):
    return case("llama").engine.trace(tiny.PROMPT, max_new_tokens=3, modules=PATHS)


@pytest.fixture(scope="module")
def plain(case, traced):
    """The same text in one call, what each of the modules gave, by the path as the model writes it."""
    model, kept = case("llama").model, {}
    handles = [
        module.register_forward_hook(
            lambda _, args, out, name=name: kept.update({name: out, f"{name}:input": args[0] if args else None})
        )
        for name, module in model.named_modules()
    ]
    with torch.no_grad():
        model(torch.tensor([[t.id for t in traced.tokens]]))
    for handle in handles:
        handle.remove()
    return kept


@pytest.mark.parametrize(
    ("path", "what", "own"),
    [
        ("model.layers.1.mlp", "output", "model.layers.1.mlp"),
        ("model.layers.-2.mlp", "output", "model.layers.1.mlp"),
        ("model.layers.2.self_attn.o_proj", "input", "model.layers.2.self_attn.o_proj:input"),
        ("model.layers.-1.self_attn.o_proj:input", "output", "model.layers.2.self_attn.o_proj:input"),
        ("model.embed_tokens", "input", "model.embed_tokens:input"),
        ("lm_head", "output", "lm_head"),
    ],
)
def test_outputs_and_inputs_of_every_position_are_those_of_plain_hooks(traced, plain, path, what, own):
    found = traced.module(path, what)
    assert found.dtype == np.float32
    assert_close(found, plain[own][0].float().numpy())


def test_a_tuple_stays_one_and_what_does_not_grow_by_one_a_step_is_a_list_of_steps(traced, plain):
    out, weights = traced.module("model.layers.0.self_attn")
    whole_out, whole_weights = plain["model.layers.0.self_attn"]
    assert_close(out, whole_out[0].numpy())
    n = traced.prompt_length
    assert [w.shape for w in weights] == [(4, n, n), (4, 1, n + 1), (4, 1, n + 2), (4, 1, n + 3)]
    assert_close(weights[2][:, 0], whole_weights[0, :, n + 1, : n + 2].numpy())


def test_a_mixture_s_experts_are_given_rows_without_a_batch_axis(family):
    engine = family("Mixtral").engine
    path = "model.layers.0.mlp.experts:input"
    trace = engine.trace(tiny.FAMILY_PROMPT, max_new_tokens=2, modules=path)
    assert trace.module(path).shape == (len(trace.tokens), engine.model.d_model)
    one = engine.trace(tiny.FAMILY_PROMPT[:1], max_new_tokens=2, modules=(path,))
    assert_close(one.module(path)[:1], trace.module(path)[:1])


def test_a_wrong_path_names_the_nearest_ones(case):
    engine = case("llama").engine
    with pytest.raises(iv.RequestError, match=r"got 'model\.layer\.1\.mlp'.*nearest: model\.layers\.1\.mlp"):
        engine.trace("ab", modules="model.layer.1.mlp")
    with pytest.raises(iv.RequestError, match=r"nearest: .*model\.layers\.\d\.mlp"):
        engine.trace("ab", modules="model.layers.-4.mlp")
    with pytest.raises(iv.RequestError, match="module: expected one of output, input; got 'output2'"):
        engine.trace("ab", modules="model.norm:output2")
    with pytest.raises(iv.RequestError, match="modules: expected the path of a module"):
        engine.trace("ab", modules=("model..norm",))


def test_what_was_not_kept_says_how_to_keep_it(traced):
    with pytest.raises(iv.TraceError, match=r'Run again with modules=\("model\.norm",\)'):
        traced.module("model.norm")


def test_a_request_with_modules_travels_and_is_made_again(case, traced):
    again = iv.from_json(iv.to_json(traced.request))
    assert again == traced.request
    before, engine = traced.module("model.layers.1.mlp"), case("llama").engine
    engine.kept_traces.store.drop(("trace", traced.id))
    np.testing.assert_array_equal(traced.module("model.layers.1.mlp"), before)


def test_an_edited_run_keeps_what_its_own_modules_gave(traced):
    edited = traced.edit(iv.Scale("mlp_out", 1, "all", factor=2.0))
    assert_close(edited.module("model.layers.1.mlp"), 2 * traced.module("model.layers.1.mlp"))
    assert "run in full" in " ".join(edited.notes)


def test_what_modules_give_counts_in_the_estimate_and_is_what_they_take(case, traced):
    engine = case("llama").engine
    n, n_new = traced.prompt_length, 3
    plain, with_modules = engine.estimate(n, n_new), engine.estimate(n, n_new, modules=PATHS[0:1])
    assert with_modules.trace - plain.trace == (n + n_new) * engine.model.d_model * 4
    kept = sum(part.nbytes for path in PATHS for _, part in traced.view(iv.ModuleView(traced, path)).arrays())
    all_of_them = engine.estimate(n, n_new, modules=PATHS).trace - plain.trace
    assert kept <= all_of_them <= 2 * kept


def test_limits_count_modules(case):
    from intravisto_core.engine.limits import Limits

    reader = case("llama").engine.kept_traces.model.reader
    with pytest.raises(iv.RequestError, match="modules: expected at most 1 of them"):
        Limits(modules=1).check(iv.TraceRequest("ab", modules=PATHS), reader)


def test_steps_of_an_activation_are_its_positions(traced):
    whole, n = traced.activation("resid_post", -1), traced.prompt_length
    np.testing.assert_array_equal(traced.activation("resid_post", -1, step=0), whole[:n])
    np.testing.assert_array_equal(traced.activation("resid_post", -1, step=2), whole[n + 1 : n + 2])
    pattern = traced.activation("pattern", 0)
    np.testing.assert_array_equal(traced.activation("pattern", 0, step=3), pattern[:, n + 2 : n + 3])
    with pytest.raises(iv.RequestError, match="step: expected 0 to 3"):
        traced.activation("z", 0, step=4)


def test_a_module_s_record_is_drawn_tabled_and_saved(traced):
    record = traced.view(iv.ModuleView(traced, "model.layers.0.self_attn"))
    assert [place for place, _ in record.arrays()] == ["0", "1.0", "1.1", "1.2", "1.3"]
    assert len(record.frame()) == sum(a.size for _, a in record.arrays())
    assert record.figure(part=1).data
    with pytest.raises(iv.RequestError, match="part: expected 0 to 4"):
        record.figure(part=5)
    assert record.render("json").startswith(b'{"kind": "ModuleValue"')
