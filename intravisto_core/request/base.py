"""What all requests share: they are frozen, they refuse wrong arguments in words, and views name their record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from inspect import Signature, signature
from typing import Any, Generic, TypeVar, dataclass_transform

from intravisto_core.errors import RequestError, expected
from intravisto_core.options import refuse_unknown
from intravisto_core.request.fields import read_fields

Kind = TypeVar("Kind")
R = TypeVar("R")


class View(Generic[R]):
    """A request that is answered by one record of type R: `engine.view(HeatmapView(…))` gives a DecodedGrid."""

    __slots__ = ()


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen_request(kind: type[Kind]) -> type[Kind]:
    """A frozen dataclass with slots. Its fields are read by their types (`fields`), and what does not fit is refused.

    Its `__post_init__`, where it has one, then checks what types cannot say.
    """
    _read_first(kind)
    made: Any = dataclass(frozen=True, slots=True)(kind)
    made.__init__ = _in_words(made.__name__, made.__init__)
    checked: type[Kind] = made
    return checked


def _read_first(kind: Any) -> None:
    """Before a request checks itself, its fields are read by their types."""
    check = getattr(kind, "__post_init__", None)

    def __post_init__(self: Any) -> None:
        read_fields(self)
        if check is not None:
            check(self)

    kind.__post_init__ = __post_init__


def _in_words(name: str, init: Callable[..., None]) -> Callable[..., None]:
    wanted = signature(init)

    @wraps(init)
    def checked(self: Any, *args: Any, **options: Any) -> None:
        try:
            init(self, *args, **options)
        except TypeError:
            _check_arguments(name, wanted, (self, *args), options)
            raise

    return checked


def _check_arguments(name: str, wanted: Signature, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    try:
        wanted.bind(*args, **options)
    except TypeError as error:
        known = list(wanted.parameters)[1:]
        refuse_unknown(name, known, options)
        raise RequestError(expected(name, f"options {', '.join(known)}", str(error))) from None
