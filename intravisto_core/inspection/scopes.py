"""What was handed to what while one module's code ran: nodes and links, of all its calls together."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field

from torch import Tensor

from intravisto_core.sites import DataKind


@dataclass(slots=True)
class SeenNode:
    """A node as it was seen: a module's call, one function, an input, the output, a parameter."""

    kind: str
    function: str = ""
    n: int = 0
    failed: bool = False


@dataclass(slots=True)
class Scope:
    """Everything that was seen of one module's code. Nodes stand in the order in which they first came up."""

    path: str
    nodes: dict[str, SeenNode] = field(default_factory=dict)
    links: dict[tuple[str, str], DataKind] = field(default_factory=dict)

    def see(self, name: str, kind: str, function: str = "") -> None:
        """A node ran, or came up, once more."""
        node = self.nodes.get(name)
        if node is None:
            node = self.nodes[name] = SeenNode(kind, function)
        node.n += 1

    def link(self, source: str, target: str, kind: DataKind) -> None:
        """A tensor went from one to the other; of several kinds the main one counts."""
        if source != target and self.links.get((source, target)) is not DataKind.MAIN:
            self.links[source, target] = kind


class Makers:
    """Which node made a tensor, by the tensor itself. It keeps none alive: a number may be used again by another."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], str]] = {}

    def get(self, tensor: Tensor) -> str | None:
        """The node, or None."""
        found = self._known.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def sharing(self, tensor: Tensor) -> list[Tensor]:
        """Other tensors that lie in the same memory, as views of it do."""
        place = _memory(tensor)
        known = [ref() for ref, _ in self._known.values()]
        return [t for t in known if t is not None and t is not tensor and _memory(t) == place]

    def set(self, tensor: Tensor, node: str) -> None:
        """That node made it."""
        self._known[id(tensor)] = (weakref.ref(tensor), node)


def _memory(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):  # kinds of tensors without memory of their own
        return id(tensor)


class Frame:
    """One call of a module that goes on."""

    __slots__ = ("counts", "handled", "lost", "makers", "node", "parent", "path", "scope", "started")

    def __init__(self, path: str, node: str, parent: Frame | None, scope: Scope | None) -> None:
        self.path, self.node, self.parent = path, node, parent
        self.scope = scope
        """None where nothing is to be seen inside."""
        self.makers = Makers()
        self.counts: dict[str, int] = {}
        self.started = self.lost = 0.0
        # the error that was being handled when the call began
        self.handled: BaseException | None = None

    def count(self, name: str) -> int:
        """How often that came up in this call, this time included."""
        n = self.counts[name] = self.counts.get(name, 0) + 1
        return n
