"""Requests as canonical JSON, and back."""

from __future__ import annotations

import dataclasses
import json
from enum import Enum
from functools import cache
from typing import Any, get_args

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.architecture import ModuleBlock
from intravisto_core.request.attention import AttentionRequest
from intravisto_core.request.checks import Span
from intravisto_core.request.circuits import CircuitRequest
from intravisto_core.request.claims import ClaimRequest
from intravisto_core.request.effects import DirectionRequest, EffectView, Link
from intravisto_core.request.functions import Apply
from intravisto_core.request.interventions import PromptSet, Written
from intravisto_core.request.layer import ActiveTextsRequest
from intravisto_core.request.measures import MeasureTestRequest
from intravisto_core.request.model import ModelSpec
from intravisto_core.request.patching import Corruption, PatchingRequest, PathPatchingRequest
from intravisto_core.request.positions import Generated
from intravisto_core.request.run import Generation, TraceBatch, TraceRequest
from intravisto_core.request.saliency import GradientRequest
from intravisto_core.request.sweep import SweepRequest
from intravisto_core.request.tensor_refs import TensorRef
from intravisto_core.request.vectors import DecodeRequest, ModuleRequest
from intravisto_core.request.views import ViewRequest

KINDS: dict[str, type] = {
    c.__name__: c
    for c in (
        *(ModelSpec, TraceRequest, Generation, Span, Generated, PromptSet, TensorRef, DirectionRequest, Link),
        ModuleBlock,
        *(DecodeRequest, ModuleRequest, TraceBatch, ActiveTextsRequest),
        *(*get_args(Written), *get_args(EffectView), *get_args(ViewRequest), *get_args(GradientRequest)),
        *get_args(AttentionRequest),
        *(CircuitRequest, MeasureTestRequest, *get_args(ClaimRequest)),
        *(PatchingRequest, PathPatchingRequest, *get_args(Corruption), SweepRequest),
    )
}


def to_json(request: Any) -> str:
    """The canonical JSON of a request: the same request gives the same text, on every machine.

    Raises:
        RequestError: it holds a function (`Apply`), which cannot leave this process.
    """
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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        allowed = "JSON of a known kind: " + ", ".join(KINDS)
        got = text[:80] if isinstance(text, str) else type(text).__name__
        raise RequestError(expected("request", allowed, got)) from None


def _plain(value: Any) -> Any:
    """Dataclasses as objects that name their kind, tuples as lists; what travels beside is left out."""
    if value is None or isinstance(value, int | float) or type(value) is str:
        return value
    if isinstance(value, Apply):
        raise RequestError(
            f"Apply: expected a request that can be written and sent; the function {value.name} cannot leave this "
            "process. Run it on a model that is open here, or use an intervention without a function, such as SetValue"
        )
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {name: _plain(getattr(value, name)) for name in _written_fields(type(value))}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, Enum):
        return value.value
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


@cache
def _written_fields(kind: Any) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind) if not f.metadata.get("beside"))


def _built(value: Any) -> Any:
    if isinstance(value, dict):
        kind = KINDS[value["kind"]]
        fields = {name: _built(v) for name, v in value.items() if name != "kind"}
        if any(f.name in fields and f.metadata.get("beside") for f in dataclasses.fields(kind)):
            raise ValueError("what travels beside a request does not stand in it")
        return kind(**fields)
    return tuple(_built(v) for v in value) if isinstance(value, list) else value
