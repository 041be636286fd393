"""A self-check that cannot fail is worth nothing: what is wrong on purpose here must be caught."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transformers.masking_utils import AttentionMaskInterface

import intravisto_core as iv
from intravisto_core.architectures import NormKind, Order, find, registry
from intravisto_core.models import Weights
from intravisto_core.tracing import ATTENTION_NAME

WRONG_DECLARATIONS = [
    ("llama", {"attn_out": "mlp"}, "stream adds up"),
    ("llama", {"mlp_out": "self_attn"}, "stream adds up"),
    ("llama", {"attn_out": "input_layernorm"}, "stream adds up"),
    ("llama", {"mid_reader": "input_layernorm"}, "stream adds up"),
    ("gpt2", {"mlp_out": "mlp.c_fc"}, ""),
    ("gpt2", {"mid_reader": "ln_1"}, "stream adds up"),
    ("granite", {"residual_multiplier": lambda config: 1.0}, "stream adds up"),
    ("gemma2", {"attn_out": "self_attn", "mlp_out": "mlp"}, "stream adds up"),
    ("llama", {"norm": NormKind.LAYER}, "logits"),
    ("gpt2", {"norm": NormKind.RMS}, "logits"),
    ("granite", {"logit_scale": lambda config: 1.0}, "logits"),
    ("gemma2", {"soft_cap": "no_such_attribute"}, "logits"),
    ("gemma2", {"norm_offset": 0.0}, "logits"),
    ("llama", {"final_norm": "layers.0.input_layernorm"}, "logits"),
    ("llama", {"layers": "no_such_module"}, "no_such_module"),
]


def declare(monkeypatch: pytest.MonkeyPatch, family: str, **changes: object) -> None:
    monkeypatch.setitem(registry._BY_FAMILY, family, replace(find(family), **changes))


@pytest.mark.parametrize(("family", "changes", "said"), WRONG_DECLARATIONS)
def test_a_wrong_declaration_is_refused(monkeypatch, tiny_folder, family, changes, said):
    declare(monkeypatch, family, **changes)
    with pytest.raises(iv.IntravistoError) as caught:
        iv.open_model(str(tiny_folder(family)))
    assert said in str(caught.value)


def test_a_wrong_output_projection_costs_the_head_views_only(monkeypatch, tiny_llama):
    declare(monkeypatch, "llama", w_o="self_attn.q_proj")
    engine = iv.open_model(str(tiny_llama))
    card = engine.model
    assert not card.capabilities["heads"].ok
    assert card.capabilities["heads"].reason
    assert card.capabilities["residual"].ok
    grid = engine.trace("abc").heatmap()
    assert grid.token_ids.min() >= 0
    engine.close()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_transposed_output_projection_is_caught(monkeypatch, tiny_folder, family):
    straight = Weights.get

    def transposed(self, name, rows=None):
        matrix = straight(self, name, rows)
        return matrix.T if name.startswith("w_o.") else matrix

    monkeypatch.setattr(Weights, "get", transposed)
    engine = iv.open_model(str(tiny_folder(family)))
    heads = engine.model.capabilities["heads"]
    assert not heads.ok
    assert heads.error > 0.1
    assert f"{heads.error:.1e}" in heads.reason or "measured error" in heads.reason
    engine.close()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_forgotten_mask_is_refused(monkeypatch, tiny_folder, family):
    monkeypatch.setitem(AttentionMaskInterface._global_mapping, ATTENTION_NAME, lambda *args, **kwargs: None)
    with pytest.raises(iv.IntravistoError, match=r"causal|plain model|later"):
        iv.open_model(str(tiny_folder(family)))


def test_a_mask_that_only_the_trace_forgets_is_refused(monkeypatch, tiny_llama):
    """The mask is there, and the attention function drops it: identities 3 and 4 see it, 1 and 2 do not."""
    from intravisto_core.tracing import attention

    inner = attention._traced_attention

    def without_mask(module, query, key, value, attention_mask, **options):
        return inner(module, query, key, value, None, **options)

    from transformers import AttentionInterface

    monkeypatch.setitem(AttentionInterface._global_mapping, ATTENTION_NAME, without_mask)
    with pytest.raises(iv.IntravistoError, match=r"traced|causal"):
        iv.open_model(str(tiny_llama))


def test_the_right_order_of_additions_is_bit_equal(case):
    for family in ("llama", "gpt2", "gemma2"):
        assert case(family).engine.model.capabilities["residual"].exact, family


def test_a_wrong_order_of_additions_is_seen(monkeypatch, tiny_llama):
    declare(monkeypatch, "llama", order=Order.MA_P)
    engine = iv.open_model(str(tiny_llama))
    residual = engine.model.capabilities["residual"]
    assert residual.ok
    assert residual.exact is False
    engine.close()


def test_the_check_runs_over_the_sliding_window(case):
    card = case("mistral").engine.model
    assert card.capabilities["traced"].ok
    assert "not reached" not in card.probe


def test_bfloat16_is_held_to_its_own_tolerance(tiny_llama):
    engine = iv.open_model(str(tiny_llama), dtype="bfloat16")
    card = engine.model
    assert card.dtype == "bfloat16"
    for name, check in card.capabilities.items():
        assert check.ok, name
        assert check.allowed == 2e-2
    trace = engine.trace("abc", max_new_tokens=2)
    assert str(trace.activation("resid_post", layer=0).dtype) == "float32"
    engine.close()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_serial_block_declared_parallel_is_refused(monkeypatch, tiny_folder, family):
    """No sum tells the two apart: the MLP's input does."""
    declare(monkeypatch, family, parallel=lambda config: True)
    with pytest.raises(iv.IntravistoError, match="declared parallel"):
        iv.open_model(str(tiny_folder(family)))
