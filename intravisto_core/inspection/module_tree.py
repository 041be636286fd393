"""What a module is made of, read from torch itself: classes, tensors, sharing. Nothing is run, nothing is loaded."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from intravisto_core.records import ModuleNode, ModuleTensor, ModuleTree

LONGEST_WORDS = 300
# what tells one tensor from another, and what it weighs
Key = tuple[Any, ...]


class _Reader:
    """One walk through a tree, which remembers where it has seen a tensor and a module."""

    def __init__(self, root: nn.Module) -> None:
        self._places: dict[Key, list[str]] = {}
        for path, module in root.named_modules():
            for name, tensor, _ in own_tensors(module):
                self._places.setdefault(_key(tensor), []).append(f"{path}.{name}" if path else name)
        self._seen: dict[nn.Module, str] = {}
        self._under: dict[nn.Module, dict[Key, tuple[int, int]]] = {}
        self.nodes: list[ModuleNode | None] = []

    def read(self, module: nn.Module, path: str) -> dict[Key, tuple[int, int]]:
        """Write down a module and what is under it; gives its tensors, each with its parameters and bytes."""
        same_as = self._seen.setdefault(module, path)
        at, first = len(self.nodes), same_as == path
        self.nodes.append(None)
        own = {} if first else self._under[module]
        tensors = []
        for name, tensor, is_buffer in own_tensors(module):
            facts = self._read_tensor(module, name, tensor, is_buffer, path)
            tensors.append(facts)
            own[_key(tensor)] = (0 if is_buffer else facts.n_values, facts.n_bytes)
        children = [(f"{path}.{name}" if path else name, child) for name, child in module._modules.items() if child]
        if first:
            # a module that holds itself, or is held by what it holds, would be walked for ever
            self._under[module] = own
            for child_path, child in children:
                own |= self.read(child, child_path)
        self.nodes[at] = ModuleNode(
            path=path,
            cls=type(module).__name__,
            built_with=_own_words(module),
            tensors=tuple(tensors),
            children=tuple(child_path for child_path, _ in children) if first else (),
            n_parameters=sum(n for n, _ in own.values()),
            n_bytes=sum(n for _, n in own.values()),
            same_as="" if first else same_as,
        )
        return own

    def _read_tensor(self, module: nn.Module, name: str, tensor: Tensor, is_buffer: bool, path: str) -> ModuleTensor:
        full, places = (f"{path}.{name}" if path else name), self._places[_key(tensor)]
        quantised, shape = _quantisation(tensor)
        return ModuleTensor(
            name=name,
            shape=tuple(tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),
            device=_device(module, tensor),
            n_bytes=tensor.numel() * tensor.element_size(),
            is_buffer=is_buffer,
            quantised=quantised,
            n_values=_count(shape) if shape else tensor.numel(),
            shared_with=tuple(place for place in places if place != full),
        )


def read_tree(root: nn.Module, name: str = "") -> ModuleTree:
    """The tree of a module. name: what it is called; else the name of its class."""
    reader = _Reader(root)
    reader.read(root, "")
    return ModuleTree(name or type(root).__name__, tuple(node for node in reader.nodes if node is not None))


def own_tensors(module: nn.Module) -> list[tuple[str, Tensor, bool]]:
    """Parameters and buffers that a module holds itself, each with its name and whether it is a buffer."""
    found = [(name, p, False) for name, p in module._parameters.items() if p is not None]
    return found + [(name, b, True) for name, b in module._buffers.items() if b is not None]


def _key(tensor: Tensor) -> Key:
    """Equal for two tensors that hold the same numbers at the same place."""
    try:
        start = tensor.data_ptr() if tensor.device.type != "meta" else 0
    except (RuntimeError, NotImplementedError):  # kinds of tensors that have no place of their own
        start = 0
    # on the meta device, and where nothing is in it, there is no place that could be shared
    return (start, tuple(tensor.shape), tensor.stride()) if start else (id(tensor),)


def _quantisation(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    """How a tensor is quantised, and the shape of what it stands for where the packed one differs."""
    state = getattr(tensor, "quant_state", None)
    if state is not None:
        return str(getattr(state, "quant_type", "4 bit")), tuple(getattr(state, "shape", ()))
    kind = type(tensor).__name__
    if kind == "Int8Params":
        return "int8", ()
    if kind == "Params4bit":
        return str(getattr(tensor, "quant_type", "4 bit")), ()
    return ("quantised", ()) if tensor.is_quantized else ("", ())


def _device(module: nn.Module, tensor: Tensor) -> str:
    """Where a tensor is; of one that accelerate keeps away between calls, that it does."""
    hook = getattr(module, "_hf_hook", None)
    hooks = getattr(hook, "hooks", None) or (hook,)
    if tensor.device.type == "meta" and any(getattr(h, "offload", False) for h in hooks):
        return "offloaded"
    return str(tensor.device)


def _own_words(module: nn.Module) -> str:
    try:
        words = " ".join(module.extra_repr().split())
    except Exception:  # a user's own method
        return ""
    return words if len(words) <= LONGEST_WORDS else words[: LONGEST_WORDS - 1] + "…"


def _count(shape: tuple[int, ...]) -> int:
    n = 1
    for size in shape:
        n *= size
    return n
