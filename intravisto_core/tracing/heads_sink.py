"""Who is asked inside attention, and nothing else: queries, keys and values pass through its hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from intravisto_core.sites import Site
from intravisto_core.tracing.capture import CaptureSink

# (layer, query, key, value), (rows, heads, positions, width) each; what it changes, it changes in place
ChangeHeads = Callable[[int, Tensor, Tensor, Tensor], None]


class HeadsSink(CaptureSink):
    """Captures nothing but what functions ask for. values: by layer, of the call under way, all keys' values."""

    def __init__(self, change: ChangeHeads) -> None:
        self._change = change
        self.wanted: set[Site] = set()
        self.values: dict[int, Tensor] = {}
        self.stop = 0

    def change_heads(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three, as the function left them."""
        self._change(layer, query, key, value)
        self.values = {layer: value}
        return query, key, value

    def attention(self, *_: Any, **__: Any) -> None:
        """Nothing: nobody asks for it."""

    def masked(
        self, layer: int, mask: Tensor | None, query: Tensor, n_key: int, seen: Tensor | None = None
    ) -> Tensor | None:
        """The mask as it is."""
        return mask
