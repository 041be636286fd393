"""Layers, heads, rows and positions as indices: the one place where a range is checked."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any, TypeVar

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.checks import Selection, Span
from intravisto_core.sites import Site

Placed = TypeVar("Placed")
LAYERS = ("layer", "source_layer")


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


def rows_of_step(step: int | None, prompt_length: int, length: int) -> slice:
    """The positions that one step computed: 0 the prompt, n the position that reads generated token n − 1; None all.

    Raises:
        RequestError: the text has not so many.
    """
    if step is None:
        return slice(None)
    last = length - prompt_length
    if step > last:
        raise RequestError(expected("step", f"0 to {last}: the prompt, then {last} generated tokens", step))
    start = prompt_length + step - 1 if step else 0
    return slice(start, start + 1 if step else prompt_length)


def resolve_layers_and_heads(what: Placed, n_layers: int, n_heads: int, n_kv_heads: int | None = None) -> Placed:
    """A request with the layers and heads that it names counted from 0, where negatives count from the last one.

    what: whatever has fields `layer`, `source_layer`, `head` or `heads`; those that are None or "all" stay. At `k` and
    `v` a head is one of `n_kv_heads`.

    Raises:
        RequestError: one is out of range; the message names the range.
    """
    found: dict[str, Any] = {}
    if n_kv_heads is not None and getattr(what, "site", None) in (Site.K, Site.V):
        n_heads = n_kv_heads
    for name in (*LAYERS, "head"):
        value = getattr(what, name, None)
        if value is not None:
            found[name] = index(value, n_layers if name in LAYERS else n_heads, name)
    heads = getattr(what, "heads", None)
    if isinstance(heads, tuple):
        found["heads"] = tuple(dict.fromkeys(index(h, n_heads, "heads") for h in heads))
    changed = {name: value for name, value in found.items() if value != getattr(what, name)}
    made: Placed = replace(what, **changed) if changed else what  # type: ignore[type-var]
    return made
