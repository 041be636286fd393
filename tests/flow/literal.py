"""A literal, slow reading of docs/methods.md §5 and §6: float64, one node at a time, by recursion.

Nothing of `intravisto_core` is used in it. A node is (kind, row, position); terminals have position −1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Node = tuple[str, int, int]
Shares = dict[str, float] | None


@dataclass
class Layer:
    """What the junctions and the attention of one block share out.

    mlp: parts of the block output by name, None where undefined ("mlp" and "residual"; parallel also "attention").
    attention: parts of the stream after attention ("attention", "residual"); not read in a parallel block.
    sources: (T, T); sink, bias: (T,). A row of NaN is undefined.
    """

    mlp: list[Shares]
    attention: list[Shares]
    sources: np.ndarray
    sink: np.ndarray
    bias: np.ndarray


@dataclass
class Walk:
    """Mass of every node and link, met one after the other from the start."""

    layers: list[Layer]
    parallel: bool
    sinks: list[list[int]] = field(default_factory=list)
    handling: str = "show"
    nodes: dict[Node, float] = field(default_factory=lambda: defaultdict(float))
    links: dict[tuple[Node, Node], float] = field(default_factory=lambda: defaultdict(float))

    def go(self, node: Node, mass: float) -> None:
        """Bring mass to a node, and hand it on."""
        self.nodes[node] += mass
        for below, share in self.parts(node):
            if mass * share != 0:
                self.links[below, node] += mass * share
                self.go(below, mass * share)

    def parts(self, node: Node) -> list[tuple[Node, float]]:
        kind, r, p = node
        if p < 0 or (kind == "block" and r == 0):
            return []
        if kind == "block" and r == len(self.layers) + 1:
            return [(("block", r - 1, p), 1.0)]
        layer = self.layers[r - 1]
        below = "block" if self.parallel else "mid"
        if kind == "mlp":
            return [((below, r - 1 if self.parallel else r, p), 1.0)]
        if kind == "attention":
            return self.sources(layer, r, p)
        shares = layer.mlp[p] if kind == "block" else layer.attention[p]
        if shares is None:
            return [(("undefined", r, -1), 1.0)]
        into = {"mlp": ("mlp", r, p), "attention": ("attention", r, p)}
        stream = ("mid", r, p) if kind == "block" and not self.parallel else ("block", r - 1, p)
        return [(into.get(name, stream), share) for name, share in shares.items()]

    def sources(self, layer: Layer, r: int, p: int) -> list[tuple[Node, float]]:
        row, sink, bias = layer.sources[p].copy(), layer.sink[p], layer.bias[p]
        if np.isnan(row).any():
            return [(("undefined", r, -1), 1.0)]
        hidden = 0.0
        if self.handling != "show":
            for j in self.sinks[r - 1]:
                hidden, row[j] = hidden + row[j], 0.0
            left = 1 - hidden
            if self.handling == "renormalise" and abs(left) > 1e-6:
                row, sink, bias, hidden = row / left, sink / left, bias / left, 0.0
        ends = [(("sink", r, -1), sink), (("bias", r, -1), bias), (("hidden", r, -1), hidden)]
        return [(("block", r - 1, j), float(s)) for j, s in enumerate(row)] + ends


@dataclass
class Attention:
    """One layer's attention, written out: what head h brings from j to i, (H, T, T, d), and what biases write, (T, d).

    pattern: (H, T, T). brings: (H, T, d), v W_O of each head and source, through the post-norm's γ and the multiplier.
    """

    pattern: np.ndarray
    moved: np.ndarray
    bias: np.ndarray
    brings: np.ndarray

    @classmethod
    def of(
        cls,
        pattern: np.ndarray,
        v: np.ndarray,
        w_o: np.ndarray,
        b_o: np.ndarray,
        post_norm: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        multiplier: float = 1.0,
    ) -> Attention:
        """v: (Hkv, T, d_v). w_o: (H, d_v, d). post_norm(part, whole): the norm at the scale of the whole."""
        h = len(pattern)
        v = np.repeat(v, h // len(v), 0)
        brings = np.einsum("hjv,hvd->hjd", v, w_o)
        moved = np.einsum("hij,hjd->hijd", pattern, brings)
        bias = np.broadcast_to(b_o, moved.sum((0, 2)).shape)
        if post_norm is not None:
            whole = moved.sum((0, 2)) + bias
            moved, bias = post_norm(moved, whole[None, :, None]), post_norm(bias, whole)
            brings = post_norm(brings, np.ones_like(brings))
        return cls(pattern, moved * multiplier, bias * multiplier, brings * multiplier)

    def divide(self, division: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources, sink and bias of every query."""
        t = self.pattern.shape[1]
        if division == "weights":
            sources = self.pattern.mean(0)
            return sources, 1 - sources.sum(1), np.zeros(t)
        c = self.moved.sum(0)
        if division == "value_weighted":
            length = np.linalg.norm(c, axis=-1)
            return length / length.sum(1, keepdims=True), np.zeros(t), np.zeros(t)
        a = c.sum(1) + self.bias
        square = (a * a).sum(-1)
        return np.einsum("ijd,id->ij", c, a) / square[:, None], np.zeros(t), (self.bias * a).sum(-1) / square
