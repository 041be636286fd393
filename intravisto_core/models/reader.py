"""How attention reads the stream, as formulas whose scales can be frozen: norm, projections, q/k norms (methods §7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intravisto_core.architectures import Architecture
from intravisto_core.errors import ModelError
from intravisto_core.models.loaded import LoadedModel
from intravisto_core.models.norms import NormFormula


@dataclass(frozen=True, slots=True)
class HeadNorm:
    """A norm of queries or keys. formula: scale (G, w) and shift, G 1 or one for each head; its eps and kind.

    whole: whether its statistic is over all heads at once, w being their numbers together.
    """

    formula: NormFormula
    whole: bool

    @classmethod
    def of(cls, module: nn.Module, architecture: Architecture, d_head: int) -> HeadNorm:
        """Read a norm module of an attention."""
        parts: Any = getattr(module, "norms", None)
        if parts is not None:
            each = [NormFormula.of(part, architecture) for part in parts]
            scale = torch.stack([f.scale.expand(d_head) for f in each])
            shift = None if each[0].shift is None else torch.stack([f.shift for f in each if f.shift is not None])
            return cls(NormFormula(each[0].kind, scale, shift, each[0].eps), False)
        found = NormFormula.of(module, architecture)
        whole = found.scale.ndim == 1 and found.scale.numel() != d_head
        return cls(found, whole)

    def sigma(self, x: Float[Tensor, "*n heads d_head"]) -> Float[Tensor, "*n heads 1"]:
        """The statistic that each head's vector is divided by."""
        if not self.whole:
            return self.formula.sigma(x)
        return self.formula.sigma(x.flatten(-2))[..., None].expand(*x.shape[:-1], 1)

    def linear(
        self, x: Float[Tensor, "*n d_head"], head: int, sigma: Float[Tensor, "*#n 1"] | Float[Tensor, ""]
    ) -> Float[Tensor, "*n d_head"]:
        """The norm of one head's part at a frozen statistic, without shift."""
        return self._of_head(self.formula.scale, head, x.shape[-1]) * self._centre(x) / sigma

    def pull_back(self, x: Float[Tensor, "*n d_head"], head: int) -> Float[Tensor, "*n d_head"]:
        """`C(γ ⊙ x)`, σ left out: what a product with the normed vector is with the vector before the norm."""
        return self._centre(self._of_head(self.formula.scale, head, x.shape[-1]) * x)

    def shift(self, head: int, d_head: int) -> Float[Tensor, " d_head"] | None:
        """What is added after the scale, or None."""
        found = self.formula.shift
        return None if found is None else self._of_head(found, head, d_head)

    def _centre(self, x: Tensor) -> Tensor:
        if self.whole and self.formula.centre(torch.ones(2))[0] == 0:
            raise ModelError("q/k norm: expected no mean over all heads; a head's part has none of its own")
        return self.formula.centre(x)

    def _of_head(self, x: Tensor, head: int, d_head: int) -> Tensor:
        if self.whole:
            return x[head * d_head : (head + 1) * d_head]
        return x[head] if x.ndim == 2 else x


@dataclass(frozen=True, slots=True)
class Reader:
    """How the attention of a layer makes queries or keys of one head: norm, W, bias, q/k norm, clip.

    norm: None where the stream is read as it is. w: (heads · d_qk, d), all heads, float32. bias: (heads · d_qk,).
    clip: the largest size that a number keeps, or 0; after the q/k norm.
    """

    norm: NormFormula | None
    w: Float[Tensor, "out d"]
    bias: Float[Tensor, " out"] | None
    head_norm: HeadNorm | None
    clip: float
    d_head: int

    def normed(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The stream as the projection reads it."""
        return x if self.norm is None else self.norm(x)

    def raw(self, x: Float[Tensor, "*n d"], head: int) -> tuple[Float[Tensor, "*n d_qk"], Float[Tensor, "*n 1"] | None]:
        """One head's projection of the stream, and the statistic of the q/k norm, where there is one."""
        y, own = self.normed(x), slice(head * self.d_head, (head + 1) * self.d_head)
        every = self.head_norm is not None and self.head_norm.whole
        out = y @ (self.w if every else self.w[own]).T
        if self.bias is not None:
            out = out + (self.bias if every else self.bias[own])
        if self.head_norm is None:
            return out, None
        heads = out.unflatten(-1, (-1, self.d_head))
        place = head if every else 0
        return heads[..., place, :], self.head_norm.sigma(heads)[..., place, :]

    def scaled(
        self, raw: Float[Tensor, "*n d_qk"], head: int, sigma: Float[Tensor, "*#n 1"] | None
    ) -> Float[Tensor, "*n d_qk"]:
        """A part of the projection through the q/k norm at a frozen statistic, without its shift."""
        return raw if self.head_norm is None or sigma is None else self.head_norm.linear(raw, head, sigma)

    def shift(self, head: int) -> Float[Tensor, " d_qk"] | None:
        """What the q/k norm adds, or None."""
        return None if self.head_norm is None else self.head_norm.shift(head, self.d_head)

    def clipped(self, out: Float[Tensor, "*n d_qk"]) -> Float[Tensor, "*n d_qk"]:
        """Numbers cut off at the largest size."""
        return out.clamp(-self.clip, self.clip) if self.clip else out

    def read(self, x: Float[Tensor, "*n d"], head: int) -> Float[Tensor, "*n d_qk"]:
        """One head's query or key, norms free, before positions are turned in."""
        raw, sigma = self.raw(x, head)
        out, shift = self.scaled(raw, head, sigma), self.shift(head)
        return self.clipped(out if shift is None else out + shift)


def read_readers(model: LoadedModel, layer: int) -> tuple[Reader, Reader]:
    """How a layer makes its queries and its keys.

    Raises:
        ModelError: its projections were not found.
    """
    size, architecture, block = model.dimensions, model.blueprint.architecture, model.blueprint.blocks[layer]
    if not block.reader.projections:
        raise ModelError(
            f"layer {layer}: expected projections that make its queries and keys; this {architecture.family} model has "
            "none under a name that is known"
        )
    norm = block.reader.norm
    formula = None if norm is None else NormFormula.of(norm, architecture).to(model.device)
    limit = getattr(model.config, "clip_qkv", None) or getattr(block.attention, "clip_qkv", None)
    made = []
    for name, own in (("w_q", block.reader.q_norm), ("w_k", block.reader.k_norm)):
        head_norm = None if own is None else HeadNorm.of(own, architecture, size.d_head)
        if head_norm is not None:
            head_norm = HeadNorm(head_norm.formula.to(model.device), head_norm.whole)
        weight, bias = model.weights.get(f"{name}.{layer}").float(), model.weights.bias(f"{name}.{layer}")
        made.append(Reader(formula, weight, bias, head_norm, float(limit or 0.0), size.d_head))
    return made[0], made[1]
