"""Where the weights of a model go: one device, several, or host memory and disk beside them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from intravisto_core.architectures import auto_class
from intravisto_core.errors import RequestError
from intravisto_core.models.free_memory import free_bytes

PART_FOR_WEIGHTS = 0.85


@dataclass(frozen=True, slots=True)
class Placement:
    """device: where inputs go and captures are kept. options: for transformers' loader. scratch: a folder for weights
    that leave memory, gone with its last reference."""

    device: torch.device
    options: dict[str, Any]
    scratch: tempfile.TemporaryDirectory[str] | None = None


def device_of(device_map: str) -> torch.device:
    """The device that runs a model with that map.

    Raises:
        RequestError: it asks for a GPU and there is none.
    """
    if device_map == "cuda" and not torch.cuda.is_available():
        raise RequestError('device_map: expected a machine with a CUDA device for "cuda"; none was found. Use "cpu"')
    return torch.device("cuda:0" if device_map != "cpu" and torch.cuda.is_available() else "cpu")


def place(device_map: str, config: Any, nbytes: int, *, packed: bool = False) -> Placement:
    """Where weights of that size go.

    config: transformers' configuration, from which an empty model tells its modules. packed: in 8 or 4 bits; these are
    not read piece by piece, and go to the host as a whole where the GPUs are too small.
    """
    device = device_of(device_map)
    if device_map == "offload":
        return _spread(device, blocks_apart(empty(config), str(device), _second_place(device, nbytes)))
    if device_map == "auto" and device.type == "cuda" and nbytes > PART_FOR_WEIGHTS * free_bytes(device):
        room: dict[int | str, int] = {
            i: int(PART_FOR_WEIGHTS * free_bytes(torch.device("cuda", i))) for i in range(torch.cuda.device_count())
        }
        if packed and nbytes > sum(room.values()):
            return Placement(torch.device("cpu"), {"device_map": {"": "cpu"}})
        if not packed:
            room["cpu"] = int(PART_FOR_WEIGHTS * free_bytes(torch.device("cpu")))
        return _spread(device, "auto", max_memory=room)
    return Placement(device, {"device_map": {"": str(device)}})


def _spread(device: torch.device, device_map: Any, **options: Any) -> Placement:
    scratch = tempfile.TemporaryDirectory(prefix="intravisto-", ignore_cleanup_errors=True)
    return Placement(device, {"device_map": device_map, "offload_folder": scratch.name, **options}, scratch)


def _second_place(device: torch.device, nbytes: int) -> str:
    """Host memory for the blocks of a model that runs on a GPU, where it is large enough; else the disk."""
    fits = nbytes <= PART_FOR_WEIGHTS * free_bytes(torch.device("cpu"))
    return "cpu" if device.type == "cuda" and fits else "disk"


def empty(config: Any) -> nn.Module:
    """The model of a configuration without any numbers."""
    with torch.device("meta"):
        network: nn.Module = auto_class(config).from_config(config)
    return network


def blocks_apart(network: nn.Module, here: str, there: str) -> dict[str, str]:
    """A device map with the blocks `there` and all that is read at every step `here`."""
    lists = {name: module for name, module in network.named_modules() if isinstance(module, nn.ModuleList)}
    blocks = max(lists, key=lambda name: sum(p.numel() for p in lists[name].parameters()))
    where, path, root = {blocks: there}, "", network
    for step in blocks.split("."):
        where |= {f"{path}{name}": here for name, _ in root.named_children() if name != step}
        path, root = f"{path}{step}.", root.get_submodule(step)
    return where
