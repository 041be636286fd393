"""How a sparse autoencoder or transcoder makes features of what it reads, and what each feature writes (methods §7)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.sites import FeatureActivation, InputScaling

# of activations at once
ELEMENTS = 1 << 25
SMALLEST = 1e-5


@dataclass(frozen=True, slots=True)
class Encoded:
    """What T inputs became. acts: (T, n). scale, offset: (T, 1) what decoded values are multiplied with, and get."""

    acts: Float[Tensor, "T n"]
    scale: Float[Tensor, "T 1"]
    offset: Float[Tensor, "T 1"]


@dataclass(frozen=True, slots=True, eq=False)
class Coder:
    """One dictionary of n features at one layer, in the data type of its file; it computes in float32.

    w_enc: (d_in, n). w_dec: (n, d_out). threshold: of JumpReLU; of a gated one what its gate needs is 0. k: of TopK.
    b_gate, r_mag: of a gated one, whose b_enc is the magnitude's. skip: (d_out, d_in), what it writes straight from
    its input. centred: whether its mean is taken from the input first. bias_from_input: whether b_dec is taken from it.
    clipped: whether a JumpReLU or TopK leaves nothing negative. by_length: whether activations are compared times the
    length of what they write. factor: (n,) what activations are multiplied with at last. scaling: of the input;
    scaled_back: whether the output gets the input's scale again.
    """

    activation: FeatureActivation
    w_enc: Float[Tensor, "d_in n"]
    w_dec: Float[Tensor, "n d_out"]
    b_enc: Float[Tensor, " n"]
    b_dec: Float[Tensor, " d_out"]
    threshold: Float[Tensor, " n"] | None = None
    k: int = 0
    b_gate: Float[Tensor, " n"] | None = None
    r_mag: Float[Tensor, " n"] | None = None
    skip: Float[Tensor, "d_out d_in"] | None = None
    factor: Float[Tensor, " n"] | None = None
    centred: bool = False
    bias_from_input: bool = False
    clipped: bool = True
    by_length: bool = False
    scaling: InputScaling = InputScaling.NONE
    scaled_back: bool = True

    @property
    def n_features(self) -> int:
        """n."""
        return int(self.w_enc.shape[1])

    def to(self, device: torch.device) -> Coder:
        """The same on another device."""
        moved = {n: t.to(device) for n in self.__slots__ if isinstance(t := getattr(self, n), Tensor)}
        return replace(self, **moved)  # type: ignore[arg-type]

    def encode(self, x: Float[Tensor, "T d_in"], features: Int[Tensor, " m"] | None = None) -> Encoded:
        """Activations of inputs, of all features or of some."""
        x = x.float()
        x = x - x.mean(-1, keepdim=True) if self.centred else x
        x, scale, offset = self._scale(x)
        if self.bias_from_input:
            x = x - self.b_dec.float()
        whole = self.activation is FeatureActivation.TOPK
        chosen = None if whole else features
        acts = self._activate(x, chosen)
        return Encoded(acts[:, features] if whole and features is not None else acts, scale, offset)

    def _scale(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ones, zeros = x.new_ones((len(x), 1)), x.new_zeros((len(x), 1))
        scale, offset = ones, zeros
        if self.scaling is InputScaling.LENGTH:
            scale = x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5
            x = x / scale
        elif self.scaling is InputScaling.LAYER_NORM:
            offset = x.mean(-1, keepdim=True)
            x = x - offset
            scale = x.std(-1, keepdim=True)
            x = x / (scale + SMALLEST)
        return (x, scale, offset) if self.scaled_back else (x, ones, zeros)

    def _activate(self, x: Float[Tensor, "T d_in"], chosen: Tensor | None) -> Float[Tensor, "T m"]:
        def some(values: Tensor) -> Tensor:
            return (values if chosen is None else values[..., chosen]).float()

        product = x @ some(self.w_enc)
        if self.r_mag is not None and self.b_gate is not None:
            acts = (product * some(self.r_mag).exp() + some(self.b_enc)).relu() * (product + some(self.b_gate) > 0)
        else:
            pre = product + some(self.b_enc)
            pre = pre * some(self.lengths()) if self.by_length else pre
            acts = self._cut(pre, None if self.threshold is None else some(self.threshold))
        return acts if self.factor is None else acts * some(self.factor)

    def _cut(self, pre: Tensor, threshold: Tensor | None) -> Tensor:
        kept = pre.relu() if self.clipped else pre
        if threshold is not None:
            return kept * (pre > threshold)
        if self.activation is not FeatureActivation.TOPK:
            return kept
        best = pre.topk(min(self.k, pre.shape[-1]), -1).indices
        return torch.zeros_like(pre).scatter(-1, best, kept.gather(-1, best))

    def read_feature(self, x: Float[Tensor, "T d_in"], feature: int) -> Float[Tensor, " T"]:
        """One feature's activation at every input; where features take turns, in pieces that fit."""
        number = torch.tensor([feature], device=x.device)
        width = self.n_features if self.activation is FeatureActivation.TOPK else 1
        step = max(1, ELEMENTS // width)
        return torch.cat([self.encode(x[i : i + step], number).acts[:, 0] for i in range(0, len(x), step)])

    def lengths(self) -> Float[Tensor, " n"]:
        """The length of what each feature writes at activation 1."""
        return self.w_dec.float().norm(dim=-1)

    def rows(self, features: Int[Tensor, " m"], acts: Float[Tensor, " m"], scale: Tensor) -> Float[Tensor, "m d_out"]:
        """What some features write at their activations. scale: of the input, as in `Encoded`."""
        rows = self.w_dec[features].float()
        if self.by_length:
            rows = rows / rows.norm(dim=-1, keepdim=True)
        return rows * acts[:, None] * scale

    def constant(self, scale: Tensor, offset: Tensor) -> Float[Tensor, " d_out"]:
        """What it writes whatever is active."""
        return (self.b_dec.float() * scale + offset).flatten()

    def straight(self, x: Float[Tensor, " d_in"]) -> Float[Tensor, " d_out"] | None:
        """What the skip connection writes, or None without one."""
        return None if self.skip is None else self.skip.float() @ x.float()
