"""What strangers may ask of a server: every kind of request meets the same limits at one door."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import intravisto_core as iv
from intravisto_core.engine.limits import Limits
from intravisto_core.request import (
    CompareView,
    DirectionRequest,
    Generation,
    HeatmapView,
    LinkCheckView,
    QueryView,
    TraceRequest,
)
from intravisto_core.tokens import TokenReader
from intravisto_core.traces.byte_store import ByteStore
from tests.tiny import PROMPT

WAIT = 60.0
LONG = "a" * 30
FAR_TOO_LONG = "a" * 10_000


@pytest.fixture(scope="module")
def public(tiny_llama) -> Iterator[iv.LocalEngine]:
    """A tiny model for strangers: 16 tokens a prompt, 4 new ones, 2 prompts a set, 3 tokens followed."""
    limits = Limits(prompt_tokens=16, new_tokens=4, prompts=2, tokens_typed=3, modules=1)
    engine = iv.LocalEngine(iv.ModelSpec(str(tiny_llama)), limits=limits)
    yield engine
    engine.close()


def edit(*interventions: iv.Ablate | iv.Steer) -> TraceRequest:
    return TraceRequest(PROMPT, interventions=interventions)


def mean_over(*prompts: str) -> TraceRequest:
    return edit(iv.Ablate("mlp_out", 1, how="mean", source=iv.PromptSet("set", prompts)))


@pytest.mark.parametrize(
    "asked",
    [
        TraceRequest(LONG),
        TraceRequest(FAR_TOO_LONG),
        TraceRequest(tuple([5] * 17)),
        TraceRequest("a", Generation(5)),
        TraceRequest("a", Generation(forced="b" * 5)),
        TraceRequest("a", Generation(forced=(5, 5, 5, 5, 5))),
        TraceRequest("a", Generation(stop=(FAR_TOO_LONG,))),
        TraceRequest("a", chat=True, messages=(("system", LONG * 10),)),
        mean_over(LONG),
        mean_over("a", "b", "c"),
        edit(iv.Steer("resid_post", 1, direction=FAR_TOO_LONG)),
        DirectionRequest("up", LONG),
        DirectionRequest("up", "a", ("b", "c")),
        iv.PatchingRequest(LONG, "a"),
        iv.PatchingRequest("a", ["a"], FAR_TOO_LONG),
        iv.PatchingRequest(["a", "b"], ["b", "a"]),
        iv.SweepRequest(LONG),
        iv.SweepRequest(["a", "b", "c"]),
        HeatmapView("an id", watch=(FAR_TOO_LONG,)),
        HeatmapView("an id", watch=(3, 4, 5, 6)),
        QueryView("an id", FAR_TOO_LONG),
        CompareView("an id", "another", target=FAR_TOO_LONG),
        LinkCheckView("an id", iv.Link("mlp", 1, 1), contrast=FAR_TOO_LONG),
        iv.ExplainView("an id", target=FAR_TOO_LONG),
        iv.SaliencyView("an id", contrast=FAR_TOO_LONG),
        iv.GradientView("an id", FAR_TOO_LONG),
        iv.ReadBackView("an id", iv.Replace("resid_post", 1, (0,), token=FAR_TOO_LONG)),
        iv.TraceBatch((TraceRequest("a"), TraceRequest("b"), TraceRequest("c"))),
        iv.TraceBatch((TraceRequest("a"), TraceRequest(LONG))),
        iv.TraceBatch((TraceRequest("a", Generation(5)),)),
        TraceRequest("a", modules=("lm_head", "model.norm")),
        iv.TraceBatch((TraceRequest("a", modules=("lm_head", "model.norm")),)),
    ],
    ids=lambda asked: type(asked).__name__,
)
def test_what_is_too_much_is_refused_before_it_is_queued(public: iv.LocalEngine, asked: object) -> None:
    with pytest.raises(iv.RequestError, match="on this public server"):
        public.submit(asked)
    assert not public.busy


@pytest.mark.parametrize(
    "asked",
    [
        TraceRequest(FAR_TOO_LONG),
        TraceRequest("a", chat=True, messages=(("system", FAR_TOO_LONG),)),
        TraceRequest("a", Generation(forced=FAR_TOO_LONG)),
        mean_over(FAR_TOO_LONG),
        DirectionRequest("up", FAR_TOO_LONG),
        HeatmapView("an id", watch=(FAR_TOO_LONG,)),
        iv.TraceBatch((TraceRequest(FAR_TOO_LONG),)),
    ],
    ids=lambda asked: type(asked).__name__,
)
def test_characters_are_counted_before_anything_is_tokenized(public: iv.LocalEngine, monkeypatch, asked) -> None:
    monkeypatch.setattr(TokenReader, "encode", lambda *_: pytest.fail("it was tokenized"))
    with pytest.raises(iv.RequestError, match="at most 256 characters on this public server; got 10,000"):
        public.submit(asked)


def test_what_is_within_the_limits_is_done(public: iv.LocalEngine) -> None:
    trace = public.trace(PROMPT, max_new_tokens=4)
    assert public.submit(mean_over("a", "b")).result(WAIT).interventions
    assert public.direction("up", "a", "b").vector.size
    assert trace.heatmap(watch=["a", "b", "c"]).watch
    prompt = tuple([5] * 16)
    assert public.trace(prompt).prompt_length == 16


def test_without_limits_nothing_is_refused(case) -> None:
    engine = case("llama").engine
    assert engine.trace(LONG, max_new_tokens=6).prompt_length == len(LONG) + 1


def test_a_full_queue_refuses_the_next_piece_of_work(tiny_llama) -> None:
    engine = iv.LocalEngine(iv.ModelSpec(str(tiny_llama)), limits=Limits(queue=2))
    gate, held = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        held.set()
        gate.wait(WAIT)

    handle = engine.kept_traces.model.blueprint.blocks[0].layer.register_forward_pre_hook(hold)
    jobs = [engine.submit(TraceRequest(PROMPT), session="one")]
    assert held.wait(WAIT)
    jobs += [engine.submit(TraceRequest(PROMPT), session="two") for _ in range(2)]
    with pytest.raises(iv.BusyError, match="3 runs wait before this one; this server lets 2 wait"):
        engine.submit(TraceRequest(PROMPT), session="three")
    handle.remove()
    gate.set()
    assert all(job.result(WAIT).prompt_length for job in jobs)
    assert engine.trace(PROMPT).prompt_length
    engine.close()


def test_a_request_that_takes_too_long_is_stopped_and_cleans_up(tiny_llama) -> None:
    engine = iv.LocalEngine(iv.ModelSpec(str(tiny_llama)), limits=Limits(seconds=1e-9))
    modules = list(engine.kept_traces.model.network.modules())
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)
    with pytest.raises(iv.RequestError, match="model's time"):
        engine.trace(PROMPT, max_new_tokens=20)
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules) == hooks
    assert not engine.busy
    engine.close()


def test_pins_take_from_the_share_of_their_owner_and_of_all() -> None:
    """The pinned that were unused for longest lose their protection first; they leave only when room is needed."""
    store = ByteStore(10, most_pinned=40, most_pinned_an_owner=20)
    for name in ("a1", "a2", "a3", "b1"):
        store.put(name, name, 10)
        store.pin(name, name[0])
    store.put("other", "x", 10)
    assert "a1" not in store, "the oldest of three whose owner may keep two"
    assert {"a2", "a3", "b1"} <= {k for k in ("a2", "a3", "b1") if k in store}
    store.get("a2")
    store.put("a4", "a4", 10)
    store.pin("a4", "a")
    store.put("other", "x", 10)
    assert "a3" not in store, "a2 was used since"
    assert "b1" in store, "another owner's share is its own"
    unlimited = ByteStore(1)
    for name in range(5):
        unlimited.put(name, name, 10)
        unlimited.pin(name)
    unlimited.put("other", "x", 10)
    assert all(name in unlimited for name in range(5))


def test_all_owners_together_have_a_share_too() -> None:
    store = ByteStore(10, most_pinned=20)
    for name in ("a", "b", "c"):
        store.put(name, name, 10)
        store.pin(name, name)
    store.put("other", "x", 10)
    assert ["a" in store, "b" in store, "c" in store] == [False, True, True]
