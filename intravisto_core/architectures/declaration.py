"""What is declared of a family: paths of modules and the few facts that its code does not state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from intravisto_core.sites import Choice


class NormKind(Choice):
    """What a norm divides by, and whether it takes the mean off first."""

    RMS = "rms", "RMSNorm"
    LAYER = "layer", "LayerNorm"


class AttentionKind(Choice):
    """How queries, keys and values are reached: by transformers' attention interface, or inside a family's own code."""

    INTERFACE = "interface", "attention interface"
    GPT_NEO = "gpt_neo", "GPT-Neo"
    GPTJ = "gptj", "GPT-J"
    BLOOM = "bloom", "Bloom"
    FALCON = "falcon", "Falcon"
    MPT = "mpt", "MPT"


class Order(Choice):
    """How a block adds p (`resid_pre`), a (`attn_out`), m (`mlp_out`); the order matters for bit-equality only."""

    PA_M = "(p+a)+m"
    AM_P = "(a+m)+p"
    MA_P = "(m+a)+p"


def _never(config: Any) -> bool:
    return False


def _no_reason(config: Any) -> str:
    return ""


def _rotated(config: Any, layer: int) -> bool:
    flags = getattr(config, "no_rope_layers", None) or ()
    return bool(flags[layer]) if layer < len(flags) else True


def _eager(config: Any) -> str:
    return "eager"


def _one(config: Any) -> float:
    return 1.0


class Layout(Choice):
    """In which order one projection gives queries, keys and values."""

    CONCAT = "concat", "all queries, then all keys, then all values"
    BY_GROUP = "by_group", "for each kv head its queries, its key, its value"


@dataclass(frozen=True, slots=True)
class Fused:
    """One projection for queries, keys and values. path: from the attention."""

    path: str
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpPaths:
    """How an MLP reads the stream.

    norm: through which, from the layer; None where it reads the stream itself. gate, up, act: from the module that
    holds the last projection. gate: None in an MLP without one, and the same as `up` where one matrix holds the rows of
    the gate and then those of `up`. act: the activation function.
    """

    norm: str | Callable[[Any], str] | None = "post_attention_layernorm"
    gate: str | None = "gate_proj"
    up: str = "up_proj"
    act: str = "act_fn"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertPaths:
    """Where a mixture of experts is, from the layer.

    router: gives logits over the experts, alone or first. experts: holds their stacked matrices, and is given (what
    they read, ids, weights). shared: the MLP that every token goes through besides; shared_gate: gives one number whose
    sigmoid is its weight. w_out: the last projection of such an MLP, and of the ordinary one that some layers have in
    the mixture's place. interleaved: whether rows of gate and up take turns in the stacked matrix; else the gate's come
    first.
    """

    router: str = "mlp.gate"
    experts: str = "mlp.experts"
    shared: str | None = None
    shared_gate: str | None = None
    w_out: str = "down_proj"
    interleaved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One family of transformers models. Paths in a layer are from the layer, the others from the trunk.

    attention_kind: how q, k and v are reached. kernel: the stock attention that such a model is run with. attn_out,
    mlp_out: modules whose output (times `residual_multiplier`) is added to the stream. w_o, w_out: the projections
    into the stream, whose inputs are `z` and `act`; w_out is None in a mixture of experts, which `experts` tells.
    mlp: how the MLP reads.
    mid_reader: first module that reads `resid_mid`. attn_post_norm, mlp_post_norm: norms between projection and
    stream. norm_offset: what is added to the norms' stored scale (Gemma: 1). norm_eps: where the norms' code has it as
    a number. logit_scale: factor on the logits. soft_cap: config attribute of the final soft-cap. alibi: whether
    distance is penalised. rotated: whether a layer has rotary positions, in a family that has. attn_norm: through what
    attention reads the stream, from the layer; None where it reads the stream itself. queries, keys, values: what makes
    them, from the attention; or `fused`, one for all three. qk_norms: norms of queries and keys, from the attention,
    where the config asks for them. refuse: a reason why a config
    of this family cannot be shown rightly, or "". inferred: found by structure, not declared.
    """

    family: str
    layers: str = "layers"
    final_norm: str = "norm"
    attention: str = "self_attn"
    attention_kind: AttentionKind = AttentionKind.INTERFACE
    kernel: Callable[[Any], str] = _eager
    w_o: str = "self_attn.o_proj"
    w_out: str | None = "mlp.down_proj"
    experts: ExpertPaths | None = None
    attn_out: str = "self_attn"
    mlp_out: str = "mlp"
    mlp: MlpPaths = MlpPaths()
    mid_reader: str = "post_attention_layernorm"
    attn_post_norm: str | None = None
    mlp_post_norm: str | None = None
    norm: NormKind = NormKind.RMS
    norm_offset: float = 0.0
    norm_eps: float | None = None
    parallel: Callable[[Any], bool] = _never
    order: Order | Callable[[Any], Order] = Order.PA_M
    residual_multiplier: Callable[[Any], float] = _one
    logit_scale: Callable[[Any], float] = _one
    soft_cap: str = "final_logit_softcapping"
    alibi: Callable[[Any], bool] = _never
    rotated: Callable[[Any, int], bool] = _rotated
    attn_norm: str | Callable[[Any], str] | None = "input_layernorm"
    queries: str = "q_proj"
    keys: str = "k_proj"
    values: str = "v_proj"
    fused: Fused | None = None
    qk_norms: tuple[str, str] = ("q_norm", "k_norm")
    refuse: Callable[[Any], str] = _no_reason
    inferred: bool = False
