"""`with engine.hook() as h:` functions around modules, for the runs that are asked for inside the block."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from torch import nn

from intravisto_core.errors import RequestError, expected
from intravisto_core.inspection.module_hooks import find_listed
from intravisto_core.inspection.paths import find_module
from intravisto_core.inspection.statistics import Block, Vocabulary
from intravisto_core.inspection.watch import Watch
from intravisto_core.request import ModuleBlock
from intravisto_core.sites import ModuleSide
from intravisto_core.tracing.callbacks import Callback


class HookBlock:
    """Functions that act on the runs that one session asks for while the block lasts.

    A run that they change has a fingerprint of its own, and is not made again once it was evicted. blocks: those that
    last now.
    """

    def __init__(
        self, network: nn.Module, session: str, blocks: list[HookBlock], name: str, vocabulary: Vocabulary
    ) -> None:
        self._network, self._blocks, self.session = network, blocks, session
        self._name, self._vocabulary = name, vocabulary
        self._callbacks: tuple[Callback, ...] = ()

    @property
    def callbacks(self) -> tuple[Callback, ...]:
        """The functions, in the order that they were given."""
        return self._callbacks

    def pre(self, path: str, fn: Callable[..., Any]) -> HookBlock:
        """Call `fn(module, input)` before each call of a module; input is the tuple of what it is given.

        What the function returns (a tuple, or the first input alone) is what the module gets; None changes nothing.

        Raises:
            RequestError: the model has no such module; the message names the nearest paths.
        """
        return self._add(path, fn, before=True)

    def post(self, path: str, fn: Callable[..., Any]) -> HookBlock:
        """Call `fn(module, input, output)` after each call of a module; what it returns takes the output's place.

        Raises:
            RequestError: the model has no such module; the message names the nearest paths.
        """
        return self._add(path, fn, before=False)

    def watch(self, block: ModuleBlock) -> Watch:
        """Measure something at a module in every call; of a list of modules at all of them.

        with engine.hook() as h:
            seen = h.watch(iv.ModuleBlock("model.layers.3.mlp", "size"))
            job = engine.submit(iv.TraceRequest("a prompt", iv.Generation(20)))
        print(seen.calls, seen.outputs)  # at any time while it runs

        It changes nothing. What it sees is in `Watch.outputs` from the first call on.

        Raises:
            RequestError: the model has no such module; the message names the nearest paths.
        """
        if not isinstance(block, ModuleBlock):
            raise RequestError(expected("block", "a ModuleBlock", block))
        found = Watch(self._name, self._vocabulary)
        for path in find_listed(self._network, block.path):
            one = Block(path, block.statistic, block.what, block.x, block.y, block.spread)
            self._add(path, found.look(one), before=block.what is ModuleSide.INPUT)
        return found

    def _add(self, path: str, fn: Callable[..., Any], before: bool) -> HookBlock:
        if self not in self._blocks:
            raise RequestError(
                "hook: expected to be used inside its `with` block; got a function before it has begun or after it has "
                "ended. Write `with engine.hook() as h:` and what is run inside it"
            )
        if not isinstance(path, str):
            raise RequestError(expected("path", "the path of a module", path))
        if not callable(fn):
            raise RequestError(expected("fn", "a function of module and input, and after it of output", fn))
        own, module = find_module(self._network, path)
        self._callbacks = (*self._callbacks, Callback(own, module, fn, before))
        return self

    def __enter__(self) -> HookBlock:
        self._blocks.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """From here on the functions act on no new run."""
        self._blocks.remove(self)
