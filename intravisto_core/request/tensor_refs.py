"""Arrays that belong to a request: named by the hash of their content, and sent beside it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Annotated, Any

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request
from intravisto_core.request.fields import list_of, read_whole_number, walk_values


def _read_shape(value: Any, name: str) -> tuple[int, ...]:
    return tuple(read_whole_number(v, name) for v in list_of(value))


@frozen_request
class TensorRef:
    """An array by the hash of its content (float32, little-endian), with the array itself where it is at hand.

    name: what people call it. content: left out of JSON, equality and hash; `tensors` gathers what must travel.
    """

    hash: str
    shape: Annotated[tuple[int, ...], _read_shape]
    name: str = field(default="", compare=False)
    content: np.ndarray | None = field(default=None, compare=False, repr=False, metadata={"beside": True})

    @classmethod
    def of(cls, array: Any, name: str = "") -> TensorRef:
        """Name an array by its content.

        Raises:
            RequestError: it has no finite numbers.
        """
        try:
            content = np.ascontiguousarray(array, dtype="<f4")
        except Exception:  # also an object's own
            raise RequestError(expected("tensor", "an array of numbers", type(array).__name__)) from None
        if not content.size or not np.isfinite(content).all():
            raise RequestError("tensor: expected finite numbers; got none, or some that are infinite or NaN")
        content = content.copy()
        content.flags.writeable = False
        head = ",".join(map(str, content.shape)).encode()
        return cls(hashlib.sha256(head + b":" + content.tobytes()).hexdigest(), content.shape, name, content)


def tensors(request: Any) -> dict[str, np.ndarray]:
    """The arrays that a request names, by hash: what has to be sent beside its JSON."""
    return {ref.hash: ref.content for ref in references(request) if ref.content is not None}


def references(request: Any) -> Iterator[TensorRef]:
    """Every array that a request names."""
    return (value for value in walk_values(request) if isinstance(value, TensorRef))


def with_tensors(request: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The request with the arrays that came beside it put where they are named.

    Raises:
        RequestError: an array is not what its name says.
    """
    if isinstance(request, TensorRef):
        if request.content is not None or request.hash not in arrays:
            return request
        found = TensorRef.of(arrays[request.hash], request.name)
        if found.hash != request.hash:
            raise RequestError(f"tensor: expected content with the hash {request.hash[:12]}…; got {found.hash[:12]}…")
        return found
    if dataclasses.is_dataclass(request) and not isinstance(request, type):
        changed = {
            f.name: with_tensors(value, arrays)
            for f in dataclasses.fields(request)
            if isinstance(value := getattr(request, f.name), tuple) or dataclasses.is_dataclass(value)
        }
        return dataclasses.replace(request, **changed) if changed else request
    return tuple(with_tensors(v, arrays) for v in request) if isinstance(request, tuple) else request
