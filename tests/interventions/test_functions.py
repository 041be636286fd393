"""Functions inside the pass: what they are given, what becomes of what they return, and how they fail."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.request import in_words
from tests import tiny
from tests.inside import entry_of
from tests.reference.equal import assert_close

N_NEW = 3


@pytest.fixture(scope="module")
def llama(case):
    return case("llama")


def run(llama, *edits, **options):
    return llama.engine.trace(tiny.PROMPT, interventions=edits, **options)


def count_hooks(engine) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in engine.kept_traces.model.network.modules())


@contextmanager
def plain_hook(module, hook):
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def greedy(model, ids, n):
    """Plain generation without a cache: all ids, and the logits after the last."""
    ids = list(ids)
    for _ in range(n):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    with torch.no_grad():
        return ids, model(torch.tensor([ids])).logits[0, -1].numpy()


def test_what_a_function_returns_takes_the_place_of_the_value(llama):
    """As nnsight's first examples: hidden states saved, and their sum added to them at every call."""
    edited = run(llama, iv.Apply("resid_post", 1, "all", lambda x: x + x.sum(-1, keepdim=True)), max_new_tokens=N_NEW)
    model = llama.model

    def add(_, args, out):
        return out + out.sum(-1, keepdim=True)

    with plain_hook(model.model.layers[1], add):
        ids, logits = greedy(model, llama.prompt_ids, N_NEW)
    assert [t.id for t in edited.tokens] == ids
    # the sum of a state is up to thirty times its numbers, and so is what rounding leaves in it
    assert_close(edited.logits(), logits, tolerance=1e-5)
    assert edited.baseline.text == llama.engine.trace(tiny.PROMPT, max_new_tokens=N_NEW).text
    assert edited.mode == "free"


def test_it_is_called_once_for_the_prompt_and_once_a_step_with_the_chosen_positions(llama):
    shapes = []
    n = len(llama.prompt_ids)
    for site, where in (("mlp_out", "all"), ("z", "all"), ("act", [2, 0]), ("resid_mid", iv.Generated(1))):
        run(llama, iv.Apply(site, 0, where, lambda x: shapes.append(tuple(x.shape))), max_new_tokens=2)
    d_head = 8
    assert shapes[:3] == [(n, 32), (1, 32), (1, 32)]
    assert shapes[3:6] == [(4, n, d_head), (4, 1, d_head), (4, 1, d_head)]
    assert shapes[6:] == [(2, 48), (1, 32)]


def test_a_function_that_returns_none_only_looked(llama):
    seen = []
    edited = run(llama, iv.Apply("resid_post", 1, "all", lambda x: seen.append(x.clone().zero_())))
    np.testing.assert_array_equal(edited.logits(), edited.baseline.logits())
    assert len(seen) == 1


def test_it_is_given_a_copy(llama):
    def scribble(x):
        x.zero_()

    edited = run(llama, iv.Apply("resid_post", 1, "all", scribble), iv.Apply(module="model.norm", fn=scribble))
    np.testing.assert_array_equal(edited.logits(), edited.baseline.logits())


def test_sites_of_heads_come_by_head_and_equal_the_ready_made_edit(llama):
    def halve_one(x):
        x[2] *= 0.5
        return x

    by_function = run(llama, iv.Apply("z", 1, "all", halve_one))
    ready_made = run(llama, iv.Scale("z", 1, "all", head=2, factor=0.5))
    assert_close(by_function.activation("resid_post", 2), ready_made.activation("resid_post", 2))


def test_noise_set_in_a_run_is_what_the_run_goes_on_with(llama):
    noise = torch.randn(len(llama.prompt_ids), 32, generator=torch.Generator().manual_seed(0))
    edited = run(llama, iv.Apply("mlp_out", 0, "all", lambda x: x + noise))
    moved = edited.activation("mlp_out", 0) - edited.baseline.activation("mlp_out", 0)
    assert_close(moved, noise.numpy(), 1e-5)
    streams = edited.activation("resid_mid", 0) + edited.activation("mlp_out", 0)
    assert_close(edited.activation("resid_post", 0), streams)


def test_it_may_look_at_what_was_computed_before_in_the_pass(llama):
    def from_sites(x, seen):
        return seen["attn_out", 0] + seen["resid_pre", 0]

    def from_modules(x, seen):
        before = seen["model.layers.0:input"] + seen["model.layers.0.self_attn"][0]
        return before[0]

    for fn in (from_sites, from_modules):
        edited = run(llama, iv.Apply("resid_post", 0, "all", fn), max_new_tokens=1)
        assert_close(edited.activation("resid_post", 0), edited.activation("resid_mid", 0))
    by_head, places = [], (("z", 1), ("q", 1), ("k", 0))
    run(llama, iv.Apply("attn_out", 1, "all", lambda x, seen: by_head.append([seen[place] for place in places])))
    n = len(llama.prompt_ids)
    assert [tuple(x.shape) for x in by_head[0]] == [(4, n, 8), (4, n, 8), (2, n, 8)]
    own = []
    run(llama, iv.Apply("mlp_out", -1, -1, lambda x, seen: own.append((x, seen["mlp_out", -1][-1:], seen.index))))
    torch.testing.assert_close(own[0][0], own[0][1])
    assert own[0][2] == 0


