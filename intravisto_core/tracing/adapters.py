"""Families whose attention is code of their own: queries, keys and values are caught on their way through it.

What is put on a module stays there for the life of the model and only looks for a sink, as the attention function of
the other families does: runs that take turns on one model could not take each other's wrappers off in order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from intravisto_core.architectures import AttentionKind
from intravisto_core.tracing.sink import AttentionCall, Sink
from intravisto_core.tracing.trace_data import AttentionFacts

FindSink = Callable[[], Sink | None]


def listen(kind: AttentionKind, attention: nn.Module, layer: int, find_sink: FindSink) -> None:
    """Catch what passes through one attention module, once for the life of the model."""
    if "_intravisto" in attention.__dict__:
        return
    attention.__dict__["_intravisto"] = True
    _ADAPTERS[kind](attention, layer, find_sink)


def _listen_scores(attention: Any, layer: int, find_sink: FindSink) -> None:
    """GPT-Neo, GPT-J: `_attn` is given q, k and v, and computes the scores in float32."""
    scaling = 1.0 / float(getattr(attention, "scale_attn", 1.0))
    facts, inner = AttentionFacts(scaling, in_float32=True), attention._attn

    def scores(query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None) -> Any:
        sink = find_sink()
        if sink is not None:
            query, key, value = sink.change_heads(layer, query, key, value)
            seen = _seen(attention_mask, query.shape[2], key.shape[2], query.device)
            # GPT-Neo keeps its local window in a buffer, not in the mask.
            if hasattr(attention, "layer_id"):
                seen = seen & attention.bias[:, :, key.shape[2] - query.shape[2] : key.shape[2], : key.shape[2]]
            sink.attention(layer, AttentionCall(query, key, value, seen, facts))
            attention_mask = sink.masked(layer, attention_mask, query, key.shape[2], seen)
        return inner(query, key, value, attention_mask)

    attention._attn = scores


def _seen(mask: Tensor | None, n_query: int, n_key: int, device: torch.device) -> Tensor:
    """An additive mask (1, heads or 1, q, k) as the keys that are seen (1, 1, q, k); ALiBi may be in it already."""
    if mask is None:
        return torch.ones((1, 1, n_query, n_key), dtype=torch.bool, device=device)
    return mask[:, :1] > torch.finfo(mask.dtype).min / 2


class _Call:
    """What one call of an attention module is given besides the hidden states; let go of when it was read.

    The call itself gets the mask with the edges hidden that an edit cuts.
    """

    NAMES = ("alibi", "attention_mask", "position_bias", "position_embeddings")

    def __init__(self, attention: nn.Module, layer: int, find_sink: FindSink) -> None:
        self._given: dict[str, Any] = {}
        self._layer, self._find_sink = layer, find_sink
        attention.register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        sink = self._find_sink()
        if sink is None:
            return None
        self._given = {name: kwargs.get(name) for name in self.NAMES}
        mask, hidden = kwargs.get("attention_mask"), args[0] if args else kwargs["hidden_states"]
        n_key = sink.stop if mask is None else mask.shape[3]
        new = sink.masked(self._layer, mask, hidden[:, None], n_key)
        return None if new is mask else (args, {**kwargs, "attention_mask": new})

    def take(self) -> dict[str, Any]:
        given, self._given = self._given, {}
        return given


def _listen_bloom(attention: Any, layer: int, find_sink: FindSink) -> None:
    """Bloom: `_reshape` makes q, k and v; ALiBi (H, 1, keys) is added to the scores."""
    call, inner, scaling = _Call(attention, layer, find_sink), attention._reshape, float(attention.inv_norm_factor)

    def reshape(fused: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = inner(fused)
        sink = find_sink()
        if sink is not None:
            given = call.take()
            facts = AttentionFacts(scaling, key_bias=given["alibi"][:, 0])
            seen = _seen(given["attention_mask"], query.shape[2], sink.stop, query.device)
            sink.attention(layer, AttentionCall(query, key, value, seen, facts, n_key=sink.stop))
        return query, key, value

    attention._reshape = reshape


def _listen_mpt(attention: Any, layer: int, find_sink: FindSink) -> None:
    """MPT: `Wqkv` makes q, k and v, clipped by config; the bias (H, 1, context) is aligned to the last key."""
    call, scaling, limit = _Call(attention, layer, find_sink), float(attention.softmax_scale), attention.clip_qkv

    def split(_: nn.Module, args: tuple[Any, ...], fused: Tensor) -> None:
        sink = find_sink()
        if sink is None:
            return
        if limit:
            fused = fused.clamp(-limit, limit)
        query, key, value = (
            part.unflatten(2, (attention.n_heads, attention.head_dim)).transpose(1, 2) for part in fused.chunk(3, 2)
        )
        given = call.take()
        facts = AttentionFacts(scaling, key_bias=given["position_bias"][:, 0, -sink.stop :])
        hidden = given["attention_mask"]
        seen = None if hidden is None else ~hidden
        sink.attention(layer, AttentionCall(query, key, value, seen, facts, n_key=sink.stop))

    attention.Wqkv.register_forward_hook(split)


def _listen_falcon(attention: Any, layer: int, find_sink: FindSink) -> None:
    """Falcon: `_split_heads` makes q, k and v before RoPE, in the new decoder with k and v repeated for every head."""
    call, inner, scaling = _Call(attention, layer, find_sink), attention._split_heads, float(attention.inv_norm_factor)
    rotate = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    repeated = attention.num_heads // attention.num_kv_heads if attention.new_decoder_architecture else 1

    def split_heads(fused: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        made: tuple[Tensor, Tensor, Tensor] = inner(fused)
        sink = find_sink()
        if sink is not None:
            query, key, value = (x.transpose(1, 2) for x in made)
            given = call.take()
            alibi = given["alibi"]
            if alibi is None:
                query, key = rotate(query, key, *given["position_embeddings"])
            bias = None if alibi is None else alibi[:, :, 0].flatten(0, 1) * scaling
            seen = _seen(given["attention_mask"], query.shape[2], sink.stop, query.device)
            facts = AttentionFacts(scaling, key_bias=bias)
            key, value = key[:, ::repeated], value[:, ::repeated]
            sink.attention(layer, AttentionCall(query, key, value, seen, facts, n_key=sink.stop))
        return made

    attention._split_heads = split_heads


_ADAPTERS: dict[AttentionKind, Callable[[Any, int, FindSink], None]] = {
    AttentionKind.GPT_NEO: _listen_scores,
    AttentionKind.GPTJ: _listen_scores,
    AttentionKind.BLOOM: _listen_bloom,
    AttentionKind.MPT: _listen_mpt,
    AttentionKind.FALCON: _listen_falcon,
}
