"""Keyword options of the public face: an unknown one is refused with the list of those that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import Parameter, signature
from typing import Any, TypeVar

from intravisto_core.errors import RequestError, expected

Result = TypeVar("Result")

# options that were called otherwise once, and what to write now
RENAMED = {"hide_start": 'sinks="hide"', "reweigh": 'sinks="renormalise"'}


def refuse_unknown(what: str, known: Iterable[str], given: Iterable[str]) -> None:
    """Refuse options that there are not.

    Raises:
        RequestError: it names them, and lists those that there are.
    """
    known = list(known)
    unknown = sorted(set(given) - set(known))
    if unknown:
        now = "; ".join(f"Write {RENAMED[name]} for {name}" for name in unknown if name in RENAMED)
        raise RequestError(expected(f"options of {what}", known or "none", ", ".join(unknown), now))


def option_names(call: Callable[..., Any], n_first: int = 0) -> list[str] | None:
    """Names of the parameters of a function after its first ones; None where it takes any keyword."""
    parameters = list(signature(call).parameters.values())[n_first:]
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters]


def call_with_options(what: str, call: Callable[..., Result], *first: Any, **options: Any) -> Result:
    """Call a function with options that a reader gave.

    Raises:
        RequestError: the function has no such option.
    """
    known = option_names(call, len(first))
    if known is not None:
        refuse_unknown(what, known, options)
    return call(*first, **options)
