"""The flow of tensors, held against flows that are written by hand from the models' code."""

from __future__ import annotations

import gc
import re
import weakref

import pytest
import torch
from torch import nn

import intravisto_core as iv
from tests.inspection.models import build

# "from > to", a supply `~>`, a parameter `=>`; paths without that of their scope
FLOWS = {
    "llama": {
        "": "input > model, model > lm_head, lm_head > output",
        "model": (
            "input > embed_tokens, embed_tokens > rotary_emb, embed_tokens > layers.0, layers.0 > layers.1, "
            "layers.1 > layers.2, rotary_emb ~> layers.0, rotary_emb ~> layers.1, rotary_emb ~> layers.2, "
            "layers.2 > norm, norm > output"
        ),
        "model.layers.1": (
            "input > input_layernorm, input_layernorm > self_attn, input.position_embeddings ~> self_attn, "
            "input.position_ids ~> self_attn, self_attn > add, input > add, add > post_attention_layernorm, "
            "post_attention_layernorm > mlp, mlp > add_1, add > add_1, add_1 > output"
        ),
        "model.layers.1.self_attn": (
            "input > q_proj, input > k_proj, input > v_proj, q_proj > attention, k_proj > attention, "
            "v_proj > attention, input.position_embeddings ~> attention, attention > o_proj, o_proj > output"
        ),
        "model.layers.1.mlp": (
            "input > gate_proj, gate_proj > act_fn, input > up_proj, act_fn > mul, up_proj > mul, mul > down_proj, "
            "down_proj > output"
        ),
    },
    "gpt2": {
        "transformer": (
            "input > wte, wte > add, wpe > add, add > drop, drop > h.0, h.0 > h.1, h.1 > ln_f, ln_f > output"
        ),
        "transformer.h.0": (
            "input > ln_1, ln_1 > attn, input.position_ids ~> attn, attn > add, input > add, add > ln_2, ln_2 > mlp, "
            "mlp > add_1, add > add_1, add_1 > output"
        ),
        "transformer.h.0.attn": (
            "input > c_attn, c_attn > attention, attention > c_proj, c_proj > resid_dropout, resid_dropout > output"
        ),
    },
    "neox": {
        "gpt_neox.layers.0": (
            "input > input_layernorm, input_layernorm > attention, input.position_embeddings ~> attention, "
            "input.position_ids ~> attention, attention > post_attention_dropout, input > post_attention_layernorm, "
            "post_attention_layernorm > mlp, mlp > post_mlp_dropout, post_attention_dropout > add, "
            "post_mlp_dropout > add, input > add, add > output"
        ),
    },
    "qwen3_moe": {
        "model.layers.2.self_attn": (
            "input > q_proj, input > k_proj, input > v_proj, q_proj > q_norm, k_proj > k_norm, q_norm > attention, "
            "k_norm > attention, v_proj > attention, input.position_embeddings ~> attention, attention > o_proj, "
            "o_proj > output"
        ),
        "model.layers.2.mlp": "input > gate, input > experts, gate > experts, experts > output",
    },
    "vit": {
        "vit.embeddings": (
            "input > patch_embeddings, patch_embeddings > cat add, cls_token => cat add, "
            "position_embeddings => cat add, cat add > dropout, dropout > output"
        ),
        "vit.layers.0": (
            "input > layernorm_before, layernorm_before > attention, attention > dropout, dropout > add, input > add, "
            "add > layernorm_after, layernorm_after > mlp, mlp > dropout@2, dropout@2 > add_1, add > add_1, "
            "add_1 > output"
        ),
    },
    "resnet": {
        "resnet.encoder.stages.1.layers.0": (
            "input > layer, input > shortcut, layer > add, shortcut > add, add > activation, activation > output"
        ),
        "resnet.embedder": "input > embedder, embedder > pooler, pooler > output",
    },
    "detector": {
        "": (
            "input > vit, vit > class_labels_classifier, vit > bbox_predictor, bbox_predictor > sigmoid, "
            "sigmoid > output, class_labels_classifier > output, vit > output"
        ),
        "bbox_predictor": (
            "input > layers.0, layers.0 > relu, relu > layers.1, layers.1 > relu_1, relu_1 > layers.2, "
            "layers.2 > output"
        ),
    },
    # what attention reads of the encoder comes from the side, as positions do
    "t5": {
        "": (
            "input > encoder, input.decoder_input_ids ~> decoder, encoder ~> decoder, decoder > mul, mul > lm_head, "
            "lm_head > output, encoder > output"
        ),
    },
    "diffusion": {
        "": (
            "input > enter, enter > down, input.timestep ~> time, down > add interpolate cat, "
            "time > add interpolate cat, enter > add interpolate cat, add interpolate cat > norm, norm > leave, "
            "leave > output"
        ),
    },
    "sequential": {"": "input > 0, 0 > 1, 1 > 2, 2 > output"},
    "twice": {"": "input > fc, fc > relu, relu > fc@2, fc@2 > head, head > output"},
    "named": {
        "": "input > part, part > mul, mul > head, head > output",
        "part": "input > left, input > right, left > output, right > output",
    },
    "in_place": {
        "": (
            "input > a, input > b, input > c, input > d, a > add, b > add, add > act, act > setitem add, "
            "c > setitem add, d > setitem add, setitem add > output"
        )
    },
    "hidden": {
        "": "input > keeper, keeper > taker, taker > output",
        "keeper": "input > inner, input > mul, mul > output",
        "taker": "input > inner, inner > add, input.keeper ~> add, add > output",
    },
}


