"""Requests as canonical JSON, and back."""

from __future__ import annotations

import dataclasses
import json
from enum import Enum
from typing import Any, get_args

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.checks import Span
from intravisto_core.request.effects import DirectionRequest, EffectView, Link
from intravisto_core.request.interventions import Intervention, PromptSet
from intravisto_core.request.model import ModelSpec
from intravisto_core.request.positions import Generated
from intravisto_core.request.run import Generation, TraceRequest
from intravisto_core.request.tensors import TensorRef
from intravisto_core.request.views import ViewRequest

KINDS: dict[str, type] = {
    c.__name__: c
    for c in (
        *(ModelSpec, TraceRequest, Generation, Span, Generated, PromptSet, TensorRef, DirectionRequest, Link),
        *(*get_args(Intervention), *get_args(EffectView), *get_args(ViewRequest)),
    )
}


def to_json(request: Any) -> str:
    """The canonical JSON of a request: the same request gives the same text, on every machine."""
    return json.dumps(_plain(request), sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Any:
    """The request that `to_json` wrote.

    Raises:
        RequestError: the text is not JSON, or not of a kind that is known.
    """
    try:
        body = json.loads(text)
        if not isinstance(body, dict):
            raise ValueError
        return _built(body)
    except (ValueError, KeyError, TypeError, AttributeError):
        allowed = "JSON of a known kind: " + ", ".join(KINDS)
        raise RequestError(expected("request", allowed, text[:80])) from None


def _plain(value: Any) -> Any:
    """Dataclasses as objects that name their kind, tuples as lists; what travels beside is left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = (f.name for f in dataclasses.fields(value) if not f.metadata.get("beside"))
        fields = {name: _plain(getattr(value, name)) for name in named}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, Enum):
        return value.value
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def _built(value: Any) -> Any:
    if isinstance(value, dict):
        fields = {name: _built(v) for name, v in value.items() if name != "kind"}
        return KINDS[value["kind"]](**fields)
    return tuple(_built(v) for v in value) if isinstance(value, list) else value
