"""What ran in a PyTorch module, what was handed to what, and what was measured (docs/methods.md §12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from jaxtyping import Float, Int

from intravisto_core.errors import RequestError, TraceError, expected
from intravisto_core.records.base import Array, Record, Summarised, check_shapes
from intravisto_core.sites import DataKind, ModuleSide, ModuleStatistic


@dataclass(frozen=True, repr=False)
class ValueShape(Summarised):
    """A value that went in or out of a module: a tensor, something that holds tensors, or something else."""

    kind: str
    """ "tensor", or the name of the class: "list", "dict", "BaseModelOutput", "NoneType", "int"."""
    shape: tuple[int, ...] = ()
    """Of a tensor."""
    dtype: str = ""
    """Of a tensor, as "float32"."""
    token_axis: int | None = None
    """Of a tensor, which dimension has as many entries as the text has tokens; None where none has."""
    items: tuple[tuple[str, ValueShape], ...] = ()
    """What it holds, by name or number."""

    def tensors(self) -> Iterator[ValueShape]:
        """Every tensor inside, itself included."""
        if self.kind == "tensor":
            yield self
        for _, item in self.items:
            yield from item.tensors()

    def __str__(self) -> str:
        if self.kind == "tensor":
            return " × ".join(map(str, self.shape)) or "one number"
        if self.items:
            return f"{self.kind}({', '.join(f'{name}: {item}' for name, item in self.items)})"
        return self.kind

    def _summary(self) -> tuple[str, ...]:
        return (str(self), self.dtype)


@dataclass(frozen=True, repr=False)
class ModuleCall(Summarised):
    """What one module did in a run; of several calls the last, with the sums of all."""

    path: str
    """The module's path."""
    order: int
    """When it was first called: 0 is the root."""
    n_calls: int
    """How often it was called."""
    seconds: float
    """Time that it took in all, what it calls itself included; of a traced run."""
    inputs: tuple[tuple[str, ValueShape], ...]
    """What it was given last: by number where it was given by position, else by name."""
    output: ValueShape | None
    """What it returned last; None where it did not return."""
    routed: tuple[int, ...] = ()
    """Of a module that holds experts in one tensor and is told which are chosen: how many choices fell on each."""

    def _summary(self) -> tuple[str, ...]:
        return (self.path or "the root", f"{self.n_calls} calls" if self.n_calls > 1 else "", str(self.output))


@dataclass(frozen=True, repr=False)
class ModuleRun(Record):
    """One traced run: which modules were called, in which order, with what."""

    model: str
    """What the root is called."""
    calls: tuple[ModuleCall, ...]
    """In the order of the first call."""
    n_tokens: int | None
    """Tokens of the text; None where none is known."""
    text: str = ""
    """The text, where one was given."""
    tokens: tuple[str, ...] = ()
    """Its tokens as shown, where a tokenizer was given."""
    failed_at: str | None = None
    """Path of the innermost module that the run failed in; None where it came to its end."""
    error: str = ""
    """What it failed with."""

    @cached_property
    def by_path(self) -> dict[str, ModuleCall]:
        """Every call by its module's path."""
        return {call.path: call for call in self.calls}

    def _summary(self) -> tuple[str, ...]:
        failed = "" if self.failed_at is None else f"failed in {self.failed_at or 'the root'}: {self.error}"
        return (self.model, f"{len(self.calls):,} modules ran", failed)


@dataclass(frozen=True, repr=False)
class FlowNode(Summarised):
    """What a tensor can come from in the code of one module."""

    scope: str
    """Path of the module whose code it is."""
    name: str
    """A module's path, `path@2` at a second call; `add`, `add_1`; `input`, `input.mask` of that keyword, `output`."""
    kind: str
    """ "module", "operation", "input", "output" or "parameter"."""
    operations: tuple[str, ...] = ()
    """Of an operation: the functions that it stands for, in the order in which they first ran."""
    n_operations: int = 0
    """How many calls of functions it stands for, in all calls of the module."""
    failed: bool = False
    """Whether the run ended in it."""

    def _summary(self) -> tuple[str, ...]:
        return (self.name, self.kind, f"in {self.scope or 'the root'}")