def read(text: str) -> set[tuple[str, str, str]]:
    """A flow that is written by hand."""
    found = set()
    for link in text.split(", "):
        source, arrow, target = re.split(" (=>|~>|>) ", link)
        found.add((source, target, {">": "main", "~>": "side", "=>": "parameter"}[arrow]))
    return found


def traced(flow: iv.ModuleFlow, scope: str) -> set[tuple[str, str, str]]:
    """The same of a traced flow."""
    nodes, links = flow.scopes[scope]
    kinds = {node.name: node.kind for node in nodes}

    def short(name: str) -> str:
        inside = scope and kinds[name] in ("module", "parameter")
        return name.removeprefix(f"{scope}.") if inside else name

    return {(short(link.source), short(link.target), str(link.kind)) for link in links}


@pytest.mark.parametrize("name", FLOWS)
def test_the_flow_is_that_of_the_code(name: str) -> None:
    module, args, kwargs = build(name)
    inspector = iv.Inspector(module)
    with torch.no_grad():
        inspector.forward(*args, **kwargs)
    for scope, text in FLOWS[name].items():
        assert traced(inspector.flow, scope) == read(text), scope


def test_the_table_names_modules_by_path_and_skips_no_operation() -> None:
    module, args, kwargs = build("llama")
    inspector = iv.Inspector(module)
    inspector.forward(*args, **kwargs)
    table = inspector.flow.frame()
    assert list(table.columns) == ["scope", "source", "target", "kind"]
    layer = table[table.scope == "model.layers.0"]
    ways = set(zip(layer.source, layer.target, strict=True))
    assert ("model.layers.0.mlp", "add_1") in ways
    assert ("model.layers.0.mlp", "output") not in ways


def test_attention_that_is_written_out_is_one_node() -> None:
    module, args, kwargs = build("llama")
    module.set_attn_implementation("eager")
    inspector = iv.Inspector(module)
    inspector.forward(*args, **kwargs)
    nodes, _ = inspector.flow.scopes["model.layers.0.self_attn"]
    (attention,) = [node for node in nodes if node.kind == "operation"]
    assert attention.name == "attention"
    assert {"matmul", "softmax"} <= set(attention.operations)


def test_experts_in_a_list_are_reached_from_the_router() -> None:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(4, 3)
            self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            best, out = self.router(x).argmax(-1), torch.zeros_like(x)
            for i, expert in enumerate(self.experts):
                rows = (best == i).nonzero(as_tuple=True)[0]
                out = out.index_add(0, rows, expert(x[rows]))
            return out

    inspector = iv.Inspector(Mixture())
    inspector.forward(torch.randn(6, 4))
    _, links = inspector.flow.scopes[""]
    reached = {"router"}
    for _ in links:
        reached |= {link.target for link in links if link.source in reached}
    assert {"experts.0", "experts.1", "experts.2", "output"} <= reached
    # each expert's result goes into the sum
    sums = {link.target for link in links if link.source.startswith("experts.")}
    assert sums == {"index_add"}


@pytest.mark.parametrize("name", ["llama", "qwen3_moe", "in_place"])
def test_no_tensor_is_kept_alive(name: str) -> None:
    module, args, kwargs = build(name)
    seen: list[weakref.ref[torch.Tensor]] = []
    handles = [
        m.register_forward_hook(lambda _m, _a, out: seen.append(weakref.ref(out)) if torch.is_tensor(out) else None)
        for m in module.modules()
    ]
    inspector = iv.Inspector(module)
    with torch.no_grad():
        result = inspector.forward(*args, **kwargs)
    for handle in handles:
        handle.remove()
    del result
    gc.collect()
    assert len(seen) > 3
    assert [ref for ref in seen if ref() is not None] == []


def test_a_tensor_of_a_number_that_another_had_is_not_taken_for_it() -> None:
    class Churn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(50):
                self.a(x)  # made and thrown away: its number is free again
                fresh = torch.ones(2, 2)
            return self.b(fresh)

    inspector = iv.Inspector(Churn())
    inspector.forward(torch.ones(1, 2))
    _, links = inspector.flow.scopes[""]
    assert [(link.source, link.target) for link in links if link.target == "b"] == []
