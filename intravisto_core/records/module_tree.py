"""What a PyTorch module is made of: its tree, and how two trees differ (docs/methods.md §12)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from intravisto_core.errors import RequestError, TraceError, expected
from intravisto_core.records.base import Record, Summarised
from intravisto_core.records.memory import size


@dataclass(frozen=True, repr=False)
class ModuleTensor(Summarised):
    """A parameter or a buffer that a module holds itself."""

    name: str
    """Its name in the module, as `weight`."""
    shape: tuple[int, ...]
    """As torch gives it; of a packed weight the packed shape."""
    dtype: str
    """As `float32`."""
    device: str
    """As `cpu`, `cuda:0`, `meta`."""
    n_bytes: int
    """Bytes of its numbers, also where they are on the meta device, or offloaded."""
    is_buffer: bool = False
    """Whether it is a buffer, and no parameter."""
    quantised: str = ""
    """How it is quantised, as "int8" or "nf4"; "" where it is not."""
    n_values: int = 0
    """Numbers that it stands for; of a packed weight those of the weight that was packed."""
    shared_with: tuple[str, ...] = ()
    """Full names of other places that hold the same tensor (tied weights)."""

    def _summary(self) -> tuple[str, ...]:
        return (self.name, " × ".join(map(str, self.shape)) or "one number", self.dtype, self.quantised)


@dataclass(frozen=True, repr=False)
class ModuleNode(Summarised):
    """One module of the tree."""

    path: str
    """Its path, "" for the root."""
    cls: str
    """Name of its class."""
    built_with: str
    """What the module says of itself, as `in_features=8, out_features=4, bias=True`."""
    tensors: tuple[ModuleTensor, ...]
    """Parameters and buffers of its own."""
    children: tuple[str, ...]
    """Paths of its children, in the order of registration."""
    n_parameters: int
    """Numbers in all parameters under it, each tensor counted once."""
    n_bytes: int
    """Bytes of all parameters and buffers under it, each tensor counted once."""
    same_as: str = ""
    """Where this very module stands too, earlier in the tree; "" where it stands once."""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]

    def _summary(self) -> tuple[str, ...]:
        return (self.path or "the root", self.cls, f"{self.n_parameters:,} parameters")


@dataclass(frozen=True, repr=False)
class ModuleTree(Record):
    """Every module under a root, in the order of registration, each before its children."""

    model: str
    """What the root is called."""
    nodes: tuple[ModuleNode, ...]
    """The root first. A module that stands at two paths is there twice, the second time without its children."""

    def __post_init__(self) -> None:
        if not self.nodes or self.nodes[0].path:
            raise TraceError("ModuleTree: expected the root first, with an empty path")

    @cached_property
    def by_path(self) -> dict[str, ModuleNode]:
        """Every node by its path."""
        return {node.path: node for node in self.nodes}

    @property
    def root(self) -> ModuleNode:
        """The whole."""
        return self.nodes[0]

    def node(self, path: str) -> ModuleNode:
        """The node of a path.

        Raises:
            RequestError: there is none.
        """
        if path not in self.by_path:
            raise RequestError(expected("path", "a path of this tree", path, "All of them: `tree.frame()`"))
        return self.by_path[path]

    def _summary(self) -> tuple[str, ...]:
        root = self.root
        return (self.model, root.cls, f"{len(self.nodes):,} modules", f"{root.n_parameters:,} parameters")


@dataclass(frozen=True, repr=False)
class ModuleChange(Summarised):
    """What differs at one path of two trees. Each pair: in the first, in the second; None where it is not there."""

    path: str
    """The module's path."""
    cls: tuple[str | None, str | None]
    """Its class."""
    built_with: tuple[str | None, str | None]
    """What the module says of itself."""
    shapes: tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]
    """Shapes of its own tensors, by name."""
    dtypes: tuple[dict[str, str], dict[str, str]]
    """Their types, a quantisation in brackets."""
    n_bytes: tuple[int, int]
    """Bytes of its own tensors."""
    values: dict[str, float] = field(default_factory=dict)
    """‖W′ − W‖ / ‖W‖ of every own parameter that both can give in one shape; NaN where W is all zeros and W′ not."""
    not_compared: dict[str, str] = field(default_factory=dict)
    """Why the values of a tensor of both were not compared."""

    @property
    def kind(self) -> str:
        """ "only in the first", "only in the second", "structure", "shape", "dtype", "values", "bytes" or "equal"."""
        if self.cls[1] is None:
            return "only in the first"
        if self.cls[0] is None:
            return "only in the second"
        if self.cls[0] != self.cls[1]:
            return "structure"
        if self.shapes[0] != self.shapes[1]:
            return "shape"
        if self.dtypes[0] != self.dtypes[1]:
            return "dtype"
        if any(v != 0 for v in self.values.values()):
            return "values"
        return "equal" if self.n_bytes[0] == self.n_bytes[1] else "bytes"

    def _summary(self) -> tuple[str, ...]:
        return (self.path or "the root", self.kind)


@dataclass(frozen=True, repr=False)
class TreeComparison(Record):
    """How two module trees differ, module by module."""

    model: str
    """What the first is called."""
    other: str
    """What the second is called."""
    changes: tuple[ModuleChange, ...]
    """Every path of either tree, those of the first before those that only the second has."""

    @property
    def different(self) -> tuple[ModuleChange, ...]:
        """Those that are not equal."""
        return tuple(change for change in self.changes if change.kind != "equal")

    def _summary(self) -> tuple[str, ...]:
        before, after = (sum(c.n_bytes[i] for c in self.changes) for i in (0, 1))
        n = f"{len(self.different):,} of {len(self.changes):,} modules differ"
        return (f"{self.model} and {self.other}", n, f"{size(before)} and {size(after)}")
