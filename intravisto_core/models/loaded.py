"""A loaded model with everything that analysis and tracing read from it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from intravisto_core.architectures import Blueprint, ExpertModules
from intravisto_core.models.norms import NormFormula
from intravisto_core.models.weights import Weights
from intravisto_core.request import ModelSpec
from intravisto_core.tokens import TokenReader


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Sizes of a model (docs/methods.md §1). d_mlp: 0 in a mixture of experts; context: 0 where none is stated."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_value: int
    d_mlp: int
    d_vocab: int
    context: int


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model in memory.

    read_digest: gives a hash of the files, waiting for it where they are still read for it. computes_in: dtype, packing
    and device. device: where inputs go and captures are kept. dtype: its own, which packed matrices compute in.
    scratch: holds weights that left memory. notes: what a reader should know of the files that it came from.
    look_closer: reads more of these, which takes a while.
    """

    spec: ModelSpec
    name: str
    read_digest: Callable[[], str]
    computes_in: str
    network: PreTrainedModel
    tokenizer: Any
    blueprint: Blueprint
    dimensions: Dimensions
    weights: Weights
    norm: NormFormula
    reader: TokenReader
    device: torch.device
    dtype: torch.dtype
    quantisation: str | None = None
    scratch: TemporaryDirectory[str] | None = None
    notes: tuple[str, ...] = ()
    look_closer: Callable[[], tuple[str, ...]] = tuple

    @property
    def resolved(self) -> str:
        """Names the exact weights, dtype and device: the part of a fingerprint that the model gives."""
        return f"{self.read_digest()}:{self.computes_in}"

    @property
    def offloaded(self) -> bool:
        """Whether some weights are fetched from host memory or disk at every call."""
        return self.scratch is not None

    @property
    def config(self) -> Any:
        """Its config; of a composite (images and text) that of the text model inside."""
        return self.network.config.get_text_config()

    def cached(self, past: DynamicCache | None) -> dict[str, Any]:
        """The arguments of a call that goes on from a cache of keys and values and adds to it; without one, of a call
        that keeps none.
        """
        return {_name_cache(type(self.network).forward): past, "use_cache": past is not None}

    def final_state(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The model's own final norm, in its dtype, given in float32 where x is."""
        out: Tensor = self.blueprint.final_norm(x.to(self.dtype))
        return out.float().to(x.device)

    def cap(self, logits: Float[Tensor, "*n V"]) -> Float[Tensor, "*n V"]:
        """The model's logit scale, then its soft-cap (docs/methods.md §1)."""
        if self.blueprint.logit_scale != 1.0:
            logits = logits * self.blueprint.logit_scale
        limit = self.blueprint.soft_cap
        return torch.tanh(logits / limit) * limit if limit else logits

    def logits(self, final_stream: Float[Tensor, "n d"]) -> Float[Tensor, "n V"]:
        """The model's logits from `resid_post[L−1]`, by its own norm and head in its own dtype; float32."""
        raw: Tensor = self.blueprint.unembed(self.blueprint.final_norm(final_stream.to(self.dtype)))
        return self.cap(raw).float().to(final_stream.device)

    def gated(self, layer: int, x: Float[Tensor, "n two_d"]) -> Float[Tensor, "n d_expert"]:
        """Gate and activation function of a block's routed experts, by their own code, on what `expert_in` gives."""
        experts: Any = cast(ExpertModules, self.blueprint.blocks[layer].experts).experts
        out: Tensor = experts._apply_gate(x) if experts.has_gate else experts.act_fn(x)
        return out

    def fingerprint(self, request: str) -> str:
        """A hash of a canonical request on this model."""
        return hashlib.sha256(f"{self.resolved}\n{request}".encode()).hexdigest()[:32]


@cache
def _name_cache(forward: Callable[..., Any]) -> str:
    """What this function of a model calls the cache that it is given: transformers gave it a shorter name in 5.24."""
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"


def count_heads(network: PreTrainedModel, blueprint: Blueprint) -> tuple[int, int]:
    """Query heads and kv heads, from the config or the attention module."""
    config, attention = network.config.get_text_config(), blueprint.blocks[0].attention
    n_heads = int(config.num_attention_heads)
    kv_heads = getattr(config, "num_key_value_heads", None) or getattr(attention, "num_kv_heads", None)
    return n_heads, int(kv_heads or n_heads)


def measure(network: PreTrainedModel, blueprint: Blueprint, weights: Weights) -> Dimensions:
    """Read the sizes from config and weights."""
    config = network.config.get_text_config()
    n_heads, n_kv_heads = count_heads(network, blueprint)
    d_model = int(config.hidden_size)
    attention = blueprint.blocks[0].attention
    d_head = getattr(config, "head_dim", None) or getattr(attention, "head_dim", 0)
    return Dimensions(
        n_layers=len(blueprint.blocks),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_model=d_model,
        d_head=int(d_head or d_model // n_heads),
        d_value=weights.shape("w_o.0")[1] // n_heads,
        d_mlp=0 if blueprint.architecture.w_out is None else weights.shape("w_out.0")[1],
        d_vocab=weights.n_rows("unembed"),
        context=exact_context(config),
    )


def exact_context(config: Any) -> int:
    """How long a text may be: the model's context, or less where RoPE's frequencies change with the text's length.

    Beyond that length a run over the cache differs from a fresh one, and one run changes the next one's numbers.
    """
    stated = (getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len"))
    context = next((int(n) for n in stated if n), 0)
    rope = getattr(config, "rope_parameters", None) or {}
    for kind in (rope, *(v for v in rope.values() if isinstance(v, dict))):
        if kind.get("rope_type") == "longrope":
            before = kind.get("original_max_position_embeddings") or context
            context = min(context, int(before)) if context else int(before)
    return context