def test_at_a_module_it_is_given_the_module_s_own_value(llama):
    shapes = []

    def double(x):
        shapes.append(tuple(x.shape))
        return 2 * x

    edited = run(llama, iv.Apply(module="model.layers.-1.mlp", fn=double), max_new_tokens=1)
    ready_made = run(llama, iv.Scale("mlp_out", -1, "all", factor=2.0), max_new_tokens=1)
    assert shapes == [(1, len(llama.prompt_ids), 32), (1, 1, 32)]
    assert_close(edited.logits(), ready_made.logits())
    first = run(llama, iv.Apply(module="model.layers.1.mlp:input", fn=lambda x: 0 * x))
    assert_close(first.activation("mlp_out", 1), 0 * first.activation("mlp_out", 1))

    def keep_weights(value):
        out, weights = value
        return 0 * out, weights

    silent = run(llama, iv.Apply(module="model.layers.1.self_attn", fn=keep_weights))
    assert not silent.activation("attn_out", 1).any()


def broken(x):
    return x / undefined


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (
            broken,
            r"Apply at layer 1, mlp_out: the function broken failed in line \d+ of .*test_functions\.py "
            r"\(return x / undefined.*\): NameError",
        ),
        (lambda x: x[:1], r"return a tensor of shape \(13, 32\); got shape \(1, 32\)"),
        (lambda x: 3.0, r"return a tensor of shape \(13, 32\), or None; got float"),
        (lambda x: x / 0, "return finite numbers; got infinity or NaN"),
        (lambda x, seen: seen["resid_post", 1], r"TraceError: seen: expected something that was computed before"),
        (lambda x, seen: seen["model.norm"], r"TraceError: seen: expected something that was computed before"),
        (lambda x, seen: seen["model.nrm"], r"RequestError: module: .*nearest: model\.norm"),
        (lambda x, seen: seen.prompt(1), r"seen\.prompt: expected one of this pass: 0; got 1"),
    ],
)
def test_what_fails_ends_the_run_with_its_place_and_leaves_no_hook(llama, fn, message):
    engine, before = llama.engine, count_hooks(llama.engine)
    with pytest.raises(iv.TraceError, match=message):
        run(llama, iv.Apply("mlp_out", 1, "all", fn))
    assert count_hooks(engine) == before
    assert engine.trace(tiny.PROMPT).text


def test_a_function_cannot_wait_for_its_own_engine(llama):
    with pytest.raises(iv.TraceError, match="cannot wait for another request of the same engine"):
        run(llama, iv.Apply("mlp_out", 1, "all", lambda x: llama.engine.trace("ab")))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: iv.Apply("mlp_out", 1, "all", 3), "fn: expected a function"),
        (lambda: iv.Apply("mlp_out", 1, "all", lambda a, b, c: a), r"fn: expected fn\(x\) or fn\(x, seen\)"),
        (lambda: iv.Apply("pattern", 1, "all", abs), "site: expected one of"),
        (lambda: iv.Apply("q", 1, "all", abs), "Queries, keys and values change with module="),
        (lambda: iv.Apply(fn=abs), "a site and a layer, or a module"),
        (lambda: iv.Apply("z", 1, module="model.norm", fn=abs), "a module alone"),
        (lambda: iv.Apply(module="model..norm", fn=abs), "module: expected the path"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_made(make, message):
    with pytest.raises(iv.RequestError, match=message):
        make()


def test_a_place_that_the_model_does_not_have_is_refused(llama):
    with pytest.raises(iv.RequestError, match="layer: expected -3 to 2; got 3"):
        run(llama, iv.Apply("mlp_out", 3, "all", abs))
    with pytest.raises(iv.RequestError, match=r"nearest: model\.norm"):
        run(llama, iv.Apply(module="model.nrm", fn=abs))


def test_a_function_cannot_be_written_or_sent(llama):
    edited = run(llama, iv.Apply("mlp_out", 1, "all", lambda x: x))
    with pytest.raises(iv.RequestError, match=r"Apply: .*cannot leave this process"):
        iv.to_json(edited.request)


def test_its_run_shares_nothing_with_others_and_is_not_made_again(llama):
    def strong(x):
        return x + 5.0

    first, second = (run(llama, iv.Apply("mlp_out", 0, -1, strong)) for _ in range(2))
    assert len({first.fingerprint, second.fingerprint, first.baseline.fingerprint}) == 3
    assert entry_of(first).reused is None
    plain, own = first.baseline.heatmap(), first.heatmap()
    assert not np.array_equal(plain.p_max[-1], own.p_max[-1])
    llama.engine.kept_traces.store.drop(("trace", first.id))
    with pytest.raises(iv.TraceError, match=r"not made again, since a function changed it \(Apply\).*pin it"):
        first.activation("z", 0)


def test_an_edit_of_its_run_has_both_and_words_say_what_it_is(llama):
    edited = run(llama, iv.Apply("mlp_out", 0, -1, abs))
    more = edited.edit(iv.Scale("mlp_out", 1, "all", factor=0.0), text="free")
    assert len(more.interventions) == 2
    assert more.baseline.id == edited.baseline.id
    assert in_words(edited.interventions[0]) == "layer 0, last prompt token, MLP output: the function abs"
    assert in_words(iv.Apply(module="model.norm", fn=abs)) == "model.norm: the function abs"