@dataclass(frozen=True, repr=False)
class FlowLink(Summarised):
    """A tensor that one node of a scope made and another one used."""

    scope: str
    """Path of the module in whose code it is handed on."""
    source: str
    """Name of the node that made it."""
    target: str
    """Name of the node that used it."""
    kind: DataKind
    """How."""

    def _summary(self) -> tuple[str, ...]:
        return (f"{self.source} → {self.target}", str(self.kind), f"in {self.scope or 'the root'}")


@dataclass(frozen=True, repr=False)
class ModuleFlow(Record):
    """What was handed to what, in the code of every module that has children, as one run did it."""

    model: str
    """What the root is called."""
    nodes: tuple[FlowNode, ...]
    """Scope by scope, each in the order in which it ran."""
    links: tuple[FlowLink, ...]
    """Scope by scope."""

    def __post_init__(self) -> None:
        known = {(node.scope, node.name) for node in self.nodes}
        for link in self.links:
            if not {(link.scope, link.source), (link.scope, link.target)} <= known:
                raise TraceError(f"ModuleFlow: expected links between its nodes; got {link}")

    @cached_property
    def scopes(self) -> dict[str, tuple[list[FlowNode], list[FlowLink]]]:
        """Nodes and links of each scope, by its path."""
        found: dict[str, tuple[list[FlowNode], list[FlowLink]]] = {}
        for node in self.nodes:
            found.setdefault(node.scope, ([], []))[0].append(node)
        for link in self.links:
            found[link.scope][1].append(link)
        return found

    def _summary(self) -> tuple[str, ...]:
        n = sum(node.kind == "operation" for node in self.nodes)
        return (self.model, f"{len(self.links):,} links", f"{n:,} operations")


@dataclass(frozen=True, repr=False)
class ModuleOutput(Record):
    """What was measured at a module's output or input."""

    trace: str
    """The trace that it was measured in, by its id; "" of a run of an Inspector."""
    path: str
    """The module's path."""
    what: ModuleSide
    """Which side of it."""
    statistic: ModuleStatistic
    """What was measured."""
    shape: tuple[int, ...]
    """Of the tensor that it was measured of, the first one of that side."""
    values: Float[Array, "*shape"]
    """By statistic (methods §12): six numbers, sizes, counts, (spread, y, x), (pos, k) or (head, query, key)."""
    edges: Float[Array, " n"] | None = None
    """Of a histogram, the ends of its bins."""
    axes: tuple[int | None, int | None, int | None] = (None, None, None)
    """Of a matrix, and of attention: which dimension goes along x, along y, and side by side; others are averaged."""
    model: str = ""
    """What the model is called."""
    tokens: tuple[str, ...] = ()
    """Tokens of the text as shown, where one is known."""
    token_ids: Int[Array, "pos k"] | None = None
    """Of top tokens: which ones, the likeliest first."""
    shown: dict[int, str] = field(default_factory=dict)
    """How these are written, by id."""
    first: int = 0
    """Of top tokens: the position of the first row."""

    def __post_init__(self) -> None:
        if self.token_ids is not None:
            check_shapes(self, token_ids=(self.token_ids, self.values.shape))
        if self.statistic is ModuleStatistic.SUMMARY:
            check_shapes(self, values=(self.values, (6,)))
        if self.edges is not None:
            check_shapes(self, edges=(self.edges, (len(self.values) + 1,)))

    def _summary(self) -> tuple[str, ...]:
        return (self.path or "the root", str(self.what), str(self.statistic), " × ".join(map(str, self.shape)))


def check_axes(ndim: int, x: int, y: int | None, spread: int | None) -> None:
    """Refuse dimensions that a tensor does not have, or that are used twice.

    Raises:
        RequestError: as said.
    """
    chosen = [axis for axis in (x, y, spread) if axis is not None]
    if any(not 0 <= axis < ndim for axis in chosen) or len(set(chosen)) < len(chosen):
        raise RequestError(expected("x, y, spread", f"different dimensions of 0 to {ndim - 1}", tuple(chosen)))
