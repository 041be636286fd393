"""The first examples of nnsight's README, done here on the demo model, beside plain hooks on the same model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

import intravisto_core as iv
from intravisto_core.demo import MODEL_FOLDER
from tests.reference.equal import assert_close

PROMPT = "Q: What is the capital of Italy? A:"
OTHER = "The language spoken in Paris is"
N_NEW = 3
Hook = Callable[..., Any]


@pytest.fixture(scope="module")
def demo() -> Iterator[Any]:
    engine = iv.open_model("demo")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def plain() -> Any:
    return AutoModelForCausalLM.from_pretrained(MODEL_FOLDER, dtype=torch.float32, attn_implementation="eager").eval()


def ids_of(demo: Any, text: str) -> list[int]:
    return [token.id for token in demo.tokenize(text)]


def forward(plain: Any, ids: list[int], *hooks: tuple[str, Hook]) -> np.ndarray:
    """The logits (T, V) of one call over the whole text, with hooks after modules."""
    with ExitStack() as stack, torch.no_grad():
        for path, hook in hooks:
            stack.callback(plain.get_submodule(path).register_forward_hook(hook).remove)
        return plain(torch.tensor([ids])).logits[0].numpy()


def generate(plain: Any, ids: list[int], n: int, *hooks: tuple[str, Hook]) -> list[int]:
    """Greedy ids, each step over the whole text."""
    ids = list(ids)
    for _ in range(n):
        ids.append(int(forward(plain, ids, *hooks)[-1].argmax()))
    return ids


def keep(values: list[Any]) -> Hook:
    """A hook that keeps what a module gave."""

    def hook(module: Any, args: Any, out: Any) -> None:
        values.append((out[0] if isinstance(out, tuple) else out).detach().clone())

    return hook


def test_hidden_states_are_saved(demo, plain):
    trace = demo.trace(PROMPT, modules="model.layers.-1")
    last: list[Tensor] = []
    logits = forward(plain, ids_of(demo, PROMPT), ("model.layers.5", keep(last)))
    assert_close(trace.module("model.layers.-1"), last[0][0].numpy())
    assert_close(trace.activation("resid_post", -1), last[0][0].numpy())
    assert_close(trace.logits(), logits[-1])


def test_their_sum_is_added_to_them(demo, plain):
    sums: list[float] = []

    def add(x: Tensor) -> Tensor:
        sums.append(float(x.sum()))
        return x + x.sum()

    edited = demo.trace(PROMPT, interventions=iv.Apply("resid_post", -1, "all", add))
    expected: list[float] = []

    def hook(module: Any, args: Any, out: Tensor) -> Tensor:
        expected.append(float(out.sum()))
        return out + out.sum()

    assert_close(edited.logits(), forward(plain, ids_of(demo, PROMPT), ("model.layers.5", hook))[-1])
    assert sums == pytest.approx(expected, rel=1e-4)


def test_noise_is_set_and_seen_after(demo, plain):
    ids = ids_of(demo, PROMPT)
    noise = 0.001**0.5 * torch.randn(len(ids), demo.model.d_model, generator=torch.Generator().manual_seed(0))
    edited = demo.trace(PROMPT, interventions=iv.Apply(module="model.layers.-1.mlp", fn=lambda x: x + noise))
    before, after = (t.activation("mlp_out", -1) for t in (edited.baseline, edited))
    had: list[Tensor] = []
    logits = forward(
        plain, ids, ("model.layers.5.mlp", keep(had)), ("model.layers.5.mlp", lambda m, a, out: out + noise)
    )
    assert_close(before, had[0][0].numpy())
    assert_close(after, (had[0][0] + noise).numpy())
    assert_close(edited.logits(), logits[-1])


def test_three_tokens_are_generated_with_a_value_of_each(demo, plain):
    trace = demo.trace(PROMPT, max_new_tokens=N_NEW)
    ids = generate(plain, ids_of(demo, PROMPT), N_NEW)
    assert [token.id for token in trace.tokens] == ids
    last: list[Tensor] = []
    logits = forward(plain, ids, ("model.layers.5", keep(last)))
    for step in range(1, N_NEW + 1):
        position = trace.prompt_length - 1 + step
        assert_close(trace.activation("resid_post", -1, step=step)[0], last[0][0, position].numpy(), 1e-5)
        assert_close(trace.logits(position - 1), logits[position - 1], 1e-5)


def test_a_token_by_its_place_from_the_right_in_a_padded_batch(demo, plain):
    found = demo.traces([PROMPT, OTHER, "1 2 3"], max_new_tokens=N_NEW)
    for text, trace in zip([PROMPT, OTHER, "1 2 3"], found, strict=True):
        ids = generate(plain, ids_of(demo, text), N_NEW)
        assert [token.id for token in trace.tokens] == ids
        last: list[Tensor] = []
        logits = forward(plain, ids, ("model.layers.5", keep(last)))
        # the last token of the prompt, and the first one that was generated
        for back in (N_NEW + 1, N_NEW):
            assert_close(trace.activation("resid_post", -1)[-back], last[0][0, -back].numpy(), 1e-5)
            assert_close(trace.logits(-back), logits[-back], 1e-5)


@pytest.mark.parametrize("form", ["in one pass", "from a saved run"])
def test_the_embeddings_of_one_prompt_are_put_into_another(demo, plain, form):
    ids, donor_ids = ids_of(demo, PROMPT), ids_of(demo, OTHER)
    n = min(len(ids), len(donor_ids))
    if form == "in one pass":

        def transplant(x: Tensor, seen: Any) -> Tensor | None:
            if seen.index == 0:
                return None
            x[:, :n] = seen.prompt(0)["model.embed_tokens"][:, :n]
            return x

        edited = demo.traces([OTHER, PROMPT], interventions=iv.Apply(module="model.embed_tokens", fn=transplant))[1]
    else:
        donor = demo.trace(OTHER)
        edited = demo.trace(PROMPT).edit(iv.Patch("resid_pre", 0, list(range(n)), source=donor))
    given: list[Tensor] = []
    forward(plain, donor_ids, ("model.embed_tokens", keep(given)))

    def put(module: Any, args: Any, out: Tensor) -> Tensor:
        return torch.cat([given[0][:, :n], out[:, n:]], 1)

    assert_close(edited.logits(), forward(plain, ids, ("model.embed_tokens", put))[-1], 1e-5)


def test_the_logit_lens_by_ad_hoc_modules(demo, plain):
    trace = demo.trace(PROMPT)
    states: list[Tensor] = []
    forward(plain, ids_of(demo, PROMPT), *((f"model.layers.{i}", keep(states)) for i in range(6)))
    for layer in (0, 3, 5):
        by_hand = demo.apply("lm_head", demo.apply("model.norm", trace.activation("resid_post", layer)))
        with torch.no_grad():
            expected = plain.lm_head(plain.model.norm(states[layer]))[0].numpy()
        assert_close(by_hand, expected, 1e-5)
        assert_close(trace.logits(3, row=layer + 1), expected[3], 1e-5)
