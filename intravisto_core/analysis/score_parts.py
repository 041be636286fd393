"""One end of an attention score, linear in parts of the stream at frozen norms (docs/methods.md §7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.architectures import NormKind
from intravisto_core.models import NormFormula
from intravisto_core.models.reader import Reader
from intravisto_core.models.rotation import Rotation

# a factor that a family puts on its queries leaves next to nothing; one that fits rounding does not
FAR_BETTER = 0.1
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class ScoreSide:
    """The queries, or keys, of one head at n positions, as linear maps of parts of the stream.

    matrix: (d_qk, d) norm, projection and q/k norm without their statistics. scale: (n, 1) one over these statistics.
    fixed: what is there whatever the stream is, (n, d_qk) each, by name. whole: (n, d_qk) made from the stream itself.
    factor: by which the family multiplies what it made (OPT: its queries). error: of `whole` from what was captured.
    """

    reader: Reader
    head: int
    rotation: Rotation
    matrix: Float[Tensor, "d_qk d"]
    scale: Float[Tensor, "n 1"]
    fixed: dict[str, Float[Tensor, "n d_qk"]]
    whole: Float[Tensor, "n d_qk"]
    factor: float
    error: float

    @classmethod
    def of(
        cls,
        reader: Reader,
        head: int,
        rotation: Rotation,
        x: Float[Tensor, "n d"],
        captured: Float[Tensor, "n d_qk"],
        word: str,
    ) -> Self:
        """x: the stream. captured: what the run had. word: "query" or "key"."""
        raw, head_sigma = reader.raw(x, head)
        scale = torch.ones_like(x[:, :1]) if reader.norm is None else 1 / reader.norm.sigma(x)
        matrix = fold_reader(reader, head)
        if head_sigma is not None:
            scale = scale / head_sigma
        before = reader.scaled(raw, head, head_sigma)
        fixed: dict[str, Tensor] = {}
        own = slice(head * reader.d_head, (head + 1) * reader.d_head)
        if reader.norm is not None and reader.norm.shift is not None:
            fixed["norm bias"] = _scaled(reader, head, reader.w[own] @ reader.norm.shift, head_sigma, len(x))
        if reader.bias is not None:
            fixed[f"{word} bias"] = _scaled(reader, head, reader.bias[own], head_sigma, len(x))
        shift = reader.shift(head)
        if shift is not None:
            fixed[f"{word} norm bias"] = shift.expand(len(x), -1)
            before = before + shift
        if reader.clip:
            fixed["clip"] = reader.clipped(before) - before
        whole = rotation.apply(reader.clipped(before))
        factor, error = _compare(whole, captured)
        turned = {name: factor * rotation.apply(each) for name, each in fixed.items()}
        return cls(reader, head, rotation, matrix, scale, turned, factor * whole, factor, error)

    def of_stream(self, parts: Float[Tensor, "p n d"]) -> Float[Tensor, "p n d_qk"]:
        """What each part of the stream gives."""
        return self.of_projected(parts @ self.matrix.T)

    def of_projected(self, projected: Float[Tensor, "p n d_qk"]) -> Float[Tensor, "p n d_qk"]:
        """The same where `matrix` was applied already."""
        return self.factor * self.rotation.apply(projected * self.scale)

    def without(self, x: Float[Tensor, " d"], parts: Float[Tensor, "p d"]) -> Float[Tensor, "p d_qk"]:
        """Of one position: the query or key made anew from the stream x without each part, norms free."""
        return self.factor * self.rotation.apply(self.reader.read((x - parts)[:, None], self.head))[:, 0]


def fold_reader(reader: Reader, head: int) -> Float[Tensor, "d_qk d"]:
    """Norm, projection and q/k norm of one head as one matrix, without their statistics."""
    own = reader.w[head * reader.d_head : (head + 1) * reader.d_head]
    own = own if reader.norm is None else through_norm(own, reader.norm)
    if reader.head_norm is None:
        return own
    one = torch.ones((), dtype=own.dtype, device=own.device)
    return reader.head_norm.linear(own.T, head, one).T


def through_norm(matrix: Float[Tensor, "out d"], norm: NormFormula) -> Float[Tensor, "out d"]:
    """A matrix that is given what a norm without its statistic and shift gives."""
    matrix = matrix * norm.scale
    return matrix - matrix.mean(1, keepdim=True) if norm.kind is NormKind.LAYER else matrix


def _scaled(reader: Reader, head: int, raw: Tensor, sigma: Tensor | None, n: int) -> Float[Tensor, "n d_qk"]:
    return reader.scaled(raw.expand(n, -1), head, sigma)


def _compare(made: Float[Tensor, "n d_qk"], captured: Float[Tensor, "n d_qk"]) -> tuple[float, float]:
    """One factor for all numbers, 1 unless another fits far better; and how far they are off then, at the worst of the
    positions.
    """
    made, captured = made.double(), captured.double()
    factor = float((made * captured).sum() / made.square().sum().clamp(min=1e-30))
    if (captured - factor * made).norm() > FAR_BETTER * (captured - made).norm():
        factor = 1.0
    lengths = captured.norm(dim=-1)
    off = (captured - factor * made).norm(dim=-1) / lengths.clamp(min=1e-6 * float(lengths.median()) + 1e-30)
    return factor, float(off.max())


@dataclass(slots=True)
class Parts:
    """Parts of one end of a score. vectors: (p, d) of the stream, NaN of what is no stream. made: (p, d_qk) of them.

    held: (p, d_qk) the same less what it is held against.
    """

    names: list[str]
    vectors: Float[Tensor, "p d"]
    made: Float[Tensor, "p d_qk"]
    held: Float[Tensor, "p d_qk"]

    def fold(self, sizes: Float[Tensor, " p"], most: int, keep: str) -> Parts:
        """The largest of them in their order, and the one to keep; the others are one part."""
        if len(self.names) <= most:
            return self
        wanted = torch.tensor([name == keep for name in self.names], device=sizes.device)
        kept = sizes.abs().masked_fill(wanted, torch.inf).topk(most - 1).indices.sort().values
        others = torch.ones(len(self.names), dtype=torch.bool, device=sizes.device)
        others[kept] = False
        names = [*(self.names[i] for i in kept.tolist()), OTHERS]

        def folded(x: Tensor) -> Tensor:
            return torch.cat([x[kept], x[others].nansum(0, keepdim=True)])

        return Parts(names, folded(self.vectors), folded(self.made), folded(self.held))


def fold_attention(
    matrix: Float[Tensor, "d_qk d"], w_o: Float[Tensor, "d H d_v"], norm: NormFormula | None, multiplier: float
) -> Float[Tensor, "H d_qk d_v"]:
    """`matrix · P_lin · W_O` of every head, post-norm statistic left out: from z straight to a query or key."""
    if norm is not None:
        matrix = through_norm(matrix, norm)
    return torch.einsum("kd,dhv->hkv", matrix * multiplier, w_o)
