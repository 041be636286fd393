"""What a stored record answers: the view that it was made for, and slices of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

import numpy as np
from jaxtyping import AbstractArray

from intravisto_core.errors import RequestError
from intravisto_core.records import DecodedGrid, NextTokens, Record, Watched
from intravisto_core.request import HeatmapView, ModuleView, NextTokensView, View
from intravisto_core.request.ranges import indices
from intravisto_core.request.views import TOP_K_KEPT, default_norm
from intravisto_core.sites import NormPolicy, Reading, TokenOrder
from intravisto_core.storage.attention_answers import answer_attention


@dataclass(frozen=True, slots=True)
class Stored:
    """A view of a saved trace with its record."""

    view: View[Any]
    record: Record


@dataclass(frozen=True, slots=True)
class Sizes:
    """What negatives are counted from: the model's layers and heads, and the text's tokens."""

    n_layers: int
    n_heads: int
    length: int


def find_answer(wanted: View[Any], stored: Sequence[Stored], sizes: Sizes) -> Record | None:
    """The record of a view where it, or one that holds it, is stored; else None."""
    asked, n_layers, length = resolve_view(wanted, sizes), sizes.n_layers, sizes.length
    for each in stored:
        if type(each.view) is not type(asked):
            continue
        had = resolve_view(each.view, sizes)
        if had == asked:
            return each.record
        if isinstance(asked, HeatmapView) and isinstance(had, HeatmapView) and isinstance(each.record, DecodedGrid):
            found = _slice_grid(each.record, had, asked, n_layers, length)
            if found is not None:
                return found
    if isinstance(asked, NextTokensView):
        return _read_next_tokens(asked, stored, sizes)

    def find(view: View[Any]) -> Record | None:
        return next((each.record for each in stored if each.view == view), None)

    return answer_attention(asked, [each.record for each in stored], find, n_layers)


def _read_next_tokens(asked: NextTokensView, stored: Sequence[Stored], sizes: Sizes) -> NextTokens | None:
    """The model's own distribution after a position, which the top row of a stored heatmap is."""
    if asked.n > TOP_K_KEPT or asked.sampling.temperature is not None:
        return None
    own_row = HeatmapView(asked.trace, rows=(sizes.n_layers + 1,), positions=(asked.position,), top_k=asked.n)
    grid = find_answer(own_row, stored, sizes)
    if not isinstance(grid, DecodedGrid):
        return None
    probabilities = grid.probabilities[0, 0]
    return NextTokens(
        model_name=grid.model,
        trace=grid.trace,
        position=asked.position,
        token_ids=grid.token_ids[0, 0],
        model=probabilities,
        sampled=probabilities,
        n_left=grid.d_vocab,
        shown={int(i): grid.shown[int(i)] for i in grid.token_ids[0, 0]},
    )


def resolve_view(view: Any, sizes: Sizes) -> Any:
    """The view with every default and every count from the end put in numbers, so that equal questions are equal."""
    known = {f.name for f in dataclasses.fields(view)}
    changed: dict[str, Any] = {}
    n_layers, length = sizes.n_layers, sizes.length
    counted = {"position": length, "query": length, "key": length, "layer": n_layers, "row": n_layers + 2}
    for name, size in (counted | {"head": sizes.n_heads}).items():
        value = getattr(view, name, None) if name in known else None
        if isinstance(value, int) and -size <= value < 0:
            changed[name] = value + size
    if "row" in known and getattr(view, "row", 0) is None:
        changed["row"] = n_layers + 1
    if isinstance(view, HeatmapView):
        norm = view.norm or default_norm(view.component, view.lens, view.reading)
        # what is saved need not be waited for, and the tokens of states have one order
        order = view.order if norm is NormPolicy.STREAM else TokenOrder.LOGIT
        changed |= {"norm": norm, "order": order, "first": None, "within": None}
    if isinstance(view, ModuleView):
        changed["path"] = ".".join(_counted(part, n_layers) for part in view.path.split("."))
    return replace(view, **changed) if changed else view


def _counted(part: str, n_layers: int) -> str:
    """A part of a module's path: a layer counted from the last one as one counted from 0, else as it is."""
    digits = part.removeprefix("-")
    return str(n_layers - int(digits)) if part != digits and digits.isdecimal() and len(digits) < 9 else part


def _slice_grid(
    grid: DecodedGrid, had: HeatmapView, asked: HeatmapView, n_layers: int, length: int
) -> DecodedGrid | None:
    """The part of a grid that a view asks for; None where the grid has it not."""
    same = ("component", "lens", "norm", "reading", "order")
    if asked.watch and asked.ranks and not had.ranks:
        return None
    if any(getattr(had, name) != getattr(asked, name) for name in same) or not set(asked.watch) <= set(had.watch):
        return None
    if asked.top_k > had.top_k and asked.reading is not Reading.ITERATIVE:
        return None
    try:
        rows = _places(grid.rows, indices(asked.rows, n_layers + 2, "rows"))
        positions = _places(grid.positions, indices(asked.positions, length, "positions"))
    except RequestError:
        return None
    if rows is None or positions is None:
        return None
    k = grid.token_ids.shape[2] if asked.reading is Reading.ITERATIVE else asked.top_k
    cut = _Cut({"R": rows, "P": positions, "K": np.arange(min(k, grid.token_ids.shape[2]))})
    watch = tuple(cut.of(grid.watch[had.watch.index(each)]) for each in asked.watch)
    part = cut.of(
        grid,
        tokens=tuple(grid.tokens[p] for p in positions),
        blank=tuple(grid.blank[r] for r in rows),
        winner=None if grid.winner is None else grid.winner[np.ix_(rows, positions)],
        watch=watch,
    )
    return replace(part, shown=_used(part))


class _Cut:
    """Takes the same rows, positions and listed tokens from every array of a record."""

    def __init__(self, along: dict[str, np.ndarray]) -> None:
        self.along = along

    def of(self, record: Any, **others: Any) -> Any:
        """The record with its arrays cut, and other fields as they are given or were."""
        hints = get_type_hints(type(record))
        changed = dict(others)
        for field in dataclasses.fields(record):
            array = getattr(record, field.name)
            dims = _dims(hints[field.name])
            if isinstance(array, np.ndarray) and dims:
                for axis, name in enumerate(dims):
                    array = np.take(array, self.along[name], axis=axis)
                changed[field.name] = array
        return replace(record, **changed)


def _dims(hint: Any) -> list[str]:
    """Names of an array's axes in its annotation; empty where it has none."""
    for each in (hint, *getattr(hint, "__args__", ())):
        if isinstance(each, type) and issubclass(each, AbstractArray):
            return str(each.dim_str).split()
    return []


def _places(held: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray | None:
    at = {int(value): i for i, value in enumerate(held.tolist())}
    return np.array([at[each] for each in wanted], dtype=int) if set(wanted) <= set(at) else None


def _used(grid: DecodedGrid) -> dict[int, str]:
    """Of the texts of a grid those that its cells still name."""
    named = [grid.token_ids, grid.says, grid.suppressed_ids, grid.next_ids]
    ids = {int(i) for array in named if array is not None for i in np.unique(array)}
    ids |= {each.id for each in grid.tokens} | {w.token_id for w in grid.watch if isinstance(w, Watched)}
    return {i: text for i, text in grid.shown.items() if i in ids}
