"""The parts of the stream before a layer: at the two ends of a score, and on the keys that it is held against."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from intravisto_core.analysis.attribution import has_position_table
from intravisto_core.analysis.parts import apply_post_norm, split_attention
from intravisto_core.analysis.score_parts import fold_attention
from intravisto_core.progress import Progress
from intravisto_core.sites import Site
from intravisto_core.views.context import ViewContext

Average = Callable[[Tensor], Tensor]


@dataclass(slots=True)
class StreamParts:
    """Parts of the stream while layers are gone through. names, vectors: (p, 2, d) at query and key.

    averages: (p, d_qk), what they are on the keys that the score is held against. at_ends, at_keys: sums so far.
    """

    names: list[str]
    vectors: list[Tensor]
    averages: list[Tensor]
    at_ends: Tensor
    at_keys: Tensor

    def add(self, names: Sequence[str], vectors: Tensor, averages: Tensor, at_keys: Tensor) -> None:
        """More parts, and what they are at the keys in all."""
        self.names += names
        self.vectors.append(vectors)
        self.averages.append(averages)
        self.at_ends += vectors.sum(0)
        self.at_keys += at_keys


def gather_stream_parts(
    context: ViewContext, layer: int, ends: Tensor, keys: Tensor, matrix: Tensor, average: Average
) -> Generator[Progress, None, StreamParts]:
    """The parts of the stream before a layer, in the order of the model."""
    model, data = context.model, context.data
    start = data.site(Site.RESID_PRE, 0).float()
    nothing = torch.zeros_like(start[keys])
    found = StreamParts([], [], [], torch.zeros_like(start[ends]), nothing)
    if has_position_table(model):
        words = model.weights.get("embed", torch.tensor(data.ids, device=model.device)).float()
        for name, x in (("embedding", words), ("position", start - words)):
            found.add([name], x[ends][None], average((x[keys] @ matrix.T)[None]), x[keys])
    else:
        found.add(["embedding"], start[ends][None], average((start[keys] @ matrix.T)[None]), start[keys])
    for below in range(layer):
        _add_attention(context, below, found, ends, keys, matrix, average)
        out = data.site(Site.MLP_OUT, below).float()
        found.add([f"L{below} MLP"], out[ends][None], average((out[keys] @ matrix.T)[None]), out[keys])
        yield Progress(below + 1, layer, "parts of the score")
    return found


def _add_attention(
    context: ViewContext,
    layer: int,
    found: StreamParts,
    ends: Tensor,
    keys: Tensor,
    matrix: Tensor,
    average: Average,
) -> None:
    """What every head of a layer wrote, and its biases."""
    model, z = context.model, context.data.site(Site.Z, layer).float()
    n_heads, multiplier = model.dimensions.n_heads, model.blueprint.multiplier
    heads, fixed = split_attention(model, layer, z[:, ends])
    w_o, bias = model.weights.get(f"w_o.{layer}").float(), model.weights.bias(f"w_o.{layer}")
    norm, here = apply_post_norm(model, layer, "w_o"), z[:, keys]
    raw = here.transpose(0, 1).flatten(1) @ w_o.T
    rest = torch.zeros_like(raw) if bias is None else bias.expand_as(raw)
    by_head = torch.bmm(here, fold_attention(matrix, w_o.unflatten(1, (n_heads, -1)), norm, multiplier).transpose(1, 2))
    if norm is not None:
        sigma = norm.sigma(raw + rest)
        by_head, raw, rest = by_head / sigma, norm.linear(raw, sigma), norm.linear(rest, sigma)
        rest = rest if norm.shift is None else rest + norm.shift
    found.add([f"L{layer}H{h}" for h in range(n_heads)], heads, average(by_head), raw * multiplier)
    if bias is not None or (norm is not None and norm.shift is not None):
        rest = rest * multiplier
        found.add([f"L{layer} attention bias"], fixed[None], average((rest @ matrix.T)[None]), rest)
