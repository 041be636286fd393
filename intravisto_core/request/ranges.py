"""Layers, heads, rows and positions as indices: the one place where a range is checked."""

from __future__ import annotations

import operator

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.checks import Selection, Span


def index(value: int, n: int, name: str, negatives: bool = True) -> int:
    """One index from 0 to n−1. negatives: whether −1 is the last one, and so on; else they are out of range.

    Raises:
        RequestError: no whole number, or out of range.
    """
    low = -n if negatives else 0
    try:
        whole = operator.index(value)
    except TypeError:
        raise RequestError(expected(name, f"a whole number, {low} to {n - 1}", value)) from None
    if not low <= whole < n:
        raise RequestError(expected(name, f"{low} to {n - 1}", value))
    return whole % n


def indices(selection: Selection, n: int, name: str) -> tuple[int, ...]:
    """All indices that a selection names, in its order.

    Raises:
        RequestError: one is out of range, or there are none.
    """
    if selection is None:
        return tuple(range(n))
    if isinstance(selection, Span):
        start = selection.start + n if selection.start < 0 else selection.start
        stop = selection.stop + n if selection.stop < 0 else selection.stop
        if not 0 <= start < stop <= n:
            raise RequestError(expected(name, f"a span within 0 to {n}", (selection.start, selection.stop)))
        return tuple(range(start, stop))
    if not selection:
        raise RequestError(expected(name, f"at least one of 0 to {n - 1}", selection))
    return tuple(index(i, n, name) for i in selection)
