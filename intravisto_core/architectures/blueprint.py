"""A declaration bound to a loaded model: the modules themselves instead of their paths."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel

from intravisto_core.architectures.declaration import Architecture, ExpertPaths, Layout, Order
from intravisto_core.errors import ModelError


@dataclass(frozen=True, slots=True)
class ExpertModules:
    """A block's mixture of experts (see `ExpertPaths`); an ordinary MLP in its place is a shared expert of weight 1."""

    router: nn.Module | None
    experts: nn.Module | None
    shared_w_out: nn.Module | None
    shared_gate: nn.Module | None

    @property
    def n_routed(self) -> int:
        """How many experts the router chooses from; shared ones are numbered after them."""
        return 0 if self.experts is None else int(cast(int, self.experts.num_experts))


@dataclass(frozen=True, slots=True)
class MlpReader:
    """How the MLP of a block reads the stream (see `MlpPaths`).

    norm: through which, or None. gate: None in an MLP without one, and `up` itself where its rows come first there. up,
    act: None where the block has a mixture of experts alone.
    """

    norm: nn.Module | None
    gate: nn.Module | None = None
    up: nn.Module | None = None
    act: nn.Module | None = None


@dataclass(frozen=True, slots=True)
class AttentionReader:
    """How the attention of a block reads the stream.

    norm: through which, or None. projections: of queries, keys and values, or one for all three; empty where none was
    found. q_norm, k_norm: of queries and keys, or None.
    """

    norm: nn.Module | None
    projections: tuple[nn.Module, ...]
    layout: Layout | None
    q_norm: nn.Module | None
    k_norm: nn.Module | None


@dataclass(frozen=True, slots=True)
class BlockModules:
    """The modules of one block that are read (see `Architecture` for what each is)."""

    layer: nn.Module
    attention: nn.Module
    w_o: nn.Module
    w_out: nn.Module | None
    attn_out: nn.Module
    mlp_out: nn.Module
    mid_reader: nn.Module | None
    attn_post_norm: nn.Module | None
    mlp_post_norm: nn.Module | None
    reader: AttentionReader
    experts: ExpertModules | None = None
    mlp: MlpReader | None = None
    """None where its norm or its projections were not found."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """One model's parts. trunk: what holds layers and final norm. multiplier: of every update to the stream. soft_cap:
    of the logits, 0 for none.
    """

    architecture: Architecture
    trunk: nn.Module
    blocks: tuple[BlockModules, ...]
    final_norm: nn.Module
    embed: nn.Module
    unembed: nn.Module
    parallel: bool
    order: Order
    multiplier: float
    logit_scale: float
    soft_cap: float
    keeps_last_logits: bool


def _module(root: nn.Module, path: str, family: str) -> nn.Module:
    try:
        return root.get_submodule(path)
    except AttributeError:
        raise ModelError(
            f"{family}: expected a module {path!r} in {type(root).__name__}; it has none. "
            "The declaration of this family does not fit the installed transformers"
        ) from None


def _experts(layer: nn.Module, mlp: str, paths: ExpertPaths, family: str) -> ExpertModules:
    if not _has(layer, paths.experts):
        return ExpertModules(None, None, _module(layer, f"{mlp}.{paths.w_out}", family), None)
    shared, gate = paths.shared, paths.shared_gate
    return ExpertModules(
        router=_module(layer, paths.router, family),
        experts=_module(layer, paths.experts, family),
        shared_w_out=_module(layer, f"{shared}.{paths.w_out}", family) if shared else None,
        shared_gate=_module(layer, gate, family) if gate else None,
    )


def _mlp_reader(
    layer: nn.Module, architecture: Architecture, experts: ExpertModules | None, config: Any
) -> MlpReader | None:
    """What is not where it is declared is left out: what fires neurons is then not shown."""
    paths = architecture.mlp
    path = paths.norm(config) if callable(paths.norm) else paths.norm
    if path is not None and not _has(layer, path):
        return None
    norm = None if path is None else layer.get_submodule(path)
    if architecture.w_out is not None:
        holder = architecture.w_out.rpartition(".")[0]
    elif experts is None or experts.shared_w_out is None or architecture.experts is None:
        return None if experts is None else MlpReader(norm)
    else:
        holder = (architecture.experts.shared if experts.experts is not None else None) or architecture.mlp_out
    inside = layer.get_submodule(holder)
    wanted = [name for name in (paths.gate, paths.up, paths.act) if name is not None]
    if not all(_has(inside, name) for name in wanted):
        return None
    gate = None if paths.gate is None else inside.get_submodule(paths.gate)
    return MlpReader(norm, gate, inside.get_submodule(paths.up), inside.get_submodule(paths.act))


def _reader(layer: nn.Module, attention: nn.Module, architecture: Architecture, config: Any) -> AttentionReader:
    """What is not there is left out: all but the scores' parts can be shown without it."""
    path = architecture.attn_norm
    norm = path(config) if callable(path) else path
    fused = architecture.fused
    paths = (architecture.queries, architecture.keys, architecture.values) if fused is None else (fused.path,)
    found = all(_has(attention, each) for each in paths)
    q_norm, k_norm = (attention.get_submodule(n) if _has(attention, n) else None for n in architecture.qk_norms)
    return AttentionReader(
        norm=layer.get_submodule(norm) if norm is not None and _has(layer, norm) else None,
        projections=tuple(attention.get_submodule(each) for each in paths) if found else (),
        layout=None if fused is None else fused.layout,
        q_norm=q_norm,
        k_norm=k_norm,
    )


