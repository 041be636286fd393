"""Who is asked inside attention, and nothing else: queries, keys and values pass through its hands."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from intravisto_core.tracing.sink import Sink

# (layer, query, key, value), (rows, heads, positions, width) each; what it changes, it changes in place
ChangeHeads = Callable[[int, Tensor, Tensor, Tensor], None]


class HeadsSink(Sink):
    """Captures nothing but what functions ask for. values: by layer, of the call under way, all keys' values."""

    def __init__(self, change: ChangeHeads) -> None:
        super().__init__()
        self._change = change
        self.values: dict[int, Tensor] = {}

    def change_heads(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three, as the function left them."""
        self._change(layer, query, key, value)
        self.values = {layer: value}
        return query, key, value
