"""What two prompts begin with is computed once, and nothing differs from the run alone, in no bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.tracing import run_calls

SITES = ("resid_pre", "resid_mid", "attn_out", "mlp_out", "resid_post", "q", "k", "v", "z", "pattern")
FAMILIES = ("Llama", "GPT-2", "Bloom", "Mistral", "Gemma-3", "gpt-oss", "Mixtral", "Falcon, new decoder", "GPT-Neo")
FIRST = (7, 5, 9, 3, 11, 6, 4, 8, 10, 5, 3)
NEXT = (*FIRST[:9], 12, 4, 7)


@contextmanager
def counting(engine: iv.Engine) -> Iterator[list[int]]:
    """How many positions each forward call reads."""
    read: list[int] = []
    embed = engine.kept_traces.model.blueprint.embed
    hook = embed.register_forward_hook(lambda module, given, found: read.append(given[0].shape[-1]))
    try:
        yield read
    finally:
        hook.remove()


def gather(trace: iv.Trace) -> dict[str, np.ndarray]:
    """Every number that a run kept."""
    layers = range(trace.engine.model.n_layers)
    found = {f"{site} {layer}": trace.activation(site, layer) for site in SITES for layer in layers if has(trace, site)}
    return {**found, "logits": trace.logits(), "ids": np.array([token.id for token in trace.tokens])}


def has(trace: iv.Trace, site: str) -> bool:
    return site != "resid_mid" or not trace.engine.kept_traces.model.blueprint.parallel


@pytest.mark.parametrize("name", FAMILIES)
def test_a_run_that_goes_on_from_another_has_the_same_bits(family: Callable, monkeypatch, name: str) -> None:
    monkeypatch.setattr(run_calls, "PREFILL_CHUNK", 4)
    engine = family(name).engine
    base = engine.trace(FIRST)
    with counting(engine) as read:
        shared = engine.trace(NEXT, max_new_tokens=2)
    assert read == [4, 1, 1], "the first eight positions were not run"
    found = gather(shared)
    base.forget()
    shared.forget()
    with counting(engine) as read:
        alone = engine.trace(NEXT, max_new_tokens=2)
    assert read[:3] == [4, 4, 4]
    wrong = [key for key, value in gather(alone).items() if value.tobytes() != found[key].tobytes()]
    assert wrong == []
    assert shared.fingerprint == alone.fingerprint
    if name == "Mixtral":
        assert alone.experts(0, 1).chosen.shape
    alone.forget()


def test_what_is_shared_is_whole_and_kept(family: Callable, monkeypatch) -> None:
    monkeypatch.setattr(run_calls, "PREFILL_CHUNK", 4)
    engine = family("Llama").engine

    def calls(prompt: tuple[int, ...], **options: Any) -> list[int]:
        with counting(engine) as read:
            engine.trace(prompt, **options).forget()
        return read

    less = engine.trace(FIRST, sites=["k", "v"])
    assert calls(NEXT) == [4, 4, 4], "the other run did not keep what this one keeps"
    less.forget()
    base = engine.trace(FIRST)
    assert calls(NEXT) == [4]
    assert calls((*FIRST[:6], 1, 2, 3, 1)) == [4, 2], "up to the last whole call that both share"
    assert calls((1, *NEXT[1:])) == [4, 4, 4]
    assert calls(NEXT, modules="model.norm")[-3:] == [4, 4, 4], "modules are kept of every position"
    edited = base.edit(iv.Ablate("mlp_out", 1, "all"))
    base.forget()
    assert calls(NEXT) == [4, 4, 4], "an edited run is another one"
    edited.forget()
