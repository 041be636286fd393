"""What requests check of themselves when they are built."""

from __future__ import annotations

import math
import operator
from numbers import Integral
from typing import Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request


def put(request: object, **values: object) -> None:
    """Set fields of a frozen request while it is being built."""
    for name, value in values.items():
        object.__setattr__(request, name, value)


def check(ok: bool, what: str, allowed: str, got: object) -> None:
    """Refuse what is not allowed.

    Raises:
        RequestError: what was expected, and what came.
    """
    if not ok:
        raise RequestError(expected(what, allowed, got))


@frozen_request
class Span:
    """Rows or positions from `start` up to, not with, `stop`. Negatives count from the end."""

    start: int
    stop: int


Selection = Span | tuple[int, ...] | None
Turn = tuple[str, str]


def selection(value: Any, name: str) -> Selection:
    """Rows or positions as they are kept: a Span, a tuple, or None for all."""
    if value is None or isinstance(value, Span):
        return value
    return whole(value, name, "a Span, a list of whole numbers, or None for all")


def whole(value: Any, name: str, allowed: str) -> tuple[int, ...]:
    """A list of whole numbers (NumPy's too) as a tuple."""
    try:
        return tuple(operator.index(v) for v in value)
    except TypeError:
        raise RequestError(expected(name, allowed, value)) from None


def is_whole(value: object, low: int, high: int) -> bool:
    """Whether it is a whole number from `low` to `high`, both allowed."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def turns(value: Any) -> tuple[Turn, ...]:
    """What was said in a conversation, as (role, text) each."""
    allowed = 'pairs of role and text, as ("system", "Answer briefly.")'
    try:
        pairs = tuple((role, text) for role, text in value)
    except (TypeError, ValueError):
        raise RequestError(expected("messages", allowed, value)) from None
    check(all(isinstance(part, str) for pair in pairs for part in pair), "messages", allowed, value)
    check(all(role for role, _ in pairs), "messages", "a role that is not empty", value)
    return pairs


def followed(value: Any) -> tuple[str | int, ...]:
    """Tokens to follow, by text or by id; one alone counts as a list of one."""
    given = (value,) if isinstance(value, Integral) else texts(value)
    tokens = tuple(int(t) if isinstance(t, Integral) else t for t in given)
    for token in tokens:
        check(isinstance(token, str) or is_whole(token, 0, 2**31), "token", "a text or a token id", token)
    return tokens


def texts(value: Any) -> tuple[Any, ...]:
    """One text alone counts as a list of one."""
    try:
        return (value,) if isinstance(value, str) else tuple(value)
    except TypeError:
        raise RequestError(expected("texts", "a list of texts", value)) from None
