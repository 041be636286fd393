"""What looks on while the model runs: hooks give it what passes, and take back what its edits make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.experts import Routing
from intravisto_core.errors import TraceError
from intravisto_core.sites import Site
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.functions import ModuleEdit
from intravisto_core.tracing.module_values import copy_value, join_calls
from intravisto_core.tracing.trace_data import AttentionFacts


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """What one call of a layer's attention computes with.

    query, key, value: (rows, heads, positions, width). mask: additive or boolean, None where nothing is hidden. n_key:
    how many keys the mask is about, where `key` holds only the new ones; None: those that `key` has.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    facts: AttentionFacts
    n_key: int | None = None

    @property
    def n_query(self) -> int:
        """How many positions are run."""
        return self.query.shape[2]

    @property
    def n_seen(self) -> int:
        """How many keys the mask is about."""
        return self.key.shape[2] if self.n_key is None else self.n_key

    def new_rows(self) -> Iterator[tuple[Site, Tensor]]:
        """Queries, keys and values of the positions that are run."""
        for site, x in ((Site.Q, self.query), (Site.K, self.key), (Site.V, self.value)):
            yield site, x[:, :, -self.n_query :]


class Sink:
    """Of a run under way. This one keeps nothing but what is asked of modules, and changes what edits ask for.

    start, stop: the positions of the current call, if `active`. edits: what is changed on the way. first_layer,
    first_position: what lies before is not run. offloaded: whether weights are fetched as they are needed. wanted: the
    sites that are kept. cancelled: whether the run is to end.
    """

    def __init__(
        self, edits: Edits | None = None, first_layer: int = 0, first_position: int = 0, offloaded: bool = False
    ) -> None:
        self.edits = edits
        self.first_layer, self.first_position = first_layer, first_position
        self.start = self.stop = first_position
        self.active = self.cancelled = self.layers_are_tuples = False
        # an exception among accelerate's own hooks would leave weights where they were fetched to
        self.offloaded = offloaded
        self.wanted: set[Site] = set()
        self.routing: list[Routing] = []
        self.modules: dict[str, list[Any]] = {}
        self.changed_by: set[str] = set()
        self._counts: list[int] = []
        self._passing: dict[str, Any] = {}

    def attention(self, layer: int, call: AttentionCall) -> None:
        """Keep queries, and the new rows of keys and values, of one call."""

    def change_heads(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (1, heads, positions, width) of one call after the edits there; old keys stay."""
        if self.edits is None:
            return query, key, value
        return self.edits.apply_heads(layer, query, key, value, self.stop)

    def masked(
        self, layer: int, mask: Tensor | None, query: Tensor, n_key: int, seen: Tensor | None = None
    ) -> Tensor | None:
        """The mask that a call's attention gets: with the edges hidden that an edit cuts.

        query: (1, any, q, width), for its length, dtype and device. seen: (1, 1, q, k), where the mask does not say
        all that is hidden.
        """
        if self.edits is None:
            return mask
        return self.edits.masked(layer, mask, seen, query, self.stop, n_key)

    def keep(self, site: Site, layer: int, x: Tensor) -> None:
        """Keep one call's rows of a site, of any shape (…, width)."""

    def keep_final(self, x: Float[Tensor, "b n d"]) -> None:
        """Keep one call's rows of the final stream."""

    def route(self, layer: int, part: str, x: Tensor) -> None:
        """Keep what one call gave or got of a part of `Routing`, (…, width)."""

    def edits_at(self, site: Site, layer: int) -> bool:
        """Whether the run changes something there."""
        return self.edits is not None and self.edits.at(site, layer)

    def change(
        self, x: Tensor, edit: Callable[[Edits, Tensor, int], Tensor], place: tuple[Site, int], scale: float = 1.0
    ) -> Tensor | None:
        """x after the edits of the run, or None where they change nothing.

        edit: (edits, rows, first position) to rows. place: where it is. scale: what the stream gets of x.
        """
        if not self.active or self.edits is None:
            return None
        rows = x.reshape(-1, x.shape[-1])
        new = edit(self.edits, rows, self.start)
        return None if new is rows else new.view(x.shape)

    def change_module(self, edit: ModuleEdit, value: Any) -> Any:
        """What a function at a module makes of its value."""
        assert self.edits is not None
        self._passing[edit.path] = value
        return edit.call(value, self.edits.seen)

    def pass_module(self, path: str, value: Any) -> None:
        """A module gave something: functions later in this call may look at it."""
        self._passing[path] = value

    def current(self, site: Site, layer: int, row: int = 0) -> Tensor | None:
        """What this call computed of a site, (n, width) or (heads, n, width); None before it was there."""
        return None

    def current_module(self, path: str, row: int = 0) -> Any:
        """What a module gave in this call; None before it was called."""
        return self._passing.get(path)

    def so_far(self, site: Site, layer: int) -> Float[Tensor, "heads T width"]:
        """Queries, keys or values of a layer (heads, T, width) up to the end of the current call."""
        raise TraceError(f"{site} of layer {layer}: expected a run that keeps it; this one does not")

    def keep_module(self, path: str, value: Any) -> None:
        """Keep what one call of a module gave; of several in one forward call the last stays."""
        kept = self.modules.setdefault(path, [])
        kept[len(self._counts) :] = [copy_value(value)]

    def joined_modules(self) -> dict[str, Any]:
        """What was kept of modules, the forward calls of the run joined."""
        return {path: join_calls(kept, self._counts) for path, kept in self.modules.items()}

    @contextmanager
    def call(self, n: int) -> Iterator[None]:
        """Within this context the model runs the next n positions; if it fails, they were not run."""
        before = self.stop
        self.start, self.stop, self.active = before, before + n, True
        self._forget_call()
        try:
            yield
            self._counts.append(n)
        except BaseException:
            self.stop = before
            for kept in self.modules.values():
                del kept[len(self._counts) :]
            raise
        finally:
            self.active = False
            self._forget_call()

    def _forget_call(self) -> None:
        """Let go of what belongs to one call."""
        self._passing.clear()
        if self.edits is not None:
            self.edits.standing.clear()
