"""Fields of a request are read by their type: what is meant is taken, what is not is refused in words.

A field of type int takes any whole number, a `Choice` its value as plain text, a `Selection` a list, and so on. A type
that needs more says so: `Annotated[str, read_trace_id]` is read by that function, which is given value and name.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from intravisto_core.errors import RequestError, expected
from intravisto_core.sites import Choice

Reader = Callable[[Any, str], Any]
MOST_MEMBERS = 1_000_000


def read_fields(request: Any) -> None:
    """Put the fields of a request that is being built into their form.

    Raises:
        RequestError: one of them is of another type; the message names the field and what it may be.
    """
    kind: Any = type(request)
    for name, read in _readers(kind).items():
        object.__setattr__(request, name, read(getattr(request, name), name))


def walk_values(value: Any) -> Iterator[Any]:
    """A request and everything in it, however deep: requests, tuples and plain values."""
    yield value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from walk_values(getattr(value, field.name))
    elif isinstance(value, tuple):
        for each in value:
            yield from walk_values(each)


def list_of(value: Any) -> list[Any]:
    """The members of a list of any kind; anything else, a text too, is a list of one.

    Raises:
        RequestError: it has more members than any request needs, or never ends.
    """
    if isinstance(value, str | bytes | Mapping):
        return [value]
    try:
        found = list(islice(value, MOST_MEMBERS + 1))
    except Exception:  # also of an array without dimensions, which says that it can be iterated
        return [value]
    if len(found) > MOST_MEMBERS:
        raise RequestError(expected("a list", f"at most {MOST_MEMBERS:,} members", type(value).__name__))
    return found


def read_list(value: Any, name: str, members: str) -> list[Any]:
    """A list of any kind; what has no members is refused, a text too.

    Raises:
        RequestError: it is none; the message says what its members should be.
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise RequestError(expected(name, f"a list of {members}", value))
    return list_of(value)


def read_path_of_file(value: Any, name: str) -> Path:
    """The path of a file or folder, `~` at its start too."""
    if not isinstance(value, str | PathLike) or "\0" in str(value):
        raise RequestError(expected(name, "the path of a file", value))
    try:
        return Path(value).expanduser()
    except (RuntimeError, TypeError):  # no such home; a path that is made of bytes
        raise RequestError(expected(name, "the path of a file", value)) from None


def read_text(value: Any, name: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise RequestError(expected(name, "a text", value))
    return value


def read_flag(value: Any, name: str) -> bool:
    """True or False, NumPy's too."""
    if type(value).__name__ not in ("bool", "bool_"):
        raise RequestError(expected(name, "True or False", value))
    return bool(value)


def read_whole_number(value: Any, name: str) -> int:
    """A whole number, NumPy's too; True and False are none."""
    try:
        if type(value).__name__ not in ("bool", "bool_"):
            return operator.index(value)
    except Exception:  # also an object's own
        pass
    raise RequestError(expected(name, "a whole number", value))


def read_number(value: Any, name: str) -> float:
    """A finite number, NumPy's too."""
    try:
        number = float(value) if hasattr(value, "__float__") and not isinstance(value, bool) else math.nan
    except Exception:  # also an object's own
        number = math.nan
    if not math.isfinite(number):
        raise RequestError(expected(name, "a finite number", value))
    return number


_BY_TYPE: Mapping[Any, Reader] = {
    str: read_text,
    bool: read_flag,
    int: read_whole_number,
    float: read_number,
}


@cache
def _readers(kind: type) -> dict[str, Reader]:
    hints = get_type_hints(kind, include_extras=True)
    found = {field.name: _reader_of(hints[field.name]) for field in dataclasses.fields(kind)}
    return {name: read for name, read in found.items() if read is not None}


def _reader_of(hint: Any) -> Reader | None:
    """How values of a type are read; None where the request looks at them itself."""
    if get_origin(hint) is Annotated:
        own: Reader | None = next((extra for extra in get_args(hint)[1:] if callable(extra)), None)
        return own
    if hint in _BY_TYPE:
        return _BY_TYPE[hint]
    if get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint):
        others = [arg for arg in get_args(hint) if arg is not NoneType]
        inner = _reader_of(others[0]) if len(others) == 1 else None
        return None if inner is None else _optional(inner)
    if isinstance(hint, type) and issubclass(hint, Choice):
        return hint.parse
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _instance(hint)
    return None


def _optional(read: Reader) -> Reader:
    return lambda value, name: None if value is None else read(value, name)


def _instance(kind: type) -> Reader:
    def read(value: Any, name: str) -> Any:
        if not isinstance(value, kind):
            raise RequestError(expected(name, f"a {kind.__name__}", value))
        return value

    return read
