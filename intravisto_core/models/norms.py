"""A norm as a formula whose scale can be frozen (docs/methods.md §1: N, N_lin)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intravisto_core.architectures import Architecture, NormKind
from intravisto_core.errors import ModelError
from intravisto_core.models.weights import parameter

EPS_NAMES = ("variance_epsilon", "eps", "epsilon", "norm_eps")


@dataclass(frozen=True, slots=True)
class NormFormula:
    """RMSNorm `γ⊙x/σ` or LayerNorm `γ⊙(x − mean x)/σ + β`, in float32.

    scale: γ (d,), with the family's offset added, or a single 1. shift: β (d,), or None. A norm of queries or keys may
    have one of each for every head.
    """

    kind: NormKind
    scale: Float[Tensor, "*heads d"] | Float[Tensor, ""]
    shift: Float[Tensor, "*heads d"] | None
    eps: float

    @classmethod
    def of(cls, module: nn.Module, architecture: Architecture) -> NormFormula:
        """Read a norm module; one without a stored scale has γ = 1.

        Raises:
            ModelError: it keeps its eps under no known name.
        """
        eps = architecture.norm_eps
        if eps is None:
            eps = next((getattr(module, n) for n in EPS_NAMES if hasattr(module, n)), None)
        if eps is None:
            raise ModelError(f"norm: expected a module with an eps; got {type(module).__name__}")
        weight, bias = parameter(module, "weight"), parameter(module, "bias")
        scale = torch.ones((), dtype=torch.float32) if weight is None else weight.float() + architecture.norm_offset
        shift = None if bias is None else bias.float()
        return cls(architecture.norm, scale, shift, float(eps))

    def centre(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """`x − mean x` for LayerNorm, x for RMSNorm."""
        return x - x.mean(-1, keepdim=True) if self.kind is NormKind.LAYER else x

    def sigma(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n 1"]:
        """The statistic that the norm divides by."""
        return (self.centre(x).square().mean(-1, keepdim=True) + self.eps).sqrt()

    def linear(
        self, x: Float[Tensor, "*n d"], sigma: Float[Tensor, "*#n 1"] | Float[Tensor, ""]
    ) -> Float[Tensor, "*n d"]:
        """`N_lin`: the norm of an update at a frozen σ, without β."""
        return self.scale * self.centre(x) / sigma

    def without_scale(self, x: Float[Tensor, "*n d"], sigma: Float[Tensor, "*#n 1"]) -> Float[Tensor, "*n d"]:
        """The norm without γ and β."""
        return self.centre(x) / sigma

    def __call__(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        out = self.linear(x, self.sigma(x))
        return out if self.shift is None else out + self.shift

    def to(self, device: torch.device) -> NormFormula:
        """The same formula on another device."""
        shift = None if self.shift is None else self.shift.to(device)
        return NormFormula(self.kind, self.scale.to(device), shift, self.eps)