def _has(root: nn.Module, path: str) -> bool:
    try:
        root.get_submodule(path)
    except AttributeError:
        return False
    return True


def trunk_of(model: PreTrainedModel) -> nn.Module:
    """What holds the layers: of a composite (images and text) that of the text model inside."""
    base: nn.Module = model.base_model
    text: nn.Module = getattr(base, "language_model", base)
    inner: nn.Module = getattr(text, "model", text)
    return inner


def bind(architecture: Architecture, model: PreTrainedModel) -> Blueprint:
    """Find every declared module in a model.

    Raises:
        ModelError: a declared module is missing, or the family refuses this config, with the reason.
    """
    family, config = architecture.family, model.config.get_text_config()
    if reason := architecture.refuse(config):
        raise ModelError(f"this {family} model is refused: {reason}")
    if model.get_output_embeddings() is None:
        raise ModelError(f"this {family} model is refused: it has no table that gives logits over the vocabulary")
    trunk, paths = trunk_of(model), architecture.experts
    parallel, order = architecture.parallel(config), architecture.order
    blocks = []
    for layer in _module(trunk, architecture.layers, family).children():

        def part(path: str | None, layer: nn.Module = layer) -> nn.Module | None:
            return None if path is None else _module(layer, path, family)

        experts = _experts(layer, architecture.mlp_out, paths, family) if paths else None
        blocks.append(
            BlockModules(
                layer=layer,
                attention=(attention := _module(layer, architecture.attention, family)),
                reader=_reader(layer, attention, architecture, config),
                w_o=_module(layer, architecture.w_o, family),
                w_out=part(architecture.w_out),
                attn_out=_module(layer, architecture.attn_out, family),
                mlp_out=_module(layer, architecture.mlp_out, family),
                mid_reader=None if parallel else part(architecture.mid_reader),
                attn_post_norm=part(architecture.attn_post_norm),
                mlp_post_norm=part(architecture.mlp_post_norm),
                experts=experts,
                mlp=_mlp_reader(layer, architecture, experts, config),
            )
        )
    return Blueprint(
        architecture=architecture,
        trunk=trunk,
        blocks=tuple(blocks),
        final_norm=_module(trunk, architecture.final_norm, family),
        embed=model.get_input_embeddings(),
        unembed=model.get_output_embeddings(),
        parallel=parallel,
        order=order if isinstance(order, Order) else order(config),
        multiplier=float(architecture.residual_multiplier(config)),
        logit_scale=float(architecture.logit_scale(config)),
        soft_cap=float(getattr(config, architecture.soft_cap, None) or 0.0),
        keeps_last_logits="logits_to_keep" in inspect.signature(model.forward).parameters,
    )
