"""The kinds of values that interventions have, and how they are read: directions, heads, sources, prompt sets."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import check, read_texts, read_trace_id, read_whole_numbers
from intravisto_core.request.fields import list_of, read_number
from intravisto_core.request.tensor_refs import TensorRef
from intravisto_core.sites import Lens

VECTOR_LENSES = (Lens.OUTPUT, Lens.INPUT, Lens.LINEAR, Lens.QUADRATIC)


@frozen_request
class PromptSet:
    """A named set of texts; a mean over it is over all positions of all texts."""

    name: str
    prompts: Annotated[tuple[str, ...], read_texts]

    def __post_init__(self) -> None:
        check(bool(self.prompts), "prompts", "at least one text, none of them empty", self.prompts)


def read_direction(value: Any, name: str) -> str | TensorRef:
    """A token text, or an array by its hash; whatever has a `vector` is a saved direction."""
    if isinstance(value, str):
        check(value != "", name, "a token text that is not empty, or an array", value)
        return value
    if isinstance(value, TensorRef):
        return value
    if hasattr(value, "vector"):
        return TensorRef.of(value.vector, str(getattr(value, "name", "")))
    return _read_array(value, name, "a token text, a saved direction or an array")


def _read_array(value: Any, name: str, allowed: str) -> TensorRef:
    plain = isinstance(value, str | bytes | bool | dict | set) or not hasattr(value, "__iter__")
    held = None if plain else value if hasattr(value, "__array__") else list_of(value)
    try:
        scalar = held is None or np.ndim(held) == 0
    except Exception:  # lists of different lengths, or an object's own
        scalar = True
    if scalar:
        raise RequestError(expected(name, allowed, value))
    return TensorRef.of(held)


def read_value(value: Any, name: str) -> float | TensorRef:
    """A number, or an array by its hash."""
    if isinstance(value, TensorRef):
        return value
    try:
        return read_number(value, name)
    except RequestError:
        return _read_array(value, name, "a finite number or an array")


def _read_token_text(value: Any, name: str) -> str:
    check(isinstance(value, str) and value != "", name, "a text of at least one token", value)
    return str(value)


def _read_vector_lens(value: Any, name: str) -> Lens:
    lens = Lens.parse(value, name)
    if lens not in VECTOR_LENSES:
        raise RequestError(expected(name, VECTOR_LENSES, str(lens), "Only these have a vector for a token"))
    return lens


def _read_heads(value: Any, name: str) -> str | tuple[int, ...]:
    allowed = '"all", a head or a list of them (negatives count from the last one)'
    if isinstance(value, str):
        check(value == "all", name, allowed, value)
        return value
    found = read_whole_numbers(list_of(value), name, allowed)
    check(bool(found), name, allowed, value)
    return found


def _read_trace_source(value: Any, name: str) -> str | PromptSet | None:
    return value if value is None or isinstance(value, PromptSet) else read_trace_id(value, name)


Direction = Annotated[str | TensorRef, read_direction]
TokenText = Annotated[str, _read_token_text]
VectorLens = Annotated[Lens, _read_vector_lens]
Heads = Annotated[str | tuple[int, ...], _read_heads]
TraceSource = Annotated[str | PromptSet | None, _read_trace_source]
Value = Annotated[float | TensorRef, read_value]
