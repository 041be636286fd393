"""How the MLP of a block reads the stream, as a formula whose scale can be frozen (docs/methods.md §7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.errors import ModelError
from intravisto_core.models.loaded import LoadedModel
from intravisto_core.models.norms import NormFormula


@dataclass(frozen=True, slots=True)
class NeuronReader:
    """Input rows of some neurons, of a layer or of one of its experts.

    gate: (n, d) float32, None in an MLP without a gate. up: (n, d). gate_bias, up_bias: (n,) or None. norm: what the
    stream is read through, None where it is read as it is.
    """

    norm: NormFormula | None
    gate: Float[Tensor, "n d"] | None
    gate_bias: Float[Tensor, " n"] | None
    up: Float[Tensor, "n d"]
    up_bias: Float[Tensor, " n"] | None

    @property
    def first(self) -> Float[Tensor, "n d"]:
        """What decides whether a neuron fires: its gate's row, or where there is no gate its only one."""
        return self.up if self.gate is None else self.gate

    def inputs(self, x: Float[Tensor, "T d"]) -> tuple[Float[Tensor, "T n"] | None, Float[Tensor, "T n"]]:
        """What the gate and the up row make of the stream, before the activation function."""
        normed = x if self.norm is None else self.norm(x)
        return _times(normed, self.gate, self.gate_bias), _times(normed, self.up, self.up_bias)  # type: ignore[return-value]

    def fold(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Rows as they read the stream itself: `C(γ ⊙ w)`, σ left out."""
        return rows if self.norm is None else self.norm.centre(self.norm.scale * rows)

    def shift(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"] | None:
        """What the norm's β gives to each row, or None."""
        return None if self.norm is None or self.norm.shift is None else rows @ self.norm.shift


def _times(x: Tensor, rows: Tensor | None, bias: Tensor | None) -> Tensor | None:
    if rows is None:
        return None
    out = x @ rows.T
    return out if bias is None else out + bias


def read_neurons(model: LoadedModel, layer: int, neurons: Int[Tensor, " n"], expert: int = -1) -> NeuronReader:
    """The input rows of some neurons. expert: −1 of a layer without experts.

    Raises:
        ModelError: this model's are not known.
    """
    reader, where = model.blueprint.blocks[layer].mlp, str(layer) if expert < 0 else f"{layer}.{expert}"
    if reader is None or not model.weights.has(f"up.{where}"):
        raise ModelError(
            f"layer {layer}: expected the rows that fire its neurons; this {model.blueprint.architecture.family} model "
            "has none under a name that is known"
        )
    weights = model.weights
    norm = None
    if reader.norm is not None:
        norm = NormFormula.of(reader.norm, model.blueprint.architecture).to(model.device)
    gated = weights.has(f"gate.{where}")
    gate_bias, up_bias = weights.bias(f"gate.{where}") if gated else None, weights.bias(f"up.{where}")
    return NeuronReader(
        norm=norm,
        gate=weights.get(f"gate.{where}", neurons).float() if gated else None,
        gate_bias=None if gate_bias is None else gate_bias[neurons],
        up=weights.get(f"up.{where}", neurons).float(),
        up_bias=None if up_bias is None else up_bias[neurons],
    )


@torch.no_grad()
def fire(
    model: LoadedModel, layer: int, gate: Tensor | None, up: Float[Tensor, "T n"], expert: int = -1
) -> Float[Tensor, "T n"]:
    """What the activation function makes of both inputs: the neurons, float32, by the model's own function."""
    part = model.blueprint.blocks[layer].experts
    if part is not None and 0 <= expert < part.n_routed:
        return _fire_expert(model, layer, gate, up)
    reader = model.blueprint.blocks[layer].mlp
    assert reader is not None
    act: Any = reader.act
    out: Tensor = act(up if gate is None else gate)
    return out if gate is None else out * up


def _fire_expert(model: LoadedModel, layer: int, gate: Tensor | None, up: Tensor) -> Tensor:
    if gate is None:
        return model.gated(layer, up)
    paths = model.blueprint.architecture.experts
    joined = torch.stack([gate, up], -1).flatten(-2) if paths is not None and paths.interleaved else None
    return model.gated(layer, torch.cat([gate, up], -1) if joined is None else joined)
