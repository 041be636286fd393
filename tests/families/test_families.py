"""Every family that is declared: identities, and every site against plain transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.architectures import names
from intravisto_core.architectures.refused import BY_NAME
from intravisto_core.experiments.families import NONE, Surveyed, write_table
from intravisto_core.experiments.self_check import NO_NEURONS, check_model
from intravisto_core.models import load
from tests import tiny
from tests.reference import families, hooked
from tests.reference.equal import assert_close
from tests.reference.plain import error

ALLOWED = 1e-5
STREAM_SITES = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post", "act")
HEAD_SITES = ("q", "k", "v", "z")
every_family = pytest.mark.parametrize("name", tiny.CONFIGS)


def test_every_declared_family_has_a_tiny_model():
    assert {tiny.kind(name) for name in tiny.CONFIGS} == set(names())


@every_family
def test_the_identities_hold(family, name):
    card = family(name).engine.model
    for capability, found in card.capabilities.items():
        if capability == "neurons" and name == "Llama-4 with images":
            assert (found.ok, found.reason) == (False, NO_NEURONS)
            continue
        assert found.ok, (capability, found.reason)
        assert max(found.error, found.at_start) <= ALLOWED, capability
    assert card.capabilities["residual"].exact
    assert card.capabilities["traced"].exact
    assert "not reached" not in card.probe


@every_family
def test_the_identities_hold_in_bfloat16(family, name):
    card = check_model(load(iv.ModelSpec(str(family(name).folder), dtype="bfloat16", device_map="cpu")))
    for capability, found in card.capabilities.items():
        assert found.ok or found.reason == NO_NEURONS, (capability, found.reason)
    assert card.capabilities["residual"].exact
    assert card.capabilities["traced"].exact


@every_family
def test_every_site_equals_the_plain_model(family, name):
    case = family(name)
    trace, plain = case.trace, case.plain
    found = {}
    for site in STREAM_SITES + HEAD_SITES:
        if site == "act" and case.engine.model.d_mlp == 0:
            continue
        for layer, reference in enumerate(plain.sites.get(site, ())):
            found[f"{site}[{layer}]"] = error(trace.activation(site, layer=layer), reference)
    for layer, patterns in enumerate(plain.patterns):
        found[f"pattern[{layer}]"] = error(trace.activation("pattern", layer=layer), patterns)
    for position, reference in enumerate(plain.logits):
        found[f"logits[{position}]"] = error(trace.logits(position)[None], reference[None])
    n_layers = case.engine.model.n_layers
    parallel, experts = families.is_parallel(plain.config), case.engine.model.d_mlp == 0
    sites = len(STREAM_SITES + HEAD_SITES) + 1 - parallel - experts
    assert len(found) == n_layers * sites + len(case.ids)
    assert {key: e for key, e in found.items() if not e <= ALLOWED} == {}


@every_family
def test_greedy_ids_are_the_plain_models(family, name):
    case = family(name)
    assert list(case.ids) == case.plain.greedy(case.prompt, tiny.FAMILY_N_NEW)
    assert list(case.ids) == case.plain.greedy(case.prompt, tiny.FAMILY_N_NEW, use_cache=False)


@every_family
def test_the_card_tells_the_model(family, name):
    case = family(name)
    card, config = case.engine.model, case.plain.config
    assert card.family == config.model_type
    assert card.n_layers == config.num_hidden_layers
    assert card.n_heads == config.num_attention_heads == len(case.plain.sites["q"][0])
    assert card.n_kv_heads == len(case.plain.sites["k"][0])
    assert card.d_head == case.plain.sites["q"][0].shape[-1]
    assert card.tied == case.plain.whole.tie_word_embeddings
    assert card.block == ("parallel" if families.is_parallel(config) else "serial")
    assert not card.inferred


NAMED = {
    "GPT-2": "learned positions",
    "GPT-J": "partial rotary positions: 4 of 8 numbers of a head",
    "Bloom": "norm on the embeddings",
    "MPT": "ALiBi: a penalty on distance instead of positions",
    "Falcon, 7B": "multi-query attention: one key and value head for all 4 heads",
    "Falcon, ALiBi": "ALiBi: a penalty on distance instead of positions",
    "Llama": "grouped-query attention: 2 heads share a key and value head",
    "Llama, dynamic RoPE": "rotary positions scaled (dynamic); shown up to 64 positions",
    "Phi-3, long RoPE": "rotary positions scaled (longrope); shown up to 48 positions",
    "Gemma-2": "attention scores soft-capped at 3",
    "Gemma-3": "sliding window of 4 positions in 5 of 6 layers",
    "Gemma": "embeddings times 5.66",
    "GPT-Neo": "sliding window of 4 positions in 1 of 2 layers",
    "StableLM, parallel": "norms on queries and keys",
    "OLMo": "queries, keys and values clipped at ±0.05",
    "OLMo-2": "norms between attention, MLP and the stream",
    "Cohere": "one table for input and output",
    "Cohere-2": "no rotary positions in 1 of 4 layers",
    "SmolLM3": "no rotary positions in 1 of 4 layers",
    "Granite": "updates of the stream times 0.22",
    "Nemotron": "partial rotary positions: 4 of 8 numbers of a head",
    "gpt-oss": "learned attention sinks: rows of attention sum to less than 1",
    "Qwen2-MoE": "mixture of 4 experts in every layer: 2 for each token, and a shared one",
    "Qwen3-MoE": "mixture of 4 experts in 1 of 2 layers: 2 for each token",
    "Llama-4 with images": "attention in chunks of 4 positions in 3 of 4 layers",
    "Qwen2-VL with images": "the text model inside qwen2_vl: images are left out",
}


def test_the_card_names_what_is_particular(family):
    for name, phrase in NAMED.items():
        assert phrase in family(name).engine.model.features, name
    assert family("OPT").engine.model.features == ("learned positions",)
    assert "logits soft-capped at 6" in family("Gemma-2").engine.model.features
    assert "logits times 2" in family("Granite").engine.model.features


@every_family
def test_the_public_face_answers(family, name):
    case = family(name)
    trace, card = case.trace, case.engine.model
    for component in ("block", "attention", "mlp"):
        grid = trace.heatmap(component)
        assert (grid.token_ids[1:-1] >= 0).all()
        assert np.isfinite(grid.p_max[1:-1]).all() or grid.is_update
    assert np.allclose(trace.heatmap().p_max[-1], np.exp(case.plain.logits).max(-1) / np.exp(case.plain.logits).sum(-1))
    shares = trace.shares()
    assert np.isfinite(shares.attention).all()
    assert np.isfinite(shares.mlp).all()
    heads = trace.activation("head_out", layer=1)
    assert heads.shape == (card.n_heads, len(case.ids), card.d_model)
    if card.block == "parallel":
        with pytest.raises(iv.RequestError, match="parallel"):
            trace.activation("resid_mid", layer=0)
    if card.d_mlp == 0:
        with pytest.raises(iv.IntravistoError, match=r"experts take turns|mixture of experts"):
            trace.activation("act", layer=0)
    else:
        with pytest.raises(iv.RequestError, match="MLPs are whole"):
            trace.experts(layer=0)


@pytest.mark.parametrize("name", [n for n in tiny.CONFIGS if tiny.kind(n) in families.MOE])
@torch.no_grad()
def test_experts_are_the_plain_models(family, name):
    case = family(name)
    for layer, plain in enumerate(case.plain.experts):
        record = case.trace.experts(layer)
        if not plain.sparse:
            assert (record.n_routed, record.chosen.tolist()) == (0, [[0]] * len(case.ids))
            assert error(case.trace.experts(layer, expert=0).act, case.plain.sites["act"][layer]) <= ALLOWED
            continue
        k = plain.chosen.shape[1]
        assert np.array_equal(record.chosen[:, :k], plain.chosen.numpy())
        assert error(record.probabilities, plain.logits.softmax(-1).numpy()) <= ALLOWED
        assert error(record.weights[:, :k], plain.weights.numpy()) <= ALLOWED
        for expert in range(record.n_experts):
            one = case.trace.experts(layer, expert)
            assert one.positions.tolist() == np.flatnonzero((record.chosen == expert).any(1)).tolist()
            if given := [plain.act(expert, plain.given[p]) for p in one.positions]:
                assert error(one.act, torch.stack(given).numpy()) <= ALLOWED
        if name == "Qwen2-MoE":
            shared = torch.stack([plain.shared_weight(x) for x in plain.given]).numpy()
            assert error(record.weights[:, k:], shared) <= ALLOWED
        table = case.trace.experts(layer, expert=int(record.chosen[3, 0])).frame()
        assert table["position"].tolist() == np.flatnonzero((record.chosen == record.chosen[3, 0]).any(1)).tolist()
        assert record.figure().data


@pytest.mark.parametrize("name", ["GPT-NeoX, parallel", "GPT-NeoX, serial"])
def test_every_site_equals_an_independent_implementation(family, name):
    case = family(name)
    run = hooked.run(case.plain.model, case.ids)
    found = {}
    for site, layers in run.sites.items():
        for layer, reference in enumerate(layers):
            found[f"{site}[{layer}]"] = error(case.trace.activation(site, layer=layer), reference)
    for layer, reference in enumerate(run.patterns):
        found[f"pattern[{layer}]"] = error(case.trace.activation("pattern", layer=layer), reference)
    assert {key: e for key, e in found.items() if not e <= ALLOWED} == {}
    assert error(case.plain.logits, run.logits) <= ALLOWED


def test_rows_with_sinks_sum_to_less_than_one(family):
    for name in tiny.CONFIGS:
        rows = family(name).trace.activation("pattern", layer=0).sum(-1)
        if name == "gpt-oss":
            assert (rows < 0.99).all()
        else:
            assert np.allclose(rows, 1, atol=1e-5), name


def test_windows_hide_what_lies_before_them(family):
    window = tiny.WINDOW
    for name in ("Mistral", "Gemma-3", "GPT-Neo", "gpt-oss", "OLMo-3", "Cohere-2", "StarCoder2", "Phi-3"):
        trace, card = family(name).trace, family(name).engine.model
        assert len(trace.tokens) > 2 * window
        far = [trace.activation("pattern", layer=layer)[:, window:, 0].max() for layer in range(card.n_layers)]
        assert min(far) == 0, name


def test_a_prompt_read_in_pieces_has_the_same_patterns(family, monkeypatch):
    """ALiBi biases, sinks and windows across the seams."""
    from importlib import import_module

    monkeypatch.setattr(import_module("intravisto_core.tracing.run_calls"), "PREFILL_CHUNK", 5)
    # the run alone, whatever was read before in other pieces
    monkeypatch.setattr("intravisto_core.traces.plain_runs.find_prefix", lambda *_: None)
    for name in ("Bloom", "Falcon, ALiBi", "Falcon, new decoder", "MPT", "GPT-Neo", "GPT-J", "gpt-oss", "Gemma-3"):
        case = family(name)
        trace = case.engine.trace(case.ids)
        for site in ("resid_post", "k", "pattern"):
            whole = case.trace.activation(site, layer=1)
            assert error(trace.activation(site, layer=1), whole) <= ALLOWED, (name, site)


def test_long_rope_ends_where_its_frequencies_change(family):
    case = family("Phi-3, long RoPE")
    assert case.engine.model.context == 48
    assert "48" in case.engine.model.probe
    with pytest.raises(iv.RequestError, match="48"):
        case.engine.trace(tuple(range(3, 60)))


def test_a_full_context_leaves_dynamic_rope_as_it_was(family):
    """Beyond its context its frequencies would change, for this text and for the next one."""
    case = family("Llama, dynamic RoPE")
    before = case.engine.trace(case.ids).activation("resid_post", layer=1)
    case.engine.trace(tuple(3 + i % 90 for i in range(tiny.CONTEXT - 2)), max_new_tokens=5)
    after = case.engine.trace(case.ids).activation("resid_post", layer=1)
    assert np.array_equal(after, before)
    fresh = iv.open_model(str(case.folder))
    assert_close(fresh.trace(case.ids).activation("resid_post", layer=1), after)
    fresh.close()
    with pytest.raises(iv.RequestError, match="context"):
        case.engine.trace(tuple(3 + i % 90 for i in range(tiny.CONTEXT + 1)))


def read_claims(text: str) -> dict[str, tuple[str, ...]]:
    """What a page claims, without its digits: for every family its type, block and which capabilities it has.

    What a later table says of the same family is left out.
    """
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {
        row[0]: (*row[1:3], *(NONE if cell == NONE else "ok" for cell in row[3:]))
        for row in reversed(rows)
        if len(row) > 1 and row[0] not in ("family", "model", "---")
    }


def test_the_page_of_families_is_up_to_date(family):
    written = (Path(__file__).parents[2] / "docs" / "families.md").read_text(encoding="utf-8")
    found = [Surveyed(name, (family(name).engine.model,)) for name in tiny.CONFIGS]
    now = read_claims(write_table(found))
    claimed = read_claims(written)
    todo = "run: intravisto check --all-tiny --out docs/families.md"
    assert {name: claimed.get(name) for name in now} == now, todo
    assert {*tiny.UNDECLARED, *tiny.REFUSED} <= set(claimed), todo
    for one in found:
        assert f"| {one.name} | {'; '.join(one.cards[0].features)} |" in written, todo
    for reason, named in BY_NAME.items():
        assert reason in written, todo
        assert all(f"`{name}`" in written for name in named), todo
