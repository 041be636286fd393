"""A family that nobody declared: its parts by the usual names, and by what adds up in one small run.

The guess is held to the same identities as a declaration; what does not fit is refused there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from intravisto_core.architectures import Architecture, ExpertPaths, Fused, Layout, MlpPaths, NormKind, Order, trunk_of
from intravisto_core.errors import ModelError
from intravisto_core.inspection.hooks import Handles, Visit, on_input, on_output
from intravisto_core.models.norms import NormFormula
from intravisto_core.models.weights import parameter

LAYERS = ("layers", "h", "blocks", "decoder.layers")
FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "layer_norm")
ATTENTIONS = ("self_attn", "attn", "attention", "self_attention")
MLPS = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe")
W_OS = ("o_proj", "out_proj", "dense", "c_proj", "wo")
W_OUTS = ("down_proj", "c_proj", "fc2", "dense_4h_to_h", "fc_out", "w2", "dense")
FUSED = {
    "c_attn": Layout.CONCAT,
    "qkv_proj": Layout.CONCAT,
    "Wqkv": Layout.CONCAT,
    "query_key_value": Layout.BY_GROUP,
}
QK_NORMS = (("q_norm", "k_norm"), ("q_layernorm", "k_layernorm"))
JOINED = ("gate_up_proj",)
UPS = ("up_proj", *JOINED, "c_fc", "fc1", "dense_h_to_4h", "fc_in")
GATES = ("gate_proj",)
ACTS = ("act_fn", "activation_fn", "act")
ROUTERS = ("gate", "router")
SHARED = ("shared_expert", "shared_experts", "shared_mlp")
SHARED_GATES = ("shared_expert_gate",)
ALLOWED = 2e-2
N_PROBE = 8


def infer(network: PreTrainedModel) -> Architecture:
    """The declaration that such a model seems to need, marked as inferred.

    Raises:
        ModelError: a part has none of the usual names, or nothing that is found adds up to the stream.
    """
    config, trunk = network.config.get_text_config(), trunk_of(network)
    family = str(config.model_type)
    layers = _named(trunk, LAYERS, family, "layers")
    last = list(trunk.get_submodule(layers).children())[-1]
    attention, mlp = _named(last, ATTENTIONS, family, "attention"), _named(last, MLPS, family, "MLP")
    w_o = _named(last.get_submodule(attention), W_OS, family, "output projection of attention")
    w_out = _first(last.get_submodule(mlp), W_OUTS)
    bare = Architecture(
        family=family,
        layers=layers,
        final_norm=_named(trunk, FINAL_NORMS, family, "final norm"),
        attention=attention,
        w_o=f"{attention}.{w_o}",
        w_out=w_out and f"{mlp}.{w_out}",
        experts=None if w_out else _experts(last.get_submodule(mlp), mlp),
        attn_out=attention,
        mlp_out=mlp,
        residual_multiplier=lambda config: float(getattr(config, "residual_multiplier", 1.0)),
        logit_scale=_logit_scale,
        inferred=True,
    )
    bare = _with_norm(bare, trunk.get_submodule(bare.final_norm), int(config.hidden_size))
    seen = _probe(network, last)
    found = _with_sums(bare, seen, attention, mlp, bare.residual_multiplier(config))
    found = _with_reader(found, last.get_submodule(attention), seen)
    return _with_mlp(found, last, mlp, seen)


def _with_reader(architecture: Architecture, attention: nn.Module, seen: _Seen) -> Architecture:
    """How attention reads the stream: the norm whose output it is given, its projections, its norms."""
    given, names = seen.inputs[architecture.attention], set(dict(attention.named_children()))
    fused = next((Fused(name, layout) for name, layout in FUSED.items() if name in names), None)
    norm = _source(given, seen, architecture.attention)
    pairs = (pair for pair in QK_NORMS if pair[0] in names)
    return replace(architecture, fused=fused, attn_norm=norm, qk_norms=next(pairs, architecture.qk_norms))


def _with_mlp(architecture: Architecture, layer: nn.Module, mlp: str, seen: _Seen) -> Architecture:
    """How the MLP reads the stream: the norm whose output it is given, its first projections, its activation."""
    path = architecture.w_out
    if path is None and architecture.experts is not None:
        path = f"{architecture.experts.shared or mlp}.{architecture.experts.w_out}"
    holder = layer.get_submodule(mlp if path is None else path.rpartition(".")[0])
    names = [name for name, _ in holder.named_children()]
    norm, usual = _source(seen.inputs[mlp], seen, mlp), architecture.mlp
    up = next((name for name in UPS if name in names), None)
    if up is None:
        return replace(architecture, mlp=replace(usual, norm=norm))
    gate = up if up in JOINED else next((name for name in GATES if name in names), None)
    act = next((name for name in ACTS if name in names), usual.act)
    return replace(architecture, mlp=MlpPaths(norm=norm, gate=gate, up=up, act=act))


def _source(given: Tensor, seen: _Seen, reader: str) -> str | None:
    """The part whose output a part is given as it is."""
    return next((name for name, x in seen.outputs.items() if name != reader and _distance(given, x) == 0), None)


def _first(root: nn.Module, names: tuple[str, ...]) -> str | None:
    known = dict(root.named_modules())
    return next((name for name in names if name in known), None)


def _named(root: nn.Module, names: tuple[str, ...], family: str, what: str) -> str:
    found = _first(root, names)
    if found is None:
        raise ModelError(
            f"{family}: this family is not declared, and for its {what} none of the usual names was found "
            f"({', '.join(names)}). Declare it, or choose another model"
        )
    return found


def _experts(mlp: nn.Module, path: str) -> ExpertPaths | None:
    """Where a mixture of experts has its parts, or None where they are not of the usual kind."""
    router, shared, gate = (_first(mlp, names) for names in (ROUTERS, SHARED, SHARED_GATES))
    experts = dict(mlp.named_children()).get("experts")
    if router is None or not hasattr(experts, "_apply_gate"):
        return None
    w_out = _first(mlp.get_submodule(shared), W_OUTS) if shared else None
    return ExpertPaths(
        router=f"{path}.{router}",
        experts=f"{path}.experts",
        shared=shared and f"{path}.{shared}",
        shared_gate=gate and f"{path}.{gate}",
        w_out=w_out or "down_proj",
    )


def _logit_scale(config: Any) -> float:
    if divisor := getattr(config, "logits_scaling", None):
        return 1.0 / float(divisor)
    return float(getattr(config, "logit_scale", None) or 1.0)


def _with_norm(architecture: Architecture, norm: nn.Module, d_model: int) -> Architecture:
    """The formula that a norm follows on random vectors; where none fits, the self-check will say so."""
    own = next((parameter(norm, name) for name, _ in norm.named_parameters(recurse=False)), None)
    x = 3 * torch.randn((N_PROBE, d_model), dtype=torch.float32, generator=torch.Generator().manual_seed(0)) + 1
    x = x if own is None else x.to(own.device, own.dtype)
    wanted = norm(x).float()
    for kind, offset in product(NormKind, (0.0, 1.0)):
        tried = replace(architecture, norm=kind, norm_offset=offset)
        if _distance(NormFormula.of(norm, tried)(x.float()), wanted) <= ALLOWED:
            return tried
    return architecture


@dataclass(slots=True)
class _Seen:
    """What went through one layer: its input and output, and first inputs and outputs of its parts, (T, d) each."""

    before: Tensor = field(default_factory=lambda: torch.empty(0))
    after: Tensor = field(default_factory=lambda: torch.empty(0))
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def _probe(network: PreTrainedModel, layer: nn.Module) -> _Seen:
    run: Any = network
    seen, device = _Seen(), network.device
    try:
        with _watching(layer, seen):
            run(input_ids=torch.arange(3, 3 + N_PROBE, device=device)[None], use_cache=False)
    except (RuntimeError, KeyError, IndexError, AttributeError, TypeError) as error:
        family = network.config.model_type
        raise ModelError(
            f"{family}: this family is not declared, and a small run to find its parts failed ({error}). "
            "Check that config.json and the weights belong together, or choose another model"
        ) from error
    return seen


@contextmanager
def _watching(layer: nn.Module, seen: _Seen) -> Iterator[None]:
    def keep(kept: dict[str, Tensor], name: str) -> Visit:
        def visit(x: Tensor) -> None:
            kept[name] = _rows(x)

        return visit

    def enter(x: Tensor) -> None:
        seen.before = _rows(x)

    def leave(x: Tensor) -> None:
        seen.after = _rows(x)

    with Handles([on_input(layer, enter), on_output(layer, leave)]) as handles:
        for name, module in layer.named_children():
            handles.extend([on_input(module, keep(seen.inputs, name)), on_output(module, keep(seen.outputs, name))])
        yield


def _rows(x: Tensor) -> Tensor:
    return x.detach().clone().reshape(-1, x.shape[-1])


def _distance(actual: Tensor, wanted: Tensor) -> float:
    if actual.shape != wanted.shape:
        return float("inf")
    return float(((actual.float() - wanted.float()).norm(dim=-1) / wanted.float().norm(dim=-1)).max())


def _with_sums(architecture: Architecture, seen: _Seen, attention: str, mlp: str, multiplier: float) -> Architecture:
    """Which outputs add up to the stream, in which order, and who reads the middle; nobody in a parallel block."""
    norms = [name for name in seen.outputs if "norm" in name or name.startswith("ln")]
    outputs = {name: x * multiplier if multiplier != 1.0 else x for name, x in seen.outputs.items()}

    def miss(pair: tuple[str, str]) -> float:
        first, second = outputs[pair[0]], outputs[pair[1]]
        if first.shape != seen.before.shape or second.shape != seen.before.shape:
            return float("inf")
        return _distance(seen.before + first + second, seen.after)

    pairs = [p for p in product((attention, *norms), (mlp, *norms)) if p[0] != p[1] and set(p) <= set(outputs)]
    attn_out, mlp_out = best = min(pairs, key=miss)
    if miss(best) > ALLOWED:
        raise ModelError(
            f"{architecture.family}: this family is not declared, and nothing found in its blocks adds up to the "
            f"stream (nearest: {attn_out} and {mlp_out}, error {miss(best):.1e}). Declare it, or choose another model"
        )
    a, m, p = outputs[attn_out], outputs[mlp_out], seen.before
    readers = {name: _distance(x, p + a) for name, x in seen.inputs.items() if name != attention}
    reader = min(readers, key=lambda name: readers[name])
    serial = readers[reader] <= ALLOWED and readers[reader] < _distance(seen.inputs[reader], p)
    bitwise = torch.equal((p + a) + m, seen.after)
    return replace(
        architecture,
        attn_out=attn_out,
        mlp_out=mlp_out,
        attn_post_norm=None if attn_out == attention else attn_out,
        mlp_post_norm=None if mlp_out == mlp else mlp_out,
        mid_reader=reader,
        parallel=lambda config: not serial,
        order=Order.PA_M if bitwise or serial else Order.AM_P,
    )
