"""Forward hooks on the declared modules, removed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from intravisto_core.architectures import BlockModules
from intravisto_core.errors import Cancelled
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing.capture import CaptureSink

Keep = Callable[[Tensor], None]


def _first_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    x: Tensor = args[0] if args else kwargs["hidden_states"]
    return x


def _on_input(sink: CaptureSink, module: nn.Module, keep: Keep) -> RemovableHandle:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if sink.active:
            keep(_first_input(args, kwargs))

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def _on_output(sink: CaptureSink, module: nn.Module, keep: Keep) -> RemovableHandle:
    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if sink.active:
            keep(output[0] if isinstance(output, tuple) else output)

    return module.register_forward_hook(hook)


def _keeper(sink: CaptureSink, buffer: Tensor, multiplier: float = 1.0) -> Keep:
    def keep(x: Tensor) -> None:
        x = x.reshape(-1, x.shape[-1])
        buffer[sink.start : sink.stop] = x if multiplier == 1.0 else x * multiplier

    return keep


def _stop_when_cancelled(sink: CaptureSink) -> Keep:
    def check(_: Tensor) -> None:
        if sink.cancelled:
            raise Cancelled("cancelled")

    return check


def _block_hooks(sink: CaptureSink, block: BlockModules, layer: int, multiplier: float) -> Iterator[RemovableHandle]:
    yield _on_input(sink, block.layer, _stop_when_cancelled(sink))
    inputs = (
        (Site.RESID_PRE, block.layer),
        (Site.RESID_MID, block.mid_reader),
        (Site.Z, block.w_o),
        (Site.ACT, block.w_out),
    )
    for site, module in inputs:
        if site in sink.wanted and module is not None:
            yield _on_input(sink, module, _keeper(sink, sink.buffers[site][layer]))
    for site, module in ((Site.ATTN_OUT, block.attn_out), (Site.MLP_OUT, block.mlp_out)):
        if site in sink.wanted:
            yield _on_output(sink, module, _keeper(sink, sink.buffers[site][layer], multiplier))
    if Site.RESID_POST in sink.wanted:
        yield _on_output(sink, block.layer, _keeper(sink, sink.buffers[Site.RESID_POST][layer]))


@contextmanager
def capturing(model: LoadedModel, sink: CaptureSink) -> Iterator[None]:
    """Hooks that stay for a whole run; they fill the sink only while it is active, since other runs take turns."""
    handles: list[RemovableHandle] = []
    try:
        for layer, block in enumerate(model.blueprint.blocks):
            handles.extend(_block_hooks(sink, block, layer, model.blueprint.multiplier))
        handles.append(_on_output(sink, model.blueprint.blocks[-1].layer, _keeper(sink, sink.final)))
        yield
    finally:
        for handle in handles:
            handle.remove()
