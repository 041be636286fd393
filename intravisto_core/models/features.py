"""What is particular about a model, in plain words for its card: from config, declaration and modules."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

from intravisto_core.models.loaded import LoadedModel

_QK_NORM = re.compile(r"(q|k|qk|query|key)_?(layer_?)?norm$")


def features(model: LoadedModel) -> tuple[str, ...]:
    """Each as a short phrase: how it came about, then those of attention first."""
    attention = (*_heads(model), *_windows(model), *_scores(model), *_positions(model))
    return (*attention, *_mlp(model), *_stream(model))


def _heads(model: LoadedModel) -> Iterator[str]:
    size = model.dimensions
    if size.n_kv_heads == 1 < size.n_heads:
        yield f"multi-query attention: one key and value head for all {size.n_heads} heads"
    elif size.n_kv_heads < size.n_heads:
        yield f"grouped-query attention: {size.n_heads // size.n_kv_heads} heads share a key and value head"


def _windows(model: LoadedModel) -> Iterator[str]:
    config, n_layers = model.config, model.dimensions.n_layers
    for kind, name, words in (
        ("sliding_attention", "sliding_window", "sliding window"),
        ("chunked_attention", "attention_chunk_size", "attention in chunks"),
        ("local", "window_size", "sliding window"),
    ):
        width = getattr(config, name, None)
        kinds = getattr(config, "layer_types", None) or getattr(config, "attention_layers", None)
        n = n_layers if kinds is None else list(kinds).count(kind)
        if width and n:
            yield f"{words} of {width:,} positions in {_of(n, n_layers)}"


def _of(n: int, n_layers: int) -> str:
    return "every layer" if n == n_layers else f"{n} of {n_layers} layers"


def _scores(model: LoadedModel) -> Iterator[str]:
    config, attention = model.config, model.blueprint.blocks[0].attention
    if any(_QK_NORM.search(name) for name, _ in attention.named_modules()):
        yield "norms on queries and keys"
    limit = getattr(config, "clip_qkv", None) or getattr(getattr(config, "attn_config", None), "clip_qkv", None)
    if limit:
        yield f"queries, keys and values clipped at ±{limit:g}"
    if cap := getattr(config, "attn_logit_softcapping", None):
        yield f"attention scores soft-capped at {cap:g}"
    if any(getattr(b.attention, "sinks", None) is not None for b in model.blueprint.blocks):
        yield "learned attention sinks: rows of attention sum to less than 1"


def _positions(model: LoadedModel) -> Iterator[str]:
    config, n_layers = model.config, model.dimensions.n_layers
    if model.blueprint.architecture.alibi(config):
        yield "ALiBi: a penalty on distance instead of positions"
    elif any(isinstance(m, nn.Embedding) and m is not model.blueprint.embed for m in model.blueprint.trunk.modules()):
        yield "learned positions"
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [v for v in rope.values() if isinstance(v, dict)] or [rope]
    d_head = model.dimensions.d_head
    turned = getattr(config, "rotary_dim", None) or int(d_head * kinds[0].get("partial_rotary_factor", 1.0))
    if turned < d_head:
        yield f"partial rotary positions: {turned} of {d_head} numbers of a head"
    scaled = {k.get("rope_type", "default") for k in kinds} - {"default"}
    for kind in sorted(scaled):
        context = model.dimensions.context
        end = f"; shown up to {context:,} positions" if kind in ("dynamic", "longrope") and context else ""
        yield f"rotary positions scaled ({kind}){end}"
    rotated = model.blueprint.architecture.rotated
    if bare := sum(not rotated(config, layer) for layer in range(n_layers)):
        yield f"no rotary positions in {_of(bare, n_layers)}"


def _mlp(model: LoadedModel) -> Iterator[str]:
    mixed = [b.experts for b in model.blueprint.blocks if b.experts is not None and b.experts.n_routed]
    each, n = getattr(model.config, "num_experts_per_tok", None), getattr(model.config, "num_local_experts", None)
    if not mixed:
        if n and model.blueprint.architecture.w_out is None:
            yield f"mixture of {n} experts in some layers: {each} for each token"
        return
    shared = ", and a shared one" if mixed[0].shared_w_out is not None else ""
    where = _of(len(mixed), model.dimensions.n_layers)
    yield f"mixture of {mixed[0].n_routed} experts in {where}: {each} for each token{shared}"


def _stream(model: LoadedModel) -> Iterator[str]:
    blueprint, config = model.blueprint, model.config
    if model.weights.tied:
        yield "one table for input and output"
    scale = getattr(config, "embedding_multiplier", None) or getattr(blueprint.embed, "embed_scale", None)
    if scale is not None and float(scale) != 1.0:
        yield f"embeddings times {float(scale):.3g}"
    if any("embed" in n and "norm" in n for n, _ in blueprint.trunk.named_children()):
        yield "norm on the embeddings"
    if blueprint.blocks[0].attn_post_norm is not None:
        yield "norms between attention, MLP and the stream"
    if blueprint.multiplier != 1.0:
        yield f"updates of the stream times {blueprint.multiplier:.3g}"
    if blueprint.logit_scale != 1.0:
        yield f"logits times {blueprint.logit_scale:.3g}"
    if blueprint.soft_cap:
        yield f"logits soft-capped at {blueprint.soft_cap:g}"
    if model.network.config is not config:
        yield f"the text model inside {model.network.config.model_type}: images are left out"
