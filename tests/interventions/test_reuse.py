"""Later rows run alone give what a full run gives; where they would not, the run is full and says so."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.tracing.reuse import find_obstacle
from tests import tiny
from tests.inside import entry_of
from tests.reference.plain import error

ALLOWED = 1e-5
SITES = ("resid_pre", "attn_out", "mlp_out", "resid_post", "q", "k", "v", "z", "pattern")


@pytest.fixture
def in_full(monkeypatch):
    """Within this context edits never reuse anything."""

    def switch(off: bool) -> None:
        reason = (lambda *_: "a test asked for it") if off else find_obstacle
        monkeypatch.setattr(import_module("intravisto_core.traces.edited_runs"), "find_obstacle", reason)

    return switch


def both(case, in_full, *interventions, text="held"):
    """The edited run by reuse, and in full."""
    by_reuse = case.trace.edit(*interventions, text=text)
    assert entry_of(by_reuse).reused is not None
    in_full(True)
    whole = case.trace.edit(*interventions, text=text)
    in_full(False)
    assert entry_of(whole).reused is None
    assert any("a test asked" in note for note in whole.notes)
    return by_reuse, whole


def compared(case, found: iv.Trace, whole: iv.Trace) -> None:
    assert [t.id for t in found.tokens] == [t.id for t in whole.tokens]
    wrong = {}
    for site in SITES:
        for layer in range(case.engine.model.n_layers):
            e = error(found.activation(site, layer), whole.activation(site, layer))
            if not e <= ALLOWED:
                wrong[site, layer] = e
    assert wrong == {}
    for position in (0, -2, -1):
        assert np.allclose(found.logits(position), whole.logits(position), atol=1e-4)


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_reuse_is_a_full_run_and_the_text_goes_on_after_it(family, in_full, name):
    """An edit in layer 1 of the prompt's end, then generated tokens over the cache that was filled by hand."""
    case = family(name)
    edit = iv.Scale("attn_out", 1, [-3, -1], factor=-2.0)
    compared(case, *both(case, in_full, edit, text="free"))


@pytest.mark.parametrize(
    "name", ["Llama", "Bloom", "Falcon, new decoder", "Gemma-3", "Qwen3-MoE", "GPT-Neo", "gpt-oss"]
)
def test_reuse_of_held_text(family, in_full, name):
    """Held: the baseline's tokens, the generated ones too, in one call; beyond twice a sliding window."""
    case = family(name)
    assert len(case.ids) > 2 * tiny.WINDOW
    compared(case, *both(case, in_full, iv.Scale("mlp_out", 1, [-4, -2], factor=3.0), iv.KnockOut(1, -1, [3, 4], 1)))


@pytest.mark.parametrize("name", ["Llama", "Bloom", "Falcon, new decoder", "Gemma-3", "GPT-Neo"])
@pytest.mark.parametrize("text", ["free", "held"])
def test_reuse_over_several_calls(family, in_full, monkeypatch, name, text):
    """A long prompt is gone on with piece by piece, and each piece sees those before it in every layer."""
    monkeypatch.setattr(import_module("intravisto_core.tracing.run_calls"), "PREFILL_CHUNK", 4)
    case = family(name)
    compared(case, *both(case, in_full, iv.Scale("attn_out", 1, [1, -1], factor=-2.0), text=text))


def test_four_tokens_are_generated_after_an_edit_of_the_first_generated_one(case, in_full):
    tiny_llama = case("llama")
    found, whole = both(tiny_llama, in_full, iv.Scale("resid_post", 1, iv.Generated(1), factor=-3.0), text="free")
    assert len(found.tokens) >= found.prompt_length + 5
    assert entry_of(found).reused.position == found.prompt_length + 1
    for layer in range(3):
        assert error(found.activation("resid_post", layer), whole.activation("resid_post", layer)) <= ALLOWED


def test_only_what_can_have_changed_is_stored(case):
    tiny_llama = case("llama")
    edited = tiny_llama.trace.edit(iv.Scale("mlp_out", 2, -1, factor=2.0))
    engine = tiny_llama.engine
    own, base = (engine.kept_traces.store.get(("trace", t.id)) for t in (edited, tiny_llama.trace))
    assert own.nbytes < base.nbytes / 4
    assert np.array_equal(edited.activation("resid_post", 0), tiny_llama.trace.activation("resid_post", 0))
    assert np.array_equal(edited.activation("mlp_out", 2)[:5], tiny_llama.trace.activation("mlp_out", 2)[:5])


@pytest.mark.parametrize("name", ["Llama", "GPT-Neo", "Falcon, 7B"])
def test_reuse_under_dispatched_modules(tmp_path, name):
    """Accelerate puts its dispatch on every module as an instance attribute, which must come back as it was."""
    from accelerate import dispatch_model

    folder = tiny.write(tiny.CONFIGS[name](), tmp_path)
    engine = iv.open_model(str(folder), dtype="float32", device_map="cpu")
    prompt = tuple(3 + (17 * i) % 90 for i in range(14))
    edit = iv.Scale("attn_out", 1, -1, factor=-2.0)
    before = engine.trace(prompt, max_new_tokens=4).edit(edit, text="free")
    network = engine.kept_traces.model.network
    dispatch_model(network, device_map={"": "cpu"}, force_hooks=True)
    dispatched = {n: m.__dict__.get("forward") for n, m in network.named_modules()}
    after = engine.trace(prompt, max_new_tokens=4).edit(edit, text="free")
    assert entry_of(after).reused is not None
    assert {n: m.__dict__.get("forward") for n, m in network.named_modules()} == dispatched
    assert any(f is not None for f in dispatched.values())
    assert [t.id for t in after.tokens] == [t.id for t in before.tokens]
    for layer in range(2):
        assert np.array_equal(after.activation("resid_post", layer), before.activation("resid_post", layer))
    engine.close()


