"""Blocks that are read from disk at every call: the same numbers, nothing left behind."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import intravisto_core as iv
from tests import tiny
from tests.loading.conftest import error
from tests.reference.equal import assert_close

FAMILIES = ("GPT-2", "Gemma-2")
PROMPT = tuple(range(5, 25))
SITES = (
    "resid_pre",
    "attn_out",
    "resid_mid",
    "mlp_out",
    "resid_post",
    "act",
    "q",
    "k",
    "v",
    "z",
    "head_out",
    "pattern",
)


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request, tmp_path_factory):
    """One tiny model in memory, and on disk."""
    folder = tiny.write(tiny.CONFIGS[request.param](), tmp_path_factory.mktemp("offload") / "model")
    engines = iv.open_model(folder), iv.open_model(folder, device_map="offload")
    yield engines
    for engine in engines:
        engine.close()


def on_disk(engine) -> list[str]:
    return [name for name, p in engine.kept_traces.model.network.named_parameters() if p.device.type == "meta"]


def test_the_blocks_are_on_disk_and_the_identities_hold(pair):
    here, there = pair
    assert len(on_disk(there)) > 10
    assert not on_disk(here)
    assert there.kept_traces.model.offloaded
    for capability, found in there.model.capabilities.items():
        assert found.ok, (capability, found.reason)
        assert found.allowed == 1e-4
    assert there.model.n_parameters == here.model.n_parameters
    assert there.model.weight_bytes < here.model.weight_bytes
    assert there.model.tied == here.model.tied


def test_every_site_and_view_is_the_same(pair):
    here, there = (engine.trace(PROMPT, max_new_tokens=3) for engine in pair)
    assert here.tokens == there.tokens
    for site in SITES:
        for layer in range(2):
            assert error(there.activation(site, layer), here.activation(site, layer)) <= 1e-5, (site, layer)
    for position in range(len(PROMPT)):
        np.testing.assert_allclose(there.logits(position), here.logits(position), atol=1e-5)
    for options in ({}, {"component": "mlp"}, {"lens": "linear"}, {"reading": "iterative"}):
        np.testing.assert_array_equal(there.heatmap(**options).token_ids, here.heatmap(**options).token_ids)
    np.testing.assert_allclose(there.shares("kl").mlp, here.shares("kl").mlp, atol=1e-4)


def test_a_cancelled_run_leaves_the_weights_where_they_were(pair):
    there = pair[1]
    before = on_disk(there)
    whole = there.trace(PROMPT, max_new_tokens=4)
    begun = threading.Event()
    job = there.submit(iv.TraceRequest(PROMPT, iv.Generation(30)))
    while job.progress.done < len(PROMPT) and job.state in ("queued", "running"):
        begun.wait(0.001)
    job.cancel()
    try:
        kept = job.result(60)
        assert kept.cancelled
        assert len(kept.tokens) >= len(PROMPT)
    except iv.Cancelled:
        pass
    assert on_disk(there) == before
    assert_close(there.trace(PROMPT, max_new_tokens=4).logits(), whole.logits())


def test_a_closed_model_leaves_no_folder(tmp_path, monkeypatch, tiny_llama):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    engine = iv.open_model(tiny_llama, device_map="offload", dtype="bfloat16")
    engine.trace("ab")
    assert list(tmp_path.glob("intravisto-*"))
    engine.close()
    assert not list(tmp_path.glob("intravisto-*"))
