"""Two module trees beside each other: structure, shapes, types, bytes and values (docs/methods.md §12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from intravisto_core.errors import RequestError, expected
from intravisto_core.inspection.inspector import Inspector
from intravisto_core.inspection.module_tree import own_tensors, read_tree
from intravisto_core.models.quantisation import dequantised, kind_of
from intravisto_core.records import ModuleChange, ModuleNode, TreeComparison

ELSEWHERE = "its numbers are not in memory (meta device, or offloaded)"
# what LoRA's wrapper puts before the paths of the model inside
WRAPPED = "base_model.model."
Place = tuple[ModuleNode, nn.Module]


@torch.no_grad()
def compare_trees(a: Any, b: Any) -> TreeComparison:
    """What differs between two modules, path by path; two models, or one before and after quantisation or LoRA.

    a, b: modules, Inspectors, or engines. Of parameters of one name and shape the record holds ‖W′ − W‖ / ‖W‖, of
    bitsandbytes' packed weights as they are computed with. A layer that LoRA wraps is compared with the layer that it
    wraps, its change added.

    Raises:
        RequestError: one is no module.
    """
    (one, name), (two, other) = _opened(a, "a"), _opened(b, "b")
    left, right = _by_path(one), _by_path(two)
    paths = [*left, *(path for path in right if path not in left)]
    changes = tuple(_compare(path, left.get(path), right.get(path)) for path in paths)
    return TreeComparison(name or type(one).__name__, other or type(two).__name__, changes)


def _opened(thing: Any, name: str) -> tuple[nn.Module, str]:
    inspector = thing if isinstance(thing, Inspector) else getattr(thing, "inspector", None)
    if isinstance(inspector, Inspector):
        return inspector.module, inspector.tree().model
    if isinstance(thing, nn.Module):
        return thing, ""
    raise RequestError(expected(name, "a torch.nn.Module, an Inspector or an engine", type(thing).__name__))


def _by_path(root: nn.Module) -> dict[str, Place]:
    """Every module with its facts; those of a model inside LoRA's wrapper under the paths that they had before."""
    modules = dict(root.named_modules())
    found: dict[str, Place] = {}
    for node in read_tree(root).nodes:
        if node.path in modules:
            found[node.path.removeprefix(WRAPPED)] = node, modules[node.path]
    return found


def _compare(path: str, one: Place | None, two: Place | None) -> ModuleChange:
    tensors = _tensors(one), _tensors(two)
    values: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name in tensors[0].keys() & tensors[1].keys():
        first, second = tensors[0][name], tensors[1][name]
        if "meta" in (first.device.type, second.device.type):
            left_out[name] = ELSEWHERE
        elif first.shape == second.shape and first.is_floating_point() and second.is_floating_point():
            values[name] = _relative(first, second)
    nodes = [place[0] if place else None for place in (one, two)]
    return ModuleChange(
        path=path,
        cls=(_of(nodes[0], "cls"), _of(nodes[1], "cls")),
        built_with=(_of(nodes[0], "built_with"), _of(nodes[1], "built_with")),
        shapes=_pair(tensors, lambda tensor: tuple(tensor.shape)),
        dtypes=(_types(nodes[0]), _types(nodes[1])),
        n_bytes=(_own_bytes(nodes[0]), _own_bytes(nodes[1])),
        values=values,
        not_compared=left_out,
    )


def _tensors(place: Place | None) -> dict[str, Tensor]:
    """Own tensors as they are computed with: unpacked, LoRA's change added."""
    if place is None:
        return {}
    module: Any = place[1]
    inner = getattr(module, "base_layer", None)
    if isinstance(inner, nn.Module) and hasattr(module, "get_delta_weight"):
        found = _tensors((place[0], inner))
        for adapter in getattr(module, "active_adapters", ()):
            if adapter in getattr(module, "lora_A", {}) and not getattr(module, "merged", False):
                found["weight"] = found["weight"].float() + module.get_delta_weight(adapter).float()
        return found
    found = {name: tensor for name, tensor, _ in own_tensors(module)}
    if kind_of(module) and found["weight"].device.type != "meta":
        found["weight"] = dequantised(module, torch.float32)
    return found


def _relative(one: Tensor, two: Tensor) -> float:
    first, second = one.detach().double().cpu(), two.detach().double().cpu()
    change, whole = float((second - first).norm()), float(first.norm())
    return change / whole if whole else (float("nan") if change else 0.0)


def _pair(tensors: tuple[dict[str, Tensor], dict[str, Tensor]], read: Callable[[Tensor], Any]) -> tuple[Any, Any]:
    one, two = ({name: read(tensor) for name, tensor in found.items()} for found in tensors)
    return one, two


def _of(node: ModuleNode | None, name: str) -> str | None:
    return None if node is None else str(getattr(node, name))


def _types(node: ModuleNode | None) -> dict[str, str]:
    """Types by name; of a packed weight with how it is packed."""
    held = () if node is None else node.tensors
    return {t.name: f"{t.dtype} ({t.quantised})" if t.quantised else t.dtype for t in held}


def _own_bytes(node: ModuleNode | None) -> int:
    return 0 if node is None else sum(tensor.n_bytes for tensor in node.tensors)
