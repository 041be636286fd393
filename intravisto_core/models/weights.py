"""The one accessor for weights: the only place that knows how a matrix is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate.utils import align_module_device
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from intravisto_core.architectures import Blueprint, ExpertModules
from intravisto_core.errors import RequestError, expected
from intravisto_core.models import quantisation
from intravisto_core.progress import Report, quiet

CHUNK = 4096
PAGE = 4096


def parameter(module: nn.Module, name: str) -> Tensor | None:
    """A parameter as it is when the module runs, fetched where it is offloaded; None where there is none."""
    stored = getattr(module, name, None)
    if not isinstance(stored, Tensor):
        return None
    if stored.device.type != "meta":
        return stored.detach()
    with align_module_device(module):
        fetched: Tensor = getattr(module, name)
        return fetched.detach()


@dataclass(frozen=True, slots=True)
class StoredWeight:
    """Any weight of a network by its name, whether or not `Weights` has a name for it."""

    name: str
    module: nn.Module
    attribute: str
    dtype: torch.dtype

    @contextmanager
    def whole(self) -> Iterator[Tensor]:
        """The weight as the model runs with it, fetched or dequantised for as long as this context lasts."""
        if self.attribute == "weight" and quantisation.kind_of(self.module):
            yield quantisation.dequantised(self.module, self.dtype)
            return
        found = parameter(self.module, self.attribute)
        assert found is not None
        yield found


def stored_weights(network: nn.Module, dtype: torch.dtype) -> Iterator[StoredWeight]:
    """Every weight of a network, a tied one once. dtype: that packed ones are unpacked to."""
    seen: set[int] = set()
    for path, module in network.named_modules():
        for attribute, held in module.named_parameters(recurse=False):
            if id(held) not in seen:
                seen.add(id(held))
                yield StoredWeight(f"{path}.{attribute}", module, attribute, dtype)


def read_in(network: nn.Module, report: Report = quiet) -> None:
    """Have all weights in memory that are mapped from files, in one go; what `report` raises ends it.

    Else they would be read at random as the first texts come to them, and a run would take memory that is no run's.
    """
    mapped = [w for w in network.parameters() if w.device.type == "cpu" and w.is_contiguous()]
    done, total = 0, sum(weight.nbytes for weight in mapped)
    for weight in mapped:
        weight.detach().flatten().view(torch.uint8)[::PAGE].sum()
        done += weight.nbytes
        report(done, total, "reading the weights into memory")


def _rows(weight: Tensor, rows: slice | Tensor | None) -> Tensor:
    """Those rows, wherever their numbers and the matrix lie."""
    if rows is None:
        return weight
    return weight[rows.to(weight.device) if isinstance(rows, Tensor) else rows]


class Weights:
    """Matrices of a model as (out, in), whatever the module that holds them.

    Names: "embed" (V, d), "unembed" (V, d), and per block "w_o.3" (d, H·d_v), "w_out.3" (d, d_mlp); where
    experts take turns, instead of w_out, "expert_in.3.7" (gate and up as they are stored, d) and "expert_out.3.7"
    (d, d_expert) of expert 7; of a shared expert, which is numbered after them, "expert_out" alone. Offloaded matrices
    are fetched, packed ones dequantised, at every call, and those of other devices brought to `device`, where captures
    are.
    """

    def __init__(self, blueprint: Blueprint, dtype: torch.dtype, device: torch.device) -> None:
        self._device = device
        self._modules: dict[str, nn.Module] = {"embed": blueprint.embed, "unembed": blueprint.unembed}
        self._stacks: dict[str, tuple[nn.Module, str]] = {}
        for layer, block in enumerate(blueprint.blocks):
            self._modules[f"w_o.{layer}"] = block.w_o
            if block.w_out is not None:
                self._modules[f"w_out.{layer}"] = block.w_out
            if block.experts is not None:
                self._name_experts(layer, block.experts)
        self._dtype = dtype
        self._means: dict[str, Tensor] = {}

    def _name_experts(self, layer: int, part: ExpertModules) -> None:
        if part.experts is not None:
            first = "gate_up_proj" if part.experts.has_gate else "up_proj"
            self._stacks[f"expert_in.{layer}"] = (part.experts, first)
            self._stacks[f"expert_out.{layer}"] = (part.experts, "down_proj")
        if part.shared_w_out is not None:
            self._modules[f"expert_out.{layer}.{part.n_routed}"] = part.shared_w_out

    def _expert(self, name: str, suffix: str = "") -> Tensor | None:
        """What a stack holds of one expert, as it is stored."""
        stack, _, expert = name.rpartition(".")
        module, attribute = self._stacks[stack]
        stored = parameter(module, attribute + suffix)
        return None if stored is None else stored[int(expert)]

    def _stacked(self, name: str) -> bool:
        return name not in self._modules and name.rpartition(".")[0] in self._stacks

    def _module(self, name: str) -> nn.Module:
        try:
            return self._modules[name]
        except KeyError:
            known = "embed, unembed, w_o.<layer>, w_out.<layer>, expert_in.<layer>.<expert> or expert_out.…"
            raise RequestError(expected("weight", known, name)) from None

    def get(self, name: str, rows: slice | Tensor | None = None) -> Float[Tensor, "out in"]:
        """A matrix, or some of its rows, in the model's dtype on the device of the captures.

        Raises:
            RequestError: no matrix has that name.
        """
        return self._stored(name, rows).to(self._device)

    def _stored(self, name: str, rows: slice | Tensor | None) -> Tensor:
        """As `get`, where the matrix lies."""
        if self._stacked(name):
            return self._slice(name, rows)
        module = self._module(name)
        if quantisation.kind_of(module):
            return quantisation.dequantised(module, self._dtype, rows)
        weight = parameter(module, "weight")
        assert weight is not None
        if isinstance(module, Conv1D):
            weight = weight.T
        return _rows(weight, rows)

    def _slice(self, name: str, rows: slice | Tensor | None) -> Tensor:
        weight = self._expert(name)
        assert weight is not None
        if self._stacks[name.rpartition(".")[0]][0].is_transposed:
            weight = weight.T
        return _rows(weight, rows)

    def bias(self, name: str) -> Float[Tensor, " out"] | None:
        """The bias beside a matrix, float32, or None."""
        bias = self._expert(name, "_bias") if self._stacked(name) else parameter(self._module(name), "bias")
        return None if bias is None else bias.float().to(self._device)

    def chunks(self, name: str, size: int = CHUNK) -> Iterator[tuple[int, Float[Tensor, "rows in"]]]:
        """A matrix by blocks of rows in float32, each with the index of its first row, and gone when the next comes."""
        matrix = self.get(name)
        room = None if matrix.dtype == torch.float32 else matrix.new_empty((size, matrix.shape[1]), dtype=torch.float32)
        for start in range(0, matrix.shape[0], size):
            block = matrix[start : start + size]
            yield start, block if room is None else room[: len(block)].copy_(block)

    def mean_row(self, name: str) -> Float[Tensor, " in"]:
        """The mean of all rows, float32."""
        if name not in self._means:
            total = torch.stack([block.sum(0, dtype=torch.float64) for _, block in self.chunks(name)]).sum(0)
            self._means[name] = (total / self.n_rows(name)).float()
        return self._means[name]

    def shape(self, name: str) -> tuple[int, int]:
        """(out, in), without touching the numbers."""
        module = self._module(name)
        if quantisation.kind_of(module):
            return int(module.out_features), int(module.in_features)  # type: ignore[arg-type]
        rows, columns = module.weight.shape  # type: ignore[misc]
        return (int(columns), int(rows)) if isinstance(module, Conv1D) else (int(rows), int(columns))

    def n_rows(self, name: str) -> int:
        """How many rows a matrix has."""
        return self.shape(name)[0]

    @property
    def tied(self) -> bool:
        """Whether input and output tables are one."""
        embed, unembed = self._module("embed").weight, self._module("unembed").weight
        if embed is unembed:
            return True
        assert isinstance(embed, Tensor)
        assert isinstance(unembed, Tensor)
        known = embed.device.type != "meta" and embed.shape == unembed.shape
        return known and embed.data_ptr() == unembed.data_ptr()
