"""The flow of tensors through any module, as one run does it: found by the tensors themselves (docs/methods.md §12).

Hooks on all modules keep a stack of those that run; a torch function mode sees every function that runs between them.
A tensor is known by its identity, through weak references: nothing is kept alive.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from intravisto_core.inspection.functions_seen import NOTHING_OF_IT, OVERWRITING, keeps_numbers, name_function
from intravisto_core.inspection.module_tree import own_tensors
from intravisto_core.inspection.scopes import Frame, Scope
from intravisto_core.inspection.values import tensors_in
from intravisto_core.sites import DataKind

_MAY_HOLD_TENSORS = (Tensor, list, tuple, dict)


class FlowTracer(TorchFunctionMode):
    """Sees which node of which scope made every tensor. `scopes`: what was seen, by the path of the module.

    `enter` and `leave` are called around every call of a module, by `RunRecorder`.
    """

    def __init__(self, root: nn.Module) -> None:
        super().__init__()
        self.scopes: dict[str, Scope] = {}
        self._parameters: dict[int, tuple[Tensor, str]] = {}
        paths = set()
        for path, module in root.named_modules():
            paths.add(path)
            for name, tensor, _ in own_tensors(module):
                self._parameters.setdefault(id(tensor), (tensor, f"{path}.{name}" if path else name))
        self._input = "(input)" if "input" in paths else "input"
        self._output = "(output)" if "output" in paths else "output"
        self._paths = paths
        self._parameter_names = {name for _, name in self._parameters.values()}
        self._top: Frame | None = None
        # tensors by where they were made, for those that nobody hands over
        self._born: dict[int, tuple[weakref.ref[Tensor], Frame, str]] = {}
        self._failing: tuple[BaseException, Frame, str] | None = None

    def enter(self, path: str, opens: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Frame:
        """A module is about to be called. opens: whether what happens inside is to be seen."""
        parent = self._top
        node = path
        if parent is not None and parent.scope is not None:
            n = parent.count(path)
            node = path if n == 1 else f"{path}@{n}"
            parent.scope.see(node, "module")
            for tensor, name in _given(args, kwargs):
                self._link(parent, tensor, node, DataKind.SIDE if name else DataKind.MAIN)
        scope = self.scopes.setdefault(path, Scope(path)) if opens else None
        frame = self._top = Frame(path, node, parent, scope)
        if scope is not None:
            scope.see(self._input, "input")
            # what is given twice is what it is given first
            for tensor, name in reversed(list(_given(args, kwargs))):
                frame.makers.set(tensor, f"{self._input}.{name}" if name else self._input)
        return frame

    def leave(self, frame: Frame, output: Any, failed: BaseException | None) -> None:
        """A module's call came to its end, or failed."""
        tensors = [] if failed is not None else list(tensors_in(output))
        if frame.scope is not None and failed is None:
            frame.scope.see(self._output, "output")
            for tensor in tensors:
                self._link(frame, tensor, self._output, DataKind.MAIN)
        if failed is not None:
            self._note(failed, frame.parent, frame.node)
        self._top = frame.parent
        if frame.parent is not None:
            for tensor in tensors:
                self._made(frame.parent, tensor, frame.node)

    def drop(self) -> None:
        """Let go of everything but the scopes."""
        self._top = None
        self._born.clear()
        self._parameters.clear()

    def find_failed(self, error: BaseException) -> None:
        """Mark the node that this error came out of."""
        if self._failing is not None and self._failing[0] is error:
            _, frame, node = self._failing
            if frame.scope is not None and node in frame.scope.nodes:
                frame.scope.nodes[node].failed = True
        self._failing = None

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        frame = self._top
        if frame is None or frame.scope is None:
            return func(*args, **given)
        name, writes = name_function(func)
        if name in NOTHING_OF_IT:
            return func(*args, **given)
        try:
            out = func(*args, **given)
        except BaseException as error:
            sources = self._sources(frame, tensors_in((args, given)))
            self._note(error, frame, self._operation(frame, name, sources))
            raise
        written = _written(args, given, writes)
        if written is not None or isinstance(out, _MAY_HOLD_TENSORS):
            self._see(frame, name, args, given, out, written)
        return out

    def _see(
        self, frame: Frame, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, written: Tensor | None
    ) -> None:
        results = [] if written is not None else list(tensors_in(out))
        if written is None and not results:
            return
        used = (args[1:], kwargs) if name in OVERWRITING and written is not None else (args, kwargs)
        sources = self._sources(frame, tensors_in(used))
        if not sources:
            return
        main = [source for source, kind in sources.items() if kind is DataKind.MAIN]
        same = keeps_numbers(name, args, kwargs) and (len(main) == 1 if main else True)
        if not main or same:
            maker = main[0] if main else next(iter(sources))
        else:
            maker = self._operation(frame, name, sources)
        for tensor in results:
            self._made(frame, tensor, maker)
        if written is not None:
            self._made(frame, written, maker)
            self._wrote(frame, written, maker)

    def _operation(self, frame: Frame, name: str, sources: dict[str, DataKind]) -> str:
        """A new node for a function that ran."""
        assert frame.scope is not None
        while True:
            n = frame.count(f"{name}()")
            node = name if n == 1 else f"{name}_{n - 1}"
            if node not in self._paths:
                break
        frame.scope.see(node, "operation", name)
        for source, kind in sources.items():
            self._connect(frame.scope, source, node, kind)
        return node

    def _sources(self, frame: Frame, tensors: Iterator[Tensor]) -> dict[str, DataKind]:
        """The nodes that made the tensors, each with how they are used: what is handed on as a supply stays one."""
        found: dict[str, DataKind] = {}
        for tensor in tensors:
            source, kind = self._source(frame, tensor)
            if source and found.get(source) is not DataKind.MAIN:
                found[source] = kind
        return found

    def _source(self, frame: Frame, tensor: Tensor) -> tuple[str | None, DataKind]:
        made = frame.makers.get(tensor)
        if made is None:
            known = self._parameters.get(id(tensor))
            if known is not None and known[0] is tensor:
                return known[1], DataKind.PARAMETER
            made = self._from_outside(frame, tensor)
        if made is None:
            return None, DataKind.MAIN
        if made.startswith(f"{self._input}."):
            return made, DataKind.SIDE
        return made, DataKind.PARAMETER if made in self._parameter_names else DataKind.MAIN

    def _from_outside(self, frame: Frame, tensor: Tensor) -> str | None:
        """A tensor that no one handed over: made elsewhere in this run, and kept where both can reach it.

        It is drawn as a supply, from the part that made it to the part that uses it, where both meet.
        """
        born = self._born.get(id(tensor))
        if born is None or born[0]() is not tensor:
            return None
        _, origin, node = born
        running: dict[int, tuple[Frame, str]] = {}
        below: Frame | None = frame
        name = ""
        while below is not None:
            running[id(below)] = (below, name)
            name = below.node
            below = below.parent
        maker: Frame | None = origin
        while maker is not None and id(maker) not in running:
            node = maker.node
            maker = maker.parent
        if maker is None:
            return None
        meeting, user = running[id(maker)]
        if not user:
            return node
        if meeting.scope is not None:
            self._connect(meeting.scope, node, user, DataKind.SIDE)
        return f"{self._input}.{node.rpartition('.')[2]}"

    def _link(self, frame: Frame, tensor: Tensor, target: str, kind: DataKind) -> None:
        source, how = self._source(frame, tensor)
        if source and frame.scope is not None:
            self._connect(frame.scope, source, target, kind if how is DataKind.MAIN else how)

    def _connect(self, scope: Scope, source: str, target: str, kind: DataKind) -> None:
        if source not in scope.nodes:
            # only what is used is worth a node: inputs beside the main one, and parameters
            scope.see(source, "parameter" if kind is DataKind.PARAMETER else "input")
        scope.link(source, target, kind)

    def _made(self, frame: Frame, tensor: Tensor, node: str) -> None:
        frame.makers.set(tensor, node)
        self._born[id(tensor)] = (weakref.ref(tensor), frame, node)

    def _wrote(self, frame: Frame, tensor: Tensor, node: str) -> None:
        """Whatever shares the memory of what was written into is changed as well, also for those that called."""
        changed: Frame | None = frame
        while changed is not None:
            for other in changed.makers.sharing(tensor):
                self._made(changed, other, node)
            node = changed.node
            changed = changed.parent

    def _note(self, error: BaseException, frame: Frame | None, node: str) -> None:
        """Remember where an error came from first; it may still be caught."""
        if frame is not None and (self._failing is None or self._failing[0] is not error):
            self._failing = (error, frame, node)


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[Tensor, str]]:
    """Every tensor that a module is given; with "" what the call is about, else with the keyword's name.

    That is whatever it is given by position; where nothing is, the first keyword that holds a tensor.
    """
    main = list(tensors_in(args))
    for tensor in main:
        yield tensor, ""
    for name, value in kwargs.items():
        found = list(tensors_in(value))
        for tensor in found:
            yield tensor, name if main else ""
        main = main or found


def _written(args: tuple[Any, ...], kwargs: dict[str, Any], in_place: bool) -> Tensor | None:
    """The tensor that a function writes into, if it does."""
    target = args[0] if in_place and args else kwargs.get("out")
    return target if isinstance(target, Tensor) else None
