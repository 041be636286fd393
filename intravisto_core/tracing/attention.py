"""Attention that is captured: q, k and v are kept, and the family's own eager function does the work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from intravisto_core.architectures import AttentionKind
from intravisto_core.errors import ModelError, TraceError
from intravisto_core.models import LoadedModel
from intravisto_core.tracing.adapters import listen
from intravisto_core.tracing.capture import BY_HEAD
from intravisto_core.tracing.sink import AttentionCall, Sink
from intravisto_core.tracing.trace_data import AttentionFacts

ATTENTION_NAME = "intravisto"

_sink: ContextVar[Sink | None] = ContextVar("intravisto_capture_sink", default=None)


def _traced_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    sink = _sink.get()
    if sink is not None:
        layer = int(cast(int, module.layer_idx))
        query, key, value = sink.change_heads(layer, query, key, value)
        if not sink.wanted.isdisjoint(BY_HEAD):
            facts = _read_facts(module, query.shape[-1], options)
            sink.attention(layer, AttentionCall(query, key, value, attention_mask, facts))
        attention_mask = sink.masked(layer, attention_mask, query, key.shape[2])
    eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if eager is None:
        raise TraceError(f"attention: expected {type(module).__name__} to have an eager function of its own")
    out: tuple[Tensor, Tensor | None] = eager(module, query, key, value, attention_mask, **options)
    return out


def _read_facts(module: nn.Module, d_head: int, options: dict[str, Any]) -> AttentionFacts:
    """What the scores are computed with, as the attention function is given it."""
    sinks, scaling = options.get("s_aux", getattr(module, "sinks", None)), options.get("scaling")
    return AttentionFacts(
        scaling=float(d_head**-0.5 if scaling is None else scaling),
        soft_cap=float(options.get("softcap") or 0.0),
        sinks=None if sinks is None else sinks.detach(),
    )


# Without the matching mask function a model runs non-causally, without a word.
AttentionInterface.register(ATTENTION_NAME, _traced_attention)
AttentionMaskInterface.register(ATTENTION_NAME, eager_mask)


def use_traced_attention(model: LoadedModel) -> None:
    """Send a model's attention through the capture.

    Raises:
        ModelError: transformers did not take it, so nothing could be captured.
    """
    architecture, network = model.blueprint.architecture, model.network
    if architecture.attention_kind is not AttentionKind.INTERFACE:
        try:
            for layer, block in enumerate(model.blueprint.blocks):
                listen(architecture.attention_kind, block.attention, layer, _sink.get)
        except AttributeError as error:
            raise ModelError(
                f"attention: expected code like {architecture.attention_kind.label}'s; {error}. "
                "The declaration does not fit this model"
            ) from error
        return
    network.set_attn_implementation(ATTENTION_NAME)
    if network.config._attn_implementation != ATTENTION_NAME:
        raise ModelError(
            f"attention: expected {type(network).__name__} to take a custom attention function; "
            f"it stays with {network.config._attn_implementation!r}"
        )


@contextmanager
def captured_by(sink: Sink) -> Iterator[None]:
    """Attention calls of this thread go to that sink."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)
