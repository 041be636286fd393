"""Every captured site, the logits and the patterns against plain transformers and hooks of the tests' own."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch

import intravisto_core as iv
from tests.reference import hooked, plain
from tests.reference.plain import Run, error
from tests.tiny import CHARACTER_FAMILIES, CONTEXT, PROMPT

ALLOWED = 1e-5

STREAM_SITES = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post", "act")
HEAD_SITES = ("q", "k", "v", "z")


def largest_errors(trace, run: Run) -> dict[str, float]:
    """e of every site, layer by layer, in one table: a failing test then shows where it begins."""
    found = {}
    for site in STREAM_SITES + HEAD_SITES:
        for layer, reference in enumerate(run.sites[site]):
            found[f"{site}[{layer}]"] = error(trace.activation(site, layer=layer), reference)
    for layer, patterns in enumerate(run.patterns):
        for head, reference in enumerate(patterns):
            found[f"pattern[{layer},{head}]"] = error(trace.pattern(layer=layer, head=head), reference)
    for position, reference in enumerate(run.logits):
        found[f"logits[{position}]"] = error(trace.logits(position)[None], reference[None])
    return found


@pytest.mark.parametrize("family", CHARACTER_FAMILIES)
def test_every_site_equals_the_plain_model(case, family):
    tiny = case(family)
    wrong = {name: e for name, e in largest_errors(tiny.trace, tiny.run).items() if not e <= ALLOWED}
    assert wrong == {}


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "qwen2"])
def test_every_site_equals_an_independent_implementation(case, family):
    tiny = case(family)
    run = hooked.run(tiny.model, tiny.ids)
    wrong = {name: e for name, e in largest_errors(tiny.trace, run).items() if not e <= ALLOWED}
    assert wrong == {}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_one_head_is_a_slice_of_the_site(case, family):
    tiny = case(family)
    for site in HEAD_SITES:
        whole = tiny.trace.activation(site, layer=1)
        assert whole.dtype == np.float32
        assert whole.shape == tiny.run.sites[site][1].shape
        for head in range(len(whole)):
            assert np.array_equal(tiny.trace.activation(site, layer=1, head=head), whole[head])


def test_keys_and_values_have_the_kv_heads(case):
    tiny = case("llama")
    assert tiny.engine.model.n_heads == 4
    assert tiny.engine.model.n_kv_heads == 2
    assert len(tiny.trace.activation("q", layer=0)) == 4
    assert len(tiny.trace.activation("k", layer=0)) == 2


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_only_the_asked_sites_are_kept(case, family):
    tiny = case(family)
    trace = tiny.engine.trace(PROMPT, max_new_tokens=2, sites=["mlp_out", "z"])
    for site in ("mlp_out", "z"):
        n = len(trace.tokens)
        assert error(trace.activation(site, layer=2), tiny.run.sites[site][2][..., :n, :]) <= ALLOWED
    with pytest.raises(iv.IntravistoError, match="act"):
        trace.activation("act", layer=2)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_a_token_alone_and_a_full_context_are_traced(case, family):
    tiny = case(family)
    one = tiny.engine.trace((5,))
    assert error(one.activation("resid_post", layer=2), plain.run(tiny.model, [5]).sites["resid_post"][2]) <= ALLOWED
    ids = [3 + (7 * i) % 90 for i in range(CONTEXT)]
    full = tiny.engine.trace(tuple(ids))
    run = plain.run(tiny.model, ids)
    wrong = {name: e for name, e in largest_errors(full, run).items() if not e <= ALLOWED}
    assert wrong == {}


@pytest.mark.parametrize("family", CHARACTER_FAMILIES)
def test_a_prompt_read_in_pieces_has_the_same_activations(case, family, monkeypatch):
    """Long prompts are read piece by piece over the cache; sliding windows must come out right across the seams."""
    tiny = case(family)
    monkeypatch.setattr(import_module("intravisto_core.tracing.run_calls"), "PREFILL_CHUNK", 7)
    # the run alone, whatever was read before in other pieces
    monkeypatch.setattr("intravisto_core.traces.plain_runs.find_prefix", lambda *_: None)
    trace = tiny.engine.trace(PROMPT * 3, max_new_tokens=2)
    run = plain.run(tiny.model, [token.id for token in trace.tokens])
    wrong = {name: e for name, e in largest_errors(trace, run).items() if not e <= ALLOWED}
    assert wrong == {}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_half_precision_is_the_plain_model_bit_by_bit(tiny_folder, family, dtype):
    """One call for the whole prompt, over the same weights, is the same arithmetic: nothing may differ at all."""
    folder = tiny_folder(family)
    engine = iv.open_model(str(folder), dtype=dtype)
    trace = engine.trace(PROMPT)
    model = plain.load(folder, getattr(torch, dtype))
    loaded = engine.kept_traces.model.network.state_dict()
    assert all(torch.equal(loaded[name], stored) for name, stored in model.state_dict().items())
    model.load_state_dict(loaded, assign=True)
    run = plain.run(model, [token.id for token in trace.tokens])
    for site in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post", "z", "act"):
        for layer, reference in enumerate(run.sites[site]):
            assert np.array_equal(trace.activation(site, layer=layer), reference), (site, layer)
    assert np.array_equal(trace.logits(), run.logits[-1])
    engine.close()


@pytest.mark.parametrize("family", CHARACTER_FAMILIES)
def test_the_card_tells_the_model(case, family):
    tiny = case(family)
    card, config = tiny.engine.model, tiny.model.config
    assert card.family == config.model_type
    assert card.n_layers == config.num_hidden_layers
    assert card.n_heads == config.num_attention_heads
    assert card.n_kv_heads == getattr(config, "num_key_value_heads", config.num_attention_heads)
    assert card.d_model == config.hidden_size
    assert card.d_vocab == config.vocab_size
    assert card.tied == config.tie_word_embeddings
    assert card.context == CONTEXT
    assert str(card.block) == "serial"
    assert card.n_parameters == sum(p.numel() for p in tiny.model.parameters())
    assert {str(name): check.ok for name, check in card.capabilities.items()} == dict.fromkeys(
        ("residual", "logits", "traced", "causal", "pattern", "heads", "neurons"), True
    )
    assert all(check.error is not None and check.error <= 1e-4 for check in card.capabilities.values())
