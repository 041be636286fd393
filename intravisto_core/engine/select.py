"""Rows and positions of a view as indices."""

from __future__ import annotations

import operator

from intravisto_core.errors import RequestError, expected
from intravisto_core.request import Selection, Span


def index(value: int, n: int, name: str) -> int:
    """One index; negatives count from the end.

    Raises:
        RequestError: outside 0 … n−1.
    """
    try:
        whole = operator.index(value)
    except TypeError:
        raise RequestError(expected(name, f"a whole number, {-n} to {n - 1}", value)) from None
    if not -n <= whole < n:
        raise RequestError(expected(name, f"{-n} to {n - 1}", value))
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
