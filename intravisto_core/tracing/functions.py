"""Functions of the user's own inside a pass: what they are given, what they may look at, and what becomes of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from intravisto_core.errors import Cancelled, TraceError, describe_error, expected
from intravisto_core.inspection.paths import find_module
from intravisto_core.request.functions import Apply, count_arguments
from intravisto_core.request.modules import join_path, split_path
from intravisto_core.request.ranges import index
from intravisto_core.sites import ModuleSide, Site

LONGEST_LINE = 100


class Passing(Protocol):
    """A forward call under way, as functions inside look at it; rows are the prompts of a batch."""

    def current(self, site: Site, layer: int, row: int) -> Tensor | None:
        """What the call computed of a site, (n, width) or (heads, n, width); None before it was there."""

    def current_module(self, path: str, row: int) -> Any:
        """What a module gave in this call, batch axis 1; None before it was called."""


class Seen:
    """What was computed before in this pass. index: of the prompt, in a batch of several.

    seen["attn_out", 3]: a site of a layer, at the positions of this call: (n, width), or (heads, n, d_head); at the
    function's own place as it stands. seen["model.norm"], seen["model.norm:input"]: of a module, batch axis 1.
    """

    def __init__(
        self, passing: Passing, network: nn.Module, n_layers: int, index: int, rows: Mapping[int, int]
    ) -> None:
        self._passing, self._network, self._n_layers = passing, network, n_layers
        self.index, self._rows = index, rows

    def prompt(self, index: int) -> Seen:
        """The same of another prompt, by its place in the list that `engine.traces` was given; 0 of one alone.

        Raises:
            TraceError: there is none of that number in this pass.
        """
        if index not in self._rows:
            there = ", ".join(map(str, self._rows))
            raise TraceError(expected("seen.prompt", f"one of this pass: {there}", index))
        return Seen(self._passing, self._network, self._n_layers, index, self._rows)

    def __getitem__(self, place: Any) -> Any:
        """A site of a layer, or a module by its path.

        Raises:
            TraceError: it was not computed yet.
        """
        row = self._rows[self.index]
        if isinstance(place, str):
            path, side = split_path(place)
            own, _ = find_module(self._network, path)
            found = self._passing.current_module(join_path(own, side), row)
        else:
            try:
                name, number = place
            except (TypeError, ValueError):
                raise TraceError(expected("seen", "seen[site, layer] or seen[path]", place)) from None
            site = Site.parse(name, "site")
            found = self._passing.current(site, index(number, self._n_layers, "layer"), row)
        if found is None:
            raise TraceError(
                expected("seen", "something that was computed before in this pass", place, "Look from a later place")
            )
        return found


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function at its place."""

    what: Apply
    takes_seen: bool = field(init=False)
    """Whether the function is given what was computed before."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "takes_seen", count_arguments(self.what.fn) > 1)

    def __call__(self, x: Any, seen: Seen | None) -> Any:
        """The new value, or x itself where the function gave None.

        Raises:
            TraceError: the function failed, or returned something of another shape, or no finite numbers.
        """
        given = map_values(x, torch.clone)
        try:
            found = self.what.fn(given, seen) if self.takes_seen else self.what.fn(given)
        except Cancelled:
            raise
        except BaseException as error:  # exit() too: it would end the thread that all wait for
            raise TraceError(
                f"Apply at {self.what.describe_place()}: the function {self.what.name} failed"
                f"{line_of(error, self.what.fn)}: {describe_error(error)}"
            ) from error
        who = f"Apply at {self.what.describe_place()}: expected the function {self.what.name}"
        return x if found is None else fit_returned(found, x, who)


def fit_returned(found: Any, x: Any, who: str) -> Any:
    """What a function returned, in the form of the value whose place it takes. who: begins the message.

    Raises:
        TraceError: it is something else, of another shape, or of no finite numbers.
    """
    if isinstance(x, tuple | list):
        if not isinstance(found, tuple | list) or len(found) != len(x):
            raise TraceError(f"{who} to return {len(x)} values, as it was given; got {type(found).__name__}")
        return type(x)(fit_returned(new, old, who) for new, old in zip(found, x, strict=True))
    if not isinstance(x, Tensor):
        return found
    shape = f"a tensor of shape {tuple(x.shape)}"
    if not isinstance(found, Tensor):
        raise TraceError(f"{who} to return {shape}, or None; got {type(found).__name__}")
    if found.shape != x.shape:
        raise TraceError(f"{who} to return {shape}; got shape {tuple(found.shape)}")
    new = found.to(x)
    if not bool(torch.isfinite(new).all()) and bool(torch.isfinite(x).all()):
        raise TraceError(f"{who} to return finite numbers; got infinity or NaN")
    return new


def map_values(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The value with each tensor replaced, tuples and lists walked through; all else as it is."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (tuple, list):
        return type(value)(map_values(v, change) for v in value)
    return value


def line_of(error: BaseException, fn: Any) -> str:
    """Where in the user's own code it failed: the deepest line in the file that the function is written in."""
    frames = traceback.extract_tb(error.__traceback__)
    code: CodeType | None = getattr(fn, "__code__", None)
    own = [f for f in frames if code is not None and f.filename == code.co_filename]
    if not own:
        return ""
    last = own[-1]
    text = (last.line or "")[:LONGEST_LINE]
    return f" in line {last.lineno} of {last.filename}" + (f" ({text})" if text else "")


@dataclass(frozen=True, slots=True)
class ModuleEdit:
    """A function at a module: of its first input, or of its output."""

    module: nn.Module
    path: str
    side: ModuleSide
    call: FunctionCall
