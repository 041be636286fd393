"""The one accessor for weights: the only place that knows how a matrix is stored."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from intravisto_core.architectures import Blueprint
from intravisto_core.errors import RequestError, expected

CHUNK = 4096


def _matrix(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


class Weights:
    """Matrices of a model as (out, in), whatever the module that holds them.

    Names: "embed" (V, d), "unembed" (V, d), and per block "w_o.3" (d, H·d_v), "w_out.3" (d, d_mlp); where
    experts take turns there is no w_out.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self._modules: dict[str, nn.Module] = {"embed": blueprint.embed, "unembed": blueprint.unembed}
        for layer, block in enumerate(blueprint.blocks):
            self._modules[f"w_o.{layer}"] = block.w_o
            if block.w_out is not None:
                self._modules[f"w_out.{layer}"] = block.w_out
        self._means: dict[str, Tensor] = {}

    def _module(self, name: str) -> nn.Module:
        try:
            return self._modules[name]
        except KeyError:
            raise RequestError(expected("weight", "embed, unembed, w_o.<layer> or w_out.<layer>", name)) from None

    def get(self, name: str, rows: slice | Tensor | None = None) -> Float[Tensor, "out in"]:
        """A matrix, or some of its rows, in the model's dtype on its device.

        Raises:
            RequestError: no matrix has that name.
        """
        module = self._module(name)
        weight = _matrix(module)
        if isinstance(module, Conv1D):
            weight = weight.T
        return weight if rows is None else weight[rows]

    def bias(self, name: str) -> Float[Tensor, " out"] | None:
        """The bias beside a matrix, float32, or None."""
        bias = getattr(self._module(name), "bias", None)
        return bias.detach().float() if isinstance(bias, Tensor) else None

    def chunks(self, name: str, size: int = CHUNK) -> Iterator[tuple[int, Float[Tensor, "rows in"]]]:
        """A matrix by blocks of rows in float32, each with the index of its first row."""
        matrix = self.get(name)
        for start in range(0, matrix.shape[0], size):
            yield start, matrix[start : start + size].float()

    def mean_row(self, name: str) -> Float[Tensor, " in"]:
        """The mean of all rows, float32."""
        if name not in self._means:
            total = torch.stack([block.sum(0, dtype=torch.float64) for _, block in self.chunks(name)]).sum(0)
            self._means[name] = (total / self.n_rows(name)).float()
        return self._means[name]

    def n_rows(self, name: str) -> int:
        """How many rows a matrix has."""
        return int(self.get(name).shape[0])

    @property
    def tied(self) -> bool:
        """Whether input and output tables are one."""
        embed, unembed = _matrix(self._modules["embed"]), _matrix(self._modules["unembed"])
        return embed.data_ptr() == unembed.data_ptr() and embed.shape == unembed.shape
