"""The one accessor for weights: the only place that knows how a matrix is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import align_module_device
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from intravisto_core.architectures import AttentionReader, Blueprint, ExpertModules, Layout, MlpReader
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


def _halves(experts: Any, interleaved: bool) -> dict[str, slice]:
    """Which rows of an expert's stacked matrix are the gate's, and which are what it is multiplied with."""
    if not experts.has_gate:
        return {"up": slice(0, None)}
    if interleaved:
        return {"gate": slice(0, None, 2), "up": slice(1, None, 2)}
    width = int(experts.down_proj.shape[1 if experts.is_transposed else 2])
    return {"gate": slice(0, width), "up": slice(width, None)}


class Weights:
    """Matrices of a model as (out, in), whatever the module that holds them.

    Names: "embed" (V, d), "unembed" (V, d), and per block "w_q.3" (H·d_qk, d), "w_k.3" (Hkv·d_qk, d), "w_v.3"
    (Hkv·d_v, d), which may be rows of one matrix, "w_o.3" (d, H·d_v), "w_out.3" (d, d_mlp); where experts take turns,
    instead of w_out, "expert_in.3.7" (gate and up as they are stored, d) and "expert_out.3.7" (d, d_expert) of expert
    7; of a shared expert, which is numbered after them, "expert_out" alone. What fires neurons are the rows of "gate.3"
    and "up.3", of an expert "gate.3.7" and "up.3.7" (n, d), where they were found (see `has`); an MLP without a gate
    has "up" alone. Offloaded matrices are fetched, packed ones dequantised, at every call, and those of other devices
    brought to `device`, where captures are.
    """

    def __init__(
        self, blueprint: Blueprint, dtype: torch.dtype, device: torch.device, heads: tuple[int, int] = (1, 1)
    ) -> None:
        """heads: how many query heads, and how many kv heads."""
        self._device = device
        self._heads = heads
        self._fused: dict[str, Layout] = {}
        self._modules: dict[str, nn.Module] = {"embed": blueprint.embed, "unembed": blueprint.unembed}
        self._stacks: dict[str, tuple[nn.Module, str]] = {}
        self._pieces: dict[str, tuple[str, slice]] = {}
        for layer, block in enumerate(blueprint.blocks):
            self._modules[f"w_o.{layer}"] = block.w_o
            if block.w_out is not None:
                self._modules[f"w_out.{layer}"] = block.w_out
            self._name_readers(layer, block.reader)
            if block.experts is not None:
                self._name_experts(layer, block.experts, blueprint)
            if block.mlp is not None and block.mlp.up is not None:
                shared = "" if block.experts is None else f".{block.experts.n_routed}"
                self._name_neurons(f"{layer}{shared}", block.mlp)
        self._dtype = dtype
        self._means: dict[str, Tensor] = {}
        self._lengths: dict[str, Tensor] = {}

    def _name_neurons(self, where: str, reader: MlpReader) -> None:
        """where: the layer, or the layer and its shared expert."""
        assert reader.up is not None
        self._modules[f"up.{where}"] = reader.up
        if reader.gate is reader.up:
            half = self.n_rows(f"up.{where}") // 2
            self._modules[f"gate_up.{where}"] = self._modules.pop(f"up.{where}")
            self._pieces[f"gate.{where}"] = (f"gate_up.{where}", slice(0, half))
            self._pieces[f"up.{where}"] = (f"gate_up.{where}", slice(half, None))
        elif reader.gate is not None:
            self._modules[f"gate.{where}"] = reader.gate

    def _name_readers(self, layer: int, reader: AttentionReader) -> None:
        parts = reader.projections
        for name, module in zip(("w_q", "w_k", "w_v"), parts * 3 if len(parts) == 1 else parts, strict=bool(parts)):
            self._modules[f"{name}.{layer}"] = module
            if reader.layout is not None:
                self._fused[f"{name}.{layer}"] = reader.layout

    def _name_experts(self, layer: int, part: ExpertModules, blueprint: Blueprint) -> None:
        if part.experts is not None:
            first = "gate_up_proj" if part.experts.has_gate else "up_proj"
            self._stacks[f"expert_in.{layer}"] = (part.experts, first)
            self._stacks[f"expert_out.{layer}"] = (part.experts, "down_proj")
            paths = blueprint.architecture.experts
            for expert in range(part.n_routed):
                whole = f"expert_in.{layer}.{expert}"
                pieces = _halves(part.experts, paths is not None and paths.interleaved)
                self._pieces |= {f"{name}.{layer}.{expert}": (whole, rows) for name, rows in pieces.items()}
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
            known = "embed, unembed, w_o, w_q, w_k, w_v or w_out.<layer>, expert_in.<layer>.<expert> or expert_out.…"
            raise RequestError(expected("weight", known, name)) from None

    def get(self, name: str, rows: slice | Tensor | None = None) -> Float[Tensor, "out in"]:
        """A matrix, or some of its rows, in the model's dtype on the device of the captures.

        Raises:
            RequestError: no matrix has that name.
        """
        if name in self._pieces:
            whole, piece = self._pieces[name]
            if rows is None:
                return self.get(whole, piece)
            if isinstance(rows, Tensor) and piece.start is not None:
                # the rows alone, by their numbers in the whole
                return self.get(whole, rows * (piece.step or 1) + piece.start)
            return _rows(self.get(whole, piece), rows)
        return self._stored(name, rows).to(self._device)

    def has(self, name: str) -> bool:
        """Whether there is a matrix of that name."""
        return name in self._pieces or name in self._modules or self._stacked(name)

    def lengths(self, name: str, through: Callable[[Tensor], Tensor] | None = None) -> Float[Tensor, " in"]:
        """The length of every column of a matrix, float32, once a model. through: what columns (…, out) go through."""
        if name not in self._lengths:
            written = self.get(name).float()
            self._lengths[name] = (written if through is None else through(written.T).T).norm(dim=0)
        return self._lengths[name]

    def _stored(self, name: str, rows: slice | Tensor | None) -> Tensor:
        """As `get`, where the matrix lies."""
        if self._stacked(name):
            return self._slice(name, rows)
        module = self._module(name)
        if name in self._fused:
            own = self._rows_of(name)
            rows = own if rows is None else own[rows.cpu() if isinstance(rows, Tensor) else rows]
        if quantisation.kind_of(module):
            return quantisation.dequantised(module, self._dtype, rows)
        weight = parameter(module, "weight")
        assert weight is not None
        if isinstance(module, Conv1D):
            weight = weight.T
        return _rows(weight, rows)

    def _rows_of(self, name: str) -> Tensor:
        """The rows of a fused matrix that are queries, keys or values, by head."""
        n_heads, n_kv = self._heads
        width = self._stored_shape(name)[0] // (n_heads + 2 * n_kv)
        which, group = name.partition(".")[0], n_heads // n_kv
        rows = torch.arange((n_heads + 2 * n_kv) * width).view(-1, width)
        if self._fused[name] is Layout.CONCAT:
            start, stop = {"w_q": (0, n_heads), "w_k": (n_heads, n_heads + n_kv), "w_v": (-n_kv, None)}[which]
            return rows[start:stop].flatten()
        by_group = rows.view(n_kv, group + 2, width)
        start, stop = {"w_q": (0, group), "w_k": (group, group + 1), "w_v": (group + 1, None)}[which]
        return by_group[:, start:stop].flatten()

    def _slice(self, name: str, rows: slice | Tensor | None) -> Tensor:
        weight = self._expert(name)
        assert weight is not None
        if self._stacks[name.rpartition(".")[0]][0].is_transposed:
            weight = weight.T
        return _rows(weight, rows)

    def bias(self, name: str) -> Float[Tensor, " out"] | None:
        """The bias beside a matrix, float32, or None."""
        if name in self._pieces:
            whole, piece = self._pieces[name]
            found = self.bias(whole)
            return None if found is None else found[piece]
        bias = self._expert(name, "_bias") if self._stacked(name) else parameter(self._module(name), "bias")
        if bias is not None and name in self._fused:
            bias = bias[self._rows_of(name).to(bias.device)]
        return None if bias is None else bias.float().to(self._device)

    def chunks(self, name: str, size: int | None = CHUNK) -> Iterator[tuple[int, Float[Tensor, "rows in"]]]:
        """A matrix by blocks of rows in float32, each with the index of its first row, and gone when the next comes.

        size: how many rows; None is all of them at once, where they are in float32 as they lie.
        """
        matrix = self.get(name)
        if size is None:
            size = max(1, len(matrix)) if matrix.dtype == torch.float32 else CHUNK
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
        if name in self._fused:
            return len(self._rows_of(name)), self._stored_shape(name)[1]
        return self._stored_shape(name)

    def _stored_shape(self, name: str) -> tuple[int, int]:
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