def test_a_failed_run_leaves_the_layers_as_they_were(case, monkeypatch):
    tiny_llama = case("llama")
    layers = [b.layer for b in tiny_llama.engine.kept_traces.model.blueprint.blocks]

    def broken(*_, **__):
        raise RuntimeError("in the middle of it")

    monkeypatch.setattr(layers[2].mlp, "forward", broken)
    with pytest.raises(iv.TraceError, match="in the middle"):
        tiny_llama.trace.edit(iv.Scale("mlp_out", 1, -1, factor=2.0))
    monkeypatch.undo()
    assert all("forward" not in layer.__dict__ for layer in layers)
    assert tiny_llama.trace.edit(iv.Scale("mlp_out", 1, -1, factor=1.0)).logits().tolist() == (
        tiny_llama.trace.logits().tolist()
    )


def stand_in(dtype=torch.float32, quantisation=None, w_out="mlp", inferred=False, **config):
    network = SimpleNamespace(config=SimpleNamespace(**config))
    architecture = SimpleNamespace(w_out=w_out, inferred=inferred)
    return SimpleNamespace(
        dtype=dtype, quantisation=quantisation, network=network, blueprint=SimpleNamespace(architecture=architecture)
    )


def test_where_reuse_is_off():
    base = SimpleNamespace(length=20, buffers=dict.fromkeys(("resid_pre", "k", "v")))
    moving = {"rope_type": "dynamic", "original_max_position_embeddings": 16}
    assert find_obstacle(stand_in(), base) == ""
    assert "not declared" in find_obstacle(stand_in(inferred=True), base)
    assert "8-bit" in find_obstacle(stand_in(quantisation="int8"), base)
    assert "16 positions" in find_obstacle(stand_in(rope_parameters=moving), base)
    assert find_obstacle(stand_in(rope_parameters=moving | {"original_max_position_embeddings": 20}), base) == ""
    assert "experts" in find_obstacle(stand_in(torch.bfloat16, w_out=None), base)
    assert find_obstacle(stand_in(w_out=None), base) == ""
    assert "share" in find_obstacle(stand_in(num_kv_shared_layers=2), base)
    assert "resid_pre" in find_obstacle(stand_in(), SimpleNamespace(length=20, buffers={}))


def test_a_run_in_full_says_why(tmp_path):
    """A mixture of experts below float32."""
    engine = iv.open_model(str(tiny.write(tiny.CONFIGS["Mixtral"](), tmp_path)), dtype="bfloat16", device_map="cpu")
    trace = engine.trace(tuple(range(3, 15)))
    edited = trace.edit(iv.Scale("attn_out", 1, -1, factor=2.0))
    assert entry_of(edited).reused is None
    assert any(note.startswith("run in full") and "experts" in note for note in edited.notes)
    engine.close()


def test_a_model_of_8_bit_layers_runs_in_full(tiny_folder):
    """An outlier of one position is scaled together with the others, so even earlier ones may change."""
    pytest.importorskip("bitsandbytes")
    engine = iv.open_model(str(tiny_folder("llama")), quantisation="int8", device_map="cpu")
    assert "int8" in str(engine.kept_traces.model.quantisation)
    trace = engine.trace("ab c!ab d", max_new_tokens=2)
    edited = trace.edit(iv.Scale("mlp_out", 1, -1, factor=-20.0))
    assert entry_of(edited).reused is None
    assert any(note.startswith("run in full: 8-bit layers") for note in edited.notes)
    same = trace.edit(iv.Scale("mlp_out", 1, "all", factor=1.0))
    assert np.array_equal(same.logits(), trace.logits())
    link = trace.check_links(iv.Link("mlp", 1, 3), "a", "b")
    assert np.isfinite([link.predicted[0], link.measured[0]]).all()
    assert link.noise < 1e-3
    engine.close()


def test_moving_rotary_positions_are_reused_within_their_length_and_go_no_further(tmp_path):
    """Past it the numbers would depend on the call, so such a text is refused before any edit."""
    model = tiny.build_character_model("llama")
    model.config.rope_parameters = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [3.0] * 4,
        "original_max_position_embeddings": 12,
    }
    engine = iv.open_model(str(tiny.save_model(model, tmp_path)), device_map="cpu")
    edit = iv.Scale("attn_out", 1, -1, factor=-2.0)
    assert entry_of(engine.trace("ab c!", max_new_tokens=2).edit(edit)).reused is not None
    with pytest.raises(iv.RequestError, match="12 tokens, this model's context"):
        engine.trace("ab c!ab d~ab c!ab", max_new_tokens=2)
    stopped = engine.trace("ab c!ab d", max_new_tokens=9).edit(edit, text="free")
    assert len(stopped.tokens) == 12
    engine.close()
