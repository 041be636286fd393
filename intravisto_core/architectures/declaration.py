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


class Order(Choice):
    """How a block adds p (`resid_pre`), a (`attn_out`), m (`mlp_out`); the order matters for bit-equality only."""

    PA_M = "(p+a)+m"
    AM_P = "(a+m)+p"
    MA_P = "(m+a)+p"


def _never(config: Any) -> bool:
    return False


def _no_reason(config: Any) -> str:
    return ""


def _one(config: Any) -> float:
    return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One family of transformers models. Paths in a layer are from the layer, the others from the trunk.

    attn_out, mlp_out: modules whose output (times `residual_multiplier`) is added to the stream. w_o, w_out: the
    projections into the stream, whose inputs are `z` and `act`. mid_reader: first module that reads `resid_mid`.
    attn_post_norm, mlp_post_norm: norms between projection and stream. norm_offset: what is added to the norms' stored
    scale (Gemma: 1). logit_scale: factor on the logits. soft_cap: config attribute of the final soft-cap.
    refuse: a reason why a config of this family cannot be shown rightly, or "".
    """

    family: str
    layers: str = "layers"
    final_norm: str = "norm"
    attention: str = "self_attn"
    w_o: str = "self_attn.o_proj"
    w_out: str = "mlp.down_proj"
    attn_out: str = "self_attn"
    mlp_out: str = "mlp"
    mid_reader: str = "post_attention_layernorm"
    attn_post_norm: str | None = None
    mlp_post_norm: str | None = None
    norm: NormKind = NormKind.RMS
    norm_offset: float = 0.0
    parallel: Callable[[Any], bool] = _never
    order: Order = Order.PA_M
    residual_multiplier: Callable[[Any], float] = _one
    logit_scale: Callable[[Any], float] = _one
    soft_cap: str = "final_logit_softcapping"
    refuse: Callable[[Any], str] = _no_reason
