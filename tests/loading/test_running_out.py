"""Memory that runs out on a device, wherever it does: all comes back, and what was there before stays."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest
import torch
from transformers import core_model_loading

import intravisto_core as iv
from intravisto_core.engine import pool as pool_module
from intravisto_core.models import free_memory
from intravisto_core.models.free_memory import is_short
from intravisto_ui.session import settings

IDS = tuple(range(5, 45))
# less than half of a model's weights, or of a run's activations
NOTHING = 50_000


def failing(real, calls: int):
    """A function that works so many times and then meets a device without memory."""
    left = [calls]

    def work(*given: object, **options: object):
        left[0] -= 1
        if left[0] < 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return real(*given, **options)

    return work


def tensors() -> int:
    """Bytes of all tensors that something refers to."""
    gc.collect()
    parts = {}
    for found in gc.get_objects():
        if issubclass(type(found), torch.Tensor) and found.device.type == "cpu":
            storage = found.untyped_storage()
            parts[storage.data_ptr()] = storage.nbytes()
    return sum(parts.values())


@pytest.fixture
def held(tiny_llama):
    """A pool, an engine of it, and a trace that was looked at."""
    pool = iv.Pool()
    engine = pool.lease(iv.ModelSpec(str(tiny_llama)), session="a")
    trace = engine.trace(IDS, max_new_tokens=2)
    trace.heatmap("mlp")
    yield pool, engine, trace
    pool.close()


def test_while_a_model_is_loaded(held, tiny_gpt2, monkeypatch):
    pool, _, trace = held
    before = tensors()
    with monkeypatch.context() as patched:
        patched.setattr(core_model_loading, "_materialize_copy", failing(core_model_loading._materialize_copy, 9))
        with pytest.raises(iv.MemoryShortError, match="given back"):
            pool.lease(iv.ModelSpec(str(tiny_gpt2)), session="a")
    assert tensors() < before + NOTHING
    assert len(pool.specs) == 1
    assert np.isfinite(trace.heatmap().p_max).all()
    assert pool.lease(iv.ModelSpec(str(tiny_gpt2)), session="a").trace(IDS).prompt_length == len(IDS)


@pytest.mark.parametrize("calls", [0, 17], ids=["in the first layer", "in the middle"])
def test_while_a_text_is_run(held, monkeypatch, calls):
    _, engine, trace = held
    before, hooks = tensors(), sum(len(m._forward_hooks) for m in engine.kept_traces.model.network.modules())
    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.functional, "linear", failing(torch.nn.functional.linear, calls))
        with pytest.raises(iv.MemoryShortError, match="given back"):
            engine.trace(IDS[::-1], max_new_tokens=2)
    assert tensors() < before + NOTHING
    assert sum(len(m._forward_hooks) for m in engine.kept_traces.model.network.modules()) == hooks
    np.testing.assert_array_equal(engine.trace(IDS, max_new_tokens=2).logits(), trace.logits())
    assert engine.find(trace.id).tokens == trace.tokens


def test_while_cells_are_decoded(held, monkeypatch):
    _, engine, trace = held
    expected = trace.heatmap("block").token_ids
    engine.kept_traces.store.clear()
    trace = engine.trace(IDS, max_new_tokens=2)
    before = tensors()
    with monkeypatch.context() as patched:
        patched.setattr(torch, "mm", failing(torch.mm, 0))
        with pytest.raises(iv.MemoryShortError, match="given back"):
            trace.heatmap("block")
    # the room of the logits is kept in the store, for the next tile
    engine.kept_traces.store.drop(("room", "cpu"))
    assert tensors() < before + NOTHING
    np.testing.assert_array_equal(trace.heatmap("block").token_ids, expected)


@pytest.mark.parametrize(
    "said", ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"]
)
def test_errors_of_a_gpu_outside_the_allocator(said):
    assert is_short(RuntimeError(said))


def test_what_nobody_uses_leaves_for_what_is_wanted(held, tiny_gpt2, monkeypatch):
    pool, engine, _ = held
    first, second = pool.specs[0], iv.ModelSpec(str(tiny_gpt2))
    room = [math.inf]
    monkeypatch.setattr(pool_module, "free_bytes", lambda device: room[0])
    pool.lease(second, session="b")
    pool.release(second, session="b")
    assert set(pool.specs) == {first, second}, "nothing leaves while there is room"
    room[0] = 0
    pool.lease(iv.ModelSpec(str(tiny_gpt2), dtype="bfloat16"), session="b")
    assert first in pool.specs, "it is leased"
    assert second not in pool.specs
    pool.release(first, session="a")
    with monkeypatch.context() as patched:
        patched.setattr(type(engine), "busy", True)
        assert pool.drop_idle() == [], "it is at work"
    assert pool.drop_idle() == [first]


def test_how_long_a_model_stays(monkeypatch):
    assert settings.read({}).idle_minutes == 30
    for public in ("0", "1"):
        assert settings.read({"INTRAVISTO_PUBLIC": public, "INTRAVISTO_IDLE_MINUTES": "5"}).idle_minutes == 5
    with pytest.raises(iv.RequestError, match="INTRAVISTO_IDLE_MINUTES"):
        settings.read({"INTRAVISTO_IDLE_MINUTES": "soon"})
    assert iv.Pool(idle_seconds=60).lease_seconds == 60
    monkeypatch.setenv("INTRAVISTO_IDLE_MINUTES", "0")
    from intravisto_ui.session import pool

    monkeypatch.setattr(pool, "_make_pool", pool._make_pool.__wrapped__)
    assert pool.pool().idle_seconds == math.inf
    monkeypatch.setattr(free_memory, "group_limit", lambda: 1000)
    assert pool.pool().byte_budget == 500
