"""Which modules ran, in which order, for how long and with what: hooks on every module of a tree for one run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from intravisto_core.inspection.flow_tracing import FlowTracer
from intravisto_core.inspection.hooks import Handles
from intravisto_core.inspection.scopes import Frame
from intravisto_core.inspection.values import read_shape, tensors_in
from intravisto_core.records import ModuleCall, ValueShape
from intravisto_core.sites import ModuleSide

FEWEST_EXPERTS = 4
# path, side, what was given there
Look = Callable[[str, ModuleSide, Any], None]


class RunRecorder:
    """Writes down one run of a module.

    tracer: sees the flow as well. looked_at: paths whose tensors `look` is shown, in every call. n_tokens: of the text.
    """

    def __init__(
        self,
        root: nn.Module,
        tracer: FlowTracer | None = None,
        looked_at: Iterable[tuple[str, ModuleSide]] = (),
        look: Look | None = None,
        n_tokens: int | None = None,
        told: Callable[[str, bool], None] | None = None,
    ) -> None:
        self._root, self._tracer, self._look, self._n_tokens = root, tracer, look, n_tokens
        self._looked_at = set(looked_at)
        self._told = told
        self._seen: dict[str, _Calls] = {}
        self._paths: dict[int, str] = {}
        self._stack: list[Frame] = []
        self._failing: tuple[BaseException, str] | None = None
        # time that went into looking, which is nobody's
        self._lost = 0.0
        self.failed_at: str | None = None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Inside the block every call is written down. The hooks are gone at its end, whatever happens."""
        try:
            with Handles() as handles:
                handles.extend(self._hooks())
                if self._tracer is None:
                    yield
                else:
                    with self._tracer:
                        yield
        except BaseException as error:
            self.failed_at = self._failing[1] if self._failing and self._failing[0] is error else ""
            if self._tracer is not None:
                self._tracer.find_failed(error)
            raise
        finally:
            self._stack.clear()
            self._failing = None
            if self._tracer is not None:
                self._tracer.drop()

    @property
    def calls(self) -> tuple[ModuleCall, ...]:
        """What was written down, in the order of first calls."""
        return tuple(calls.record(path, order) for order, (path, calls) in enumerate(self._seen.items()))

    def _hooks(self) -> Iterator[RemovableHandle]:
        """What acts on a value comes before what looks at it, so these stand last."""
        # one function for all modules: thousands of closures would have the garbage collector run
        entering, leaving = self._entering, self._leaving
        for path, module in self._root.named_modules():
            if isinstance(module, torch.jit.ScriptModule):  # takes no hooks
                continue
            self._paths[id(module)] = path
            yield module.register_forward_pre_hook(entering, with_kwargs=True)
            yield module.register_forward_hook(leaving, with_kwargs=True, always_call=True)

    def _entering(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        now = time.perf_counter()
        path = self._paths[id(module)]
        with torch._C.DisableTorchFunction():
            calls = self._seen.setdefault(path, _Calls())
            calls.inputs = _inputs(args, kwargs, self._n_tokens)
            calls.count_routed(module, args, kwargs)
            if (path, ModuleSide.INPUT) in self._looked_at:
                self._show(path, ModuleSide.INPUT, (args, kwargs))
            if self._tracer is not None:
                opens = not self._stack or any(True for _ in module.children())
                frame = self._tracer.enter(path, opens, args, kwargs)
            else:
                frame = Frame(path, path, None, None)
            frame.handled = sys.exc_info()[1]
            self._stack.append(frame)
        if self._told is not None:
            self._told(path, False)
        self._lost += time.perf_counter() - now
        frame.lost, frame.started = self._lost, time.perf_counter()

    def _leaving(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        now = time.perf_counter()
        frame = self._stack.pop()
        error = sys.exc_info()[1]
        failed = error if error is not frame.handled else None
        frame.handled = None
        calls = self._seen[frame.path]
        calls.n += 1
        calls.seconds += now - frame.started - (self._lost - frame.lost)
        with torch._C.DisableTorchFunction():
            if failed is None:
                calls.output = read_shape(output, self._n_tokens)
                if (frame.path, ModuleSide.OUTPUT) in self._looked_at:
                    self._show(frame.path, ModuleSide.OUTPUT, output)
            elif self._failing is None or self._failing[0] is not failed:
                self._failing = (failed, frame.path)
            if self._tracer is not None:
                self._tracer.leave(frame, output, failed)
        if self._told is not None and failed is None:
            self._told(frame.path, True)
        self._lost += time.perf_counter() - now

    def _show(self, path: str, side: ModuleSide, value: Any) -> None:
        tensor = next(tensors_in(value), None)
        if tensor is not None and self._look is not None and tensor.device.type != "meta":
            self._look(path, side, value)


class _Calls:
    """What is known of one module's calls so far."""

    __slots__ = ("inputs", "n", "output", "routed", "seconds")

    def __init__(self) -> None:
        self.n, self.seconds = 0, 0.0
        self.inputs: tuple[tuple[str, ValueShape], ...] = ()
        self.output: ValueShape | None = None
        self.routed: Tensor | None = None

    def count_routed(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Of experts that lie in one tensor, and are told which are chosen: how many choices fall on each."""
        n = next((p.shape[0] for p in module._parameters.values() if p is not None and p.ndim == 3), 0)
        if n < FEWEST_EXPERTS:
            return
        for tensor in tensors_in((args, kwargs)):
            whole = not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool
            if whole and tensor.ndim == 2 and tensor.device.type != "meta":
                counts = torch.bincount(tensor.flatten(), minlength=n).cpu()
                if len(counts) == n:
                    self.routed = counts if self.routed is None else self.routed + counts
                return

    def record(self, path: str, order: int) -> ModuleCall:
        routed = () if self.routed is None else tuple(self.routed.tolist())
        return ModuleCall(path, order, self.n, self.seconds, self.inputs, self.output, routed)


def _inputs(args: tuple[Any, ...], kwargs: dict[str, Any], n_tokens: int | None) -> tuple[tuple[str, ValueShape], ...]:
    """What a module is given: by number what is given by position; of the rest what holds tensors."""
    by_position = [(str(i), read_shape(value, n_tokens)) for i, value in enumerate(args)]
    by_name = [(name, read_shape(value, n_tokens)) for name, value in kwargs.items()]
    return (*by_position, *((name, shape) for name, shape in by_name if any(True for _ in shape.tensors())))
