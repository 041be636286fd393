"""Any PyTorch module opened for looking: its tree, its runs, the flow of its tensors, what is measured on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from intravisto_core.errors import IntravistoError, RequestError, TraceError, describe_error, expected
from intravisto_core.inspection.flow_merging import merge_flow
from intravisto_core.inspection.flow_tracing import FlowTracer
from intravisto_core.inspection.live_view import LiveView
from intravisto_core.inspection.module_hooks import ModuleHooks, find_listed, find_node
from intravisto_core.inspection.module_tree import read_tree
from intravisto_core.inspection.run_recording import RunRecorder
from intravisto_core.inspection.statistics import Block, Vocabulary, measure
from intravisto_core.inspection.values import find_ids, find_kinds, read_shape, tensors_in
from intravisto_core.records import Architecture, ModuleFlow, ModuleOutput, ModuleRun, ModuleTree
from intravisto_core.sites import ModuleSide, ModuleStatistic

Result = TypeVar("Result")
# Lists of modules shorter than this are no layers, longer ones are experts.
FEWEST_LAYERS, MOST_LAYERS = 3, 256


def at_once(work: Callable[[], Result]) -> Result:
    """Do it here and now."""
    return work()


class Inspector:
    """Looks into any `torch.nn.Module`, however it is called and whatever it returns.

    insp = iv.Inspector(model, tokenizer)
    insp.forward_text("The capital of Italy is")
    insp.visualize()

    name: what the module is called. turn: runs what it is given where the module may be used; an engine's own thread.
    show: how a token id is written. vocabulary: how vectors are read as tokens, for the statistic of that name.
    """

    def __init__(
        self,
        module: nn.Module,
        tokenizer: Any = None,
        *,
        name: str = "",
        turn: Callable[[Callable[[], Any]], Any] = at_once,
        show: Callable[[int], str] | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise RequestError(expected("module", "a torch.nn.Module", type(module).__name__))
        self.module, self._tokenizer, self._turn, self._show = module, tokenizer, turn, show
        self._vocabulary = vocabulary
        self._name = name or _name_of(module)
        self._run: ModuleRun | None = None
        self._flow: ModuleFlow | None = None
        # of which kinds of inputs the flow is
        self._flow_of: tuple[Any, ...] | None = None
        self._blocks: dict[tuple[str, ModuleSide, ModuleStatistic], Block] = {}
        self._outputs: dict[tuple[str, ModuleSide, ModuleStatistic], ModuleOutput] = {}
        self._live: LiveView | None = None
        self._running = False

    @property
    def run(self) -> ModuleRun:
        """The last run: which modules were called, in which order, with what.

        Raises:
            TraceError: nothing was run yet.
        """
        return self._ran(self._run)

    @property
    def flow(self) -> ModuleFlow:
        """What was handed to what, traced in a run with inputs of the same kinds as the last one's.

        Raises:
            TraceError: nothing was run yet.
        """
        return self._ran(self._flow)

    @property
    def outputs(self) -> tuple[ModuleOutput, ...]:
        """What was measured in the last run, at the places that `attach` named."""
        return tuple(found for key, found in self._outputs.items() if key in self._blocks)

    def tree(self) -> ModuleTree:
        """Every module with its class, tensors, sharing and size, as it is now."""
        return read_tree(self.module, self._name)

    def node(self, path: str) -> nn.Module:
        """The module of a path; "" is the whole, a negative number counts from the last.

        Raises:
            RequestError: there is none; the message names the nearest paths.
        """
        return find_node(self.module, path)[1]

    def hook(self) -> ModuleHooks:
        """A `with` block: functions around modules, for whatever runs inside it.

        with insp.hook() as h:
            h.pre("model.layers.0", lambda module, input: print(input[0].shape))
            h.post("model.layers.0.mlp", lambda module, input, output: output * 0.5)
            insp.forward_text("a text")
        """
        return ModuleHooks(self.module, lambda: self._running or self._turn is at_once)

    def attach(
        self,
        path: str,
        statistic: ModuleStatistic | str = ModuleStatistic.SUMMARY,
        what: ModuleSide | str = ModuleSide.OUTPUT,
        *,
        x: int | None = None,
        y: int | None = None,
        spread: int | None = None,
    ) -> tuple[str, ...]:
        """Measure something of a module's output, or input, in every run from now on; see `outputs`.

        path: of a module; of a list of modules it stands for all of them. x, y, spread: of "matrix", which dimensions
        go to the right, down and side by side; the others are averaged. Gives the paths that are measured.

        Raises:
            RequestError: there is no such module, statistic or side.
        """
        kind, side = ModuleStatistic.parse(statistic, "statistic"), ModuleSide.parse(what, "what")
        paths = find_listed(self.module, path)
        for each in paths:
            self._blocks[each, side, kind] = Block(each, kind, side, x, y, spread)
        return paths

    def detach(self, path: str) -> None:
        """Measure nothing more at a module; of a list at none of its modules.

        Raises:
            RequestError: there is no such module.
        """
        own, _ = find_node(self.module, path)
        inside = [key for key in self._blocks if key[0] == own or key[0].rpartition(".")[0] == own]
        for key in inside:
            del self._blocks[key]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module with these arguments, look at everything, and give what it returns.

        Raises:
            TraceError: the module failed. `run` and `flow` hold what ran until then, and where it failed.
        """
        return self._turn(lambda: self._forward(args, kwargs, ""))

    def forward_text(self, text: str, **kwargs: Any) -> Any:
        """Call the module with the tokens of a text, and what else it is to be given.

        Raises:
            RequestError: there is no tokenizer.
            TraceError: the module failed.
        """
        if self._tokenizer is None:
            raise RequestError("forward_text: expected a tokenizer; got none. Write iv.Inspector(module, tokenizer)")
        if not isinstance(text, str):
            raise RequestError(expected("text", "a text", text))
        inputs = self._tokenizer(text, return_tensors="pt")
        device = self._device()
        given = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in inputs.items()}
        return self._turn(lambda: self._forward((), {**given, **kwargs}, text, inputs.get("input_ids")))

    def visualize(self, width: str = "100%", height: int = 600) -> Architecture:
        """The picture, shown in a notebook; its `.html()` is a page that works offline, `.save("x.html")` writes it."""
        return replace(self.architecture, width=width, height=height)

    def serve(self, port: int = 0) -> LiveView:
        """Show the picture at `http://127.0.0.1:port/` while a script runs: what runs, what is done; blocks follow.

        port: 0 takes a free one; see `LiveView.url`. It ends with `LiveView.close`, at the end of its `with` block, or
        with the process. Only this machine can reach it.

        Raises:
            RequestError: something else listens there, or it is no port.
        """
        if self._live is not None:
            self._live.close()
        self._live = LiveView(self.architecture, port)
        return self._live

    @property
    def architecture(self) -> Architecture:
        """Everything that is known by now, as one record."""
        outputs = tuple(self._outputs.values())
        return Architecture(self.tree(), self._run, self._flow, outputs)

    def _forward(self, args: tuple[Any, ...], kwargs: dict[str, Any], text: str, ids: Tensor | None = None) -> Any:
        ids = find_ids(args, kwargs) if ids is None else ids
        n_tokens = None if ids is None else ids.shape[-1]
        tokens = self._write_tokens(ids)
        kinds = (self.module.training, find_kinds(read_shape((args, kwargs))))
        tracer = None if kinds == self._flow_of else FlowTracer(self.module)
        self._outputs.clear()
        blocks = {**self._sizes_of_layers(), **self._blocks}

        refused: list[RequestError] = []

        def look(path: str, side: ModuleSide, value: Any) -> None:
            for key, block in blocks.items():
                if key[:2] == (path, side) and (key in self._blocks or _by_position(value)):
                    try:
                        found = measure(block, value, self._name, tokens, vocabulary=self._vocabulary)
                    except RequestError as error:
                        refused.append(error)
                        continue
                    if found is not None:
                        self._outputs[key] = found

        told = self._live.tell if self._live is not None else None
        recorder = RunRecorder(self.module, tracer, {key[:2] for key in blocks}, look, n_tokens, told)
        error: Exception | None = None
        output = None
        self._running = True
        try:
            with recorder.recording():
                output = self.module(*args, **kwargs)
        except Exception as failure:
            error = failure
        finally:
            self._running = False
        said = "" if error is None else describe_error(error)
        self._run = ModuleRun(self._name, recorder.calls, n_tokens, text, tokens, recorder.failed_at, said)
        if tracer is not None:
            self._flow = merge_flow(tracer.scopes.values(), self._name)
            self._flow_of = kinds if error is None else None
        if self._live is not None:
            self._live.show(self.architecture)
        if error is not None:
            raise _as_ours(error, recorder.failed_at or "", self._name) from error
        if refused:
            raise refused[0]
        return output

    def _ran(self, found: Result | None) -> Result:
        if found is None:
            raise TraceError("inspector: expected a run; there was none. Call .forward(…) or .forward_text(…) first")
        return found

    def _sizes_of_layers(self) -> dict[tuple[str, ModuleSide, ModuleStatistic], Block]:
        """Every layer's output is measured by position: that is the strip beside folded layers."""
        side, kind = ModuleSide.OUTPUT, ModuleStatistic.SIZE
        found = {}
        for path, module in self.module.named_modules():
            if isinstance(module, nn.ModuleList) and FEWEST_LAYERS <= len(module) <= MOST_LAYERS:
                for name, child in module.named_children():
                    if any(True for _ in child.children()):
                        own = f"{path}.{name}" if path else name
                        found[own, side, kind] = Block(own, kind, side)
        return found

    def _device(self) -> torch.device | str:
        """Where inputs belong: where the first tensor is; of a model that is kept away between calls, the processor."""
        first = next(tensors_in((*self.module.parameters(), *self.module.buffers())), None)
        if first is None:
            return "cpu"
        away = first.device.type == "meta" and any(hasattr(m, "_hf_hook") for m in self.module.modules())
        return "cpu" if away else first.device

    def _write_tokens(self, ids: Tensor | None) -> tuple[str, ...]:
        if ids is None or ids.device.type == "meta" or (self._tokenizer is None and self._show is None):
            return ()
        listed = ids.reshape(-1, ids.shape[-1])[0].tolist()
        show = self._show or (lambda i: str(self._tokenizer.decode([i])).replace(" ", "␣"))
        return tuple(show(i) for i in listed)


def _name_of(module: nn.Module) -> str:
    name = getattr(getattr(module, "config", None), "_name_or_path", "")
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] if isinstance(name, str) and name else ""


def _by_position(value: Any) -> bool:
    """Whether it is one vector a position of one text."""
    tensor = next(tensors_in(value))
    return tensor.ndim == 3 and tensor.shape[0] == 1 and tensor.is_floating_point()


def _as_ours(error: Exception, path: str, model: str) -> IntravistoError:
    if isinstance(error, IntravistoError):
        return error
    where = f"in {path}" if path else "in its own code"
    return TraceError(
        f"forward: expected {model or 'the module'} to run; it failed {where}: {describe_error(error)}. What ran until "
        "then is in .run and .flow, and in the picture"
    )
