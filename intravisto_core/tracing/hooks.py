"""Forward hooks on the declared modules, removed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from intravisto_core.architectures import BlockModules, ExpertModules
from intravisto_core.errors import Cancelled
from intravisto_core.inspection.hooks import (
    Handles,
    first_argument,
    on_input,
    on_output,
    output_of,
    with_first_argument,
)
from intravisto_core.models import LoadedModel
from intravisto_core.request.modules import join_path
from intravisto_core.sites import ModuleSide, Site
from intravisto_core.tracing.callbacks import Callback, callback_hook
from intravisto_core.tracing.edit_hooks import edit_hooks
from intravisto_core.tracing.functions import ModuleEdit
from intravisto_core.tracing.module_values import listen
from intravisto_core.tracing.sink import Sink

Keep = Callable[[Tensor], None]
_NO_MODULES: Mapping[str, tuple[nn.Module, ModuleSide]] = {}


def _keep_input(sink: Sink, module: nn.Module, keep: Keep) -> RemovableHandle:
    return on_input(module, lambda x: keep(x) if sink.active else None)


def _keep_output(sink: Sink, module: nn.Module, keep: Keep) -> RemovableHandle:
    return on_output(module, lambda x: keep(x) if sink.active else None)


def _keeper(sink: Sink, site: Site, layer: int, multiplier: float = 1.0) -> Keep:
    return lambda x: sink.keep(site, layer, x if multiplier == 1.0 else x * multiplier)


def _keep_final(sink: Sink, layer: nn.Module) -> RemovableHandle:
    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if sink.active:
            sink.layers_are_tuples = isinstance(output, tuple)
            sink.keep_final(output_of(output))

    return layer.register_forward_hook(hook)


def _stop_when_cancelled(sink: Sink) -> Keep:
    def check(_: Tensor) -> None:
        if sink.cancelled:
            raise Cancelled("cancelled")

    return check


def _block_hooks(sink: Sink, block: BlockModules, layer: int, multiplier: float) -> Iterator[RemovableHandle]:
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


def _expert_hooks(sink: Sink, part: ExpertModules, layer: int) -> Iterator[RemovableHandle]:
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


def _keep_module(sink: Sink, path: str, module: nn.Module, side: ModuleSide) -> RemovableHandle:
    return listen(module, side, lambda value: sink.keep_module(path, value) if sink.active else None)


def _change_module(sink: Sink, edit: ModuleEdit) -> RemovableHandle:
    """The hook of a function at a module: what it returns takes the value's place."""

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not sink.active:
            return None
        old = first_argument(args, kwargs)
        new = sink.change_module(edit, old)
        return None if new is old else with_first_argument(args, kwargs, new)

    def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return sink.change_module(edit, output) if sink.active else None

    if edit.side is ModuleSide.INPUT:
        return edit.module.register_forward_pre_hook(before, with_kwargs=True)
    return edit.module.register_forward_hook(after)


def _watch_modules(sink: Sink, network: nn.Module) -> Iterator[RemovableHandle]:
    """What every module gives in a call is at hand until its end, for functions that look back."""
    for path, module in network.named_modules():
        for side in ModuleSide:
            yield listen(module, side, partial(_pass, sink, join_path(path, side)))


def _pass(sink: Sink, key: str, value: Any) -> None:
    if sink.active:
        sink.pass_module(key, value)


@contextmanager
def capturing(
    model: LoadedModel,
    sink: Sink,
    modules: Mapping[str, tuple[nn.Module, ModuleSide]] = _NO_MODULES,
    callbacks: Sequence[Callback] = (),
) -> Iterator[None]:
    """Hooks that stay for a whole run; they fill the sink only while it is active, since other runs take turns.

    modules: what is kept of besides, by path. callbacks: functions of the user's own, called after all edits.
    """
    blocks, multiplier = model.blueprint.blocks, model.blueprint.multiplier
    layers = range(sink.first_layer, len(blocks))
    with Handles() as handles:
        # Edits come first, then callbacks: what is kept is what the model goes on with.
        if sink.edits is not None:
            handles.extend(_change_module(sink, edit) for edit in sink.edits.modules)
            for layer in layers:
                handles.extend(edit_hooks(sink, blocks[layer], layer, multiplier))
        handles.extend(callback_hook(sink, callback) for callback in callbacks)
        for layer in layers:
            handles.extend(_block_hooks(sink, blocks[layer], layer, multiplier))
        handles.extend([_keep_final(sink, blocks[-1].layer)])
        handles.extend(_keep_module(sink, path, *found) for path, found in modules.items())
        if sink.edits is not None and sink.edits.look_back:
            handles.extend(_watch_modules(sink, model.network))
        yield
