"""One prompt's part of what a module gives for a batch: read as a run alone would have it, and written back."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from intravisto_core.errors import TraceError


def read_row(value: Any, row: int, n_rows: int, n_slots: int, n: int) -> Any:
    """The row's part of a value, its padding left out.

    Tensors (rows, slots, …) become (1, n, …), those of rows of positions without a batch axis (rows·slots, …) become
    (n, …); what all rows share stays. Axes of keys, as attention weights have them, keep their padding.
    """
    if isinstance(value, Tensor):
        kind = _kind(value, n_rows, n_slots)
        if kind == "flat":
            return value.unflatten(0, (n_rows, n_slots))[row, :n]
        if kind == "rows":
            own = value[row : row + 1]
            return own[:, :n] if own.ndim > 1 and own.shape[1] == n_slots else own
        return value
    if type(value) in (tuple, list):
        return type(value)(read_row(v, row, n_rows, n_slots, n) for v in value)
    return value


def write_row(value: Any, new: Any, row: int, n_rows: int, n_slots: int, n: int) -> Any:
    """The value with a row's part replaced, in copies.

    Raises:
        TraceError: the part is shared by all rows.
    """
    if isinstance(value, Tensor):
        old = read_row(value, row, n_rows, n_slots, n)
        if new is old or (new.shape == old.shape and bool((new == old).all())):
            return value
        out, kind = value.clone(), _kind(value, n_rows, n_slots)
        if kind == "shared":
            raise TraceError(
                "module: expected a value of each prompt; this one is shared by all. Run the prompts alone"
            )
        read_row(out, row, n_rows, n_slots, n).copy_(new)
        return out
    if type(value) in (tuple, list):
        return type(value)(write_row(v, w, row, n_rows, n_slots, n) for v, w in zip(value, new, strict=True))
    return value


def _kind(x: Tensor, n_rows: int, n_slots: int) -> str:
    if x.ndim and x.shape[0] == n_rows and not (x.ndim == 2 and n_slots == 1 and x.is_floating_point()):
        return "rows"
    return "flat" if x.ndim and x.shape[0] == n_rows * n_slots else "shared"
