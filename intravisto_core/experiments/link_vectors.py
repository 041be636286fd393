"""What a link carries into the stream (docs/methods.md §6, checking a link)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.attention import pick_head_values
from intravisto_core.analysis.parts import apply_post_norm, compute_head_outputs
from intravisto_core.errors import RequestError, expected
from intravisto_core.models import LoadedModel
from intravisto_core.request import Link
from intravisto_core.sites import Component, Site
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.expert_edits import ExpertNeuron


def compute_link_vector(model: LoadedModel, data: TraceData, link: Link) -> Float[Tensor, " d"]:
    """e, as it is added to the stream, float32."""
    layer, at, component = link.layer, link.position, link.component
    if component is Component.MID and model.blueprint.parallel:
        raise RequestError("mid: a parallel block adds attention and MLP at once and has no stream between them")
    if component is Component.ATTENTION and (link.head is not None or link.source is not None):
        return _attention_part(model, data, link)
    if link.neuron is not None:
        return _neuron_part(model, data, link)
    site = {
        Component.ATTENTION: Site.ATTN_OUT,
        Component.MLP: Site.MLP_OUT,
        Component.MID: Site.RESID_MID,
        Component.BLOCK: Site.RESID_PRE,
    }[component]
    return data.site(site, layer)[at].float()


def _attention_part(model: LoadedModel, data: TraceData, link: Link) -> Float[Tensor, " d"]:
    """What heads brought to a position, from one source or from all; the post-norm's scale frozen at the run's."""
    layer, at = link.layer, link.position
    run = data.site(Site.Z, layer)[:, at : at + 1].float()
    z = run
    if link.source is not None:
        weights = data.pattern(layer, queries=slice(at, at + 1))[..., link.source : link.source + 1]
        z = pick_head_values(weights, data.site(Site.V, layer)[:, link.source : link.source + 1].float())
    if link.head is not None:
        only = torch.zeros_like(z)
        only[link.head] = z[link.head]
        z = only
    written, norm = compute_head_outputs(model, layer, z).sum(0), apply_post_norm(model, layer, "w_o")
    if norm is not None:
        bias = model.weights.bias(f"w_o.{layer}")
        whole = compute_head_outputs(model, layer, run).sum(0)
        written = norm.linear(written, norm.sigma(whole if bias is None else whole + bias))
    return written[0] * model.blueprint.multiplier


def _neuron_part(model: LoadedModel, data: TraceData, link: Link) -> Float[Tensor, " d"]:
    layer, at = link.layer, link.position
    if model.blueprint.architecture.w_out is None:
        return _expert_part(model, data, link)
    if isinstance(link.neuron, tuple):
        raise RequestError(expected("neuron", "a whole number: this model has no experts", link.neuron))
    act, w_out = data.site(Site.ACT, layer)[at].float(), model.weights.get(f"w_out.{layer}").float()
    written, norm = act[link.neuron] * w_out[:, link.neuron], apply_post_norm(model, layer, "w_out")
    if norm is not None:
        bias = model.weights.bias(f"w_out.{layer}")
        whole = w_out @ act
        written = norm.linear(written, norm.sigma(whole if bias is None else whole + bias))
    return written * model.blueprint.multiplier


def _expert_part(model: LoadedModel, data: TraceData, link: Link) -> Float[Tensor, " d"]:
    """What a neuron of an expert wrote, with the router's weight; nothing where the expert was not chosen."""
    unit = ExpertNeuron.of(model, link.layer, link.neuron)
    part = unit.run(data.routed(link.layer).at(link.position))
    table = model.weights.get(f"expert_out.{link.layer}.{unit.expert}").float()
    if not len(part.positions):
        return torch.zeros_like(table[:, 0])
    return part.weights[0] * part.act[0, unit.neuron] * table[:, unit.neuron] * model.blueprint.multiplier
