"""Forward hooks on the declared modules, removed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from intravisto_core.architectures import BlockModules, ExpertModules
from intravisto_core.errors import Cancelled
from intravisto_core.inspection.hooks import Handles, on_input, on_output, output_of
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing.capture import CaptureSink
from intravisto_core.tracing.edit_hooks import edit_hooks

Keep = Callable[[Tensor], None]


def _keep_input(sink: CaptureSink, module: nn.Module, keep: Keep) -> RemovableHandle:
    return on_input(module, lambda x: keep(x) if sink.active else None)


def _keep_output(sink: CaptureSink, module: nn.Module, keep: Keep) -> RemovableHandle:
    return on_output(module, lambda x: keep(x) if sink.active else None)


def _keeper(sink: CaptureSink, site: Site, layer: int, multiplier: float = 1.0) -> Keep:
    buffer = sink.buffers[site][layer - sink.first_layer]

    def keep(x: Tensor) -> None:
        x = x.reshape(-1, x.shape[-1])
        buffer[sink.rows] = x if multiplier == 1.0 else x * multiplier

    return keep


def _keep_final(sink: CaptureSink, layer: nn.Module) -> RemovableHandle:
    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if sink.active:
            sink.layers_are_tuples = isinstance(output, tuple)
            sink.final[sink.start : sink.stop] = output_of(output)[0]

    return layer.register_forward_hook(hook)


def _stop_when_cancelled(sink: CaptureSink) -> Keep:
    def check(_: Tensor) -> None:
        if sink.cancelled:
            raise Cancelled("cancelled")

    return check


def _block_hooks(sink: CaptureSink, block: BlockModules, layer: int, multiplier: float) -> Iterator[RemovableHandle]:
    if not sink.offloaded:
        yield _keep_input(sink, block.layer, _stop_when_cancelled(sink))
    inputs = (
        (Site.RESID_PRE, block.layer),
        (Site.RESID_MID, block.mid_reader),
        (Site.Z, block.w_o),
        (Site.ACT, block.w_out),
    )
    for site, module in inputs:
        if site in sink.wanted and module is not None:
            yield _keep_input(sink, module, _keeper(sink, site, layer))
    for site, module in ((Site.ATTN_OUT, block.attn_out), (Site.MLP_OUT, block.mlp_out)):
        if site in sink.wanted:
            yield _keep_output(sink, module, _keeper(sink, site, layer, multiplier))
    if Site.RESID_POST in sink.wanted:
        yield _keep_output(sink, block.layer, _keeper(sink, Site.RESID_POST, layer))
    if sink.routing and block.experts is not None:
        yield from _expert_hooks(sink, block.experts, layer)


def _expert_hooks(sink: CaptureSink, part: ExpertModules, layer: int) -> Iterator[RemovableHandle]:
    def given(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if sink.active:
            for name, x in zip(("given", "chosen", "weights"), (*args, *kwargs.values()), strict=False):
                sink.route(layer, name, x)

    if part.experts is not None and part.router is not None:
        yield part.experts.register_forward_pre_hook(given, with_kwargs=True)
        yield _keep_output(sink, part.router, partial(sink.route, layer, "logits"))
    if part.shared_w_out is not None:
        yield _keep_input(sink, part.shared_w_out, partial(sink.route, layer, "shared_act"))
    if part.shared_gate is not None:
        yield _keep_output(sink, part.shared_gate, partial(sink.route, layer, "shared_logit"))


@contextmanager
def capturing(model: LoadedModel, sink: CaptureSink) -> Iterator[None]:
    """Hooks that stay for a whole run; they fill the sink only while it is active, since other runs take turns."""
    multiplier = model.blueprint.multiplier
    with Handles() as handles:
        for layer, block in enumerate(model.blueprint.blocks):
            if layer < sink.first_layer:
                continue
            # Edits come first: what is kept is what the model goes on with.
            if sink.edits is not None:
                handles.extend(edit_hooks(sink, sink.edits, block, layer, multiplier))
            handles.extend(_block_hooks(sink, block, layer, multiplier))
        handles.extend([_keep_final(sink, model.blueprint.blocks[-1].layer)])
        yield
