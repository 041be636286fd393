"""Records as JSON and arrays, and back. What is read is held against the types of the record's fields.

Nothing in a file chooses what is built: the reader names the kind, and the field types say the rest.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, MutableMapping
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from jaxtyping import AbstractArray, jaxtyped

from intravisto_core.errors import TraceError, expected
from intravisto_core.sites import Choice

Kind = TypeVar("Kind")
Arrays = Mapping[str, np.ndarray]
Get = Callable[[str], np.ndarray]

ARRAY, TEXTS, SHAPE, WIDTH, ITEMS = "array", "texts", "shape", "width", "items"
MOST_CHARACTERS = 1 << 24
NO_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def to_plain(value: Any, arrays: MutableMapping[str, np.ndarray], name: str) -> Any:
    """The value in JSON's own types; arrays of numbers are put into `arrays` under names that begin with `name`."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, np.ndarray):
        return _plain_array(value, arrays, name)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {key: to_plain(each, arrays, f"{name}.{key}") for key, each in fields.items()}
    if isinstance(value, Mapping):
        return [[to_plain(k, arrays, name), to_plain(v, arrays, f"{name}.{k}")] for k, v in value.items()]
    if isinstance(value, tuple | list):
        found = [to_plain(each, arrays, f"{name}.{i}") for i, each in enumerate(value)]
        # records hold tuples; where what a module gave is a list, that says something
        return found if isinstance(value, tuple) else {ITEMS: found}
    return value


def _plain_array(value: np.ndarray, arrays: MutableMapping[str, np.ndarray], name: str) -> dict[str, Any]:
    if value.dtype.kind in "biuf":
        arrays[name] = np.ascontiguousarray(value)
        return {ARRAY: name}
    texts = [str(each) for each in value.ravel().tolist()]
    plain: dict[str, Any] = {TEXTS: texts, SHAPE: list(value.shape)}
    width = value.dtype.itemsize // 4 if value.dtype.kind == "U" else 0
    # an array of texts has room for its longest one; one that was cut out of another has more
    return plain | ({WIDTH: width} if width > max(map(len, texts), default=1) else {})


def read_plain(kind: type[Kind], body: Any, get: Get, name: str, **known: Any) -> Kind:
    """The dataclass that `to_plain` wrote. get: an array by its name. name: what a message calls it.

    known: fields that stand elsewhere, as they are.

    Raises:
        TraceError: a field is missing, has another type or another shape, or the record refuses itself.
    """
    if not isinstance(body, dict):
        raise TraceError(expected(name, f"the fields of a {kind.__name__}", body))
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(body) - (set(fields) - set(known)))
    if unknown:
        raise TraceError(expected(name, f"fields of a {kind.__name__}", unknown[0]))
    hints = _hints(kind)  # type: ignore[arg-type]
    with jaxtyped("context"):
        given = {key: _read(hints[key], body[key], get, f"{name}.{key}") for key in fields if key in body}
    try:
        return kind(**given, **known)
    except TypeError as error:
        raise TraceError(f"{name}: expected a whole {kind.__name__}; got: {error}") from None


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(hint: Any, value: Any, get: Get, name: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return _read_nested(value, get, name)
    if origin in (Union, UnionType):
        return _read_union(arguments, value, get, name)
    if origin is tuple:
        return _read_tuple(arguments, value, get, name)
    if origin is not None and issubclass(origin, Mapping):
        pairs = [_list(pair, name) for pair in _list(value, name)]
        if any(len(pair) != 2 for pair in pairs):
            raise TraceError(expected(name, "pairs of key and value", "another length"))
        return {_read(arguments[0], k, get, name): _read(arguments[1], v, get, f"{name}.{k}") for k, v in pairs}
    if hint is np.ndarray or (isinstance(hint, type) and issubclass(hint, AbstractArray)):
        return _read_array(hint, value, get, name)
    if isinstance(hint, type) and issubclass(hint, Choice):
        if not isinstance(value, str):
            raise TraceError(expected(name, "a text", value))
        return hint.parse(value, name)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return read_plain(hint, value, get, name)
    return _read_scalar(hint, value, name)


def _read_union(arguments: tuple[Any, ...], value: Any, get: Get, name: str) -> Any:
    if value is None and NoneType in arguments:
        return None
    others = [each for each in arguments if each is not NoneType]
    for each in others[:-1]:
        if each in (str, int) and type(value) is each:
            return value
    return _read(others[-1], value, get, name)


def _read_tuple(arguments: tuple[Any, ...], value: Any, get: Get, name: str) -> tuple[Any, ...]:
    values = _list(value, name)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_read(arguments[0], each, get, f"{name}.{i}") for i, each in enumerate(values))
    if len(values) != len(arguments):
        raise TraceError(expected(name, f"{len(arguments)} values", len(values)))
    return tuple(_read(h, v, get, f"{name}.{i}") for i, (h, v) in enumerate(zip(arguments, values, strict=True)))


def _read_array(hint: Any, value: Any, get: Get, name: str) -> np.ndarray:
    if isinstance(value, dict) and set(value) == {ARRAY} and isinstance(value[ARRAY], str):
        array = get(value[ARRAY])
    elif isinstance(value, dict) and set(value) - {WIDTH} == {TEXTS, SHAPE}:
        array = _texts(value, name)
    else:
        raise TraceError(expected(name, "the name of an array, or texts with their shape", value))
    if hint is not np.ndarray and not isinstance(array, hint):
        wanted = f"an array of {hint.dim_str.strip() or 'no dimension'}"
        raise TraceError(expected(name, wanted, f"{array.dtype} of shape {array.shape}"))
    return array


def _read_nested(value: Any, get: Get, name: str) -> Any:
    """An array, or tuples and lists of such things: what a module gave."""
    if isinstance(value, list):
        return tuple(_read_nested(each, get, f"{name}.{i}") for i, each in enumerate(value))
    if isinstance(value, dict) and set(value) == {ITEMS}:
        return [_read_nested(each, get, f"{name}.{i}") for i, each in enumerate(_list(value[ITEMS], name))]
    return None if value is None else _read_array(np.ndarray, value, get, name)


def _texts(value: dict[str, Any], name: str) -> np.ndarray:
    texts, shape = _list(value[TEXTS], name), _list(value[SHAPE], name)
    whole = all(type(n) is int and n >= 0 for n in shape) and math.prod(shape) == len(texts)
    if not whole or not all(isinstance(each, str) for each in texts):
        raise TraceError(expected(name, "texts that fill their shape", f"{len(texts)} for {shape}"))
    found = np.array(texts, dtype=str).reshape(shape)
    width = value.get(WIDTH, 0)
    if type(width) is not int or not 0 <= width <= MOST_CHARACTERS // max(1, len(texts)):
        raise TraceError(expected(name, f"texts of at most {MOST_CHARACTERS:,} characters in all", width))
    return found.astype(f"<U{width}") if width > found.dtype.itemsize // 4 else found


def _read_scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is float:
        if isinstance(value, str) and value in NO_NUMBERS:
            return NO_NUMBERS[value]
        if type(value) in (int, float):
            return float(value)
    elif hint in (str, int, bool) and type(value) is hint:
        return value
    raise TraceError(expected(name, getattr(hint, "__name__", str(hint)), value))


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise TraceError(expected(name, "a list", value))
    return value
