"""The identities of docs/methods.md §2, each measured on a probe that was traced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.attention import pick_head_values
from intravisto_core.analysis.experts import Routing, run_expert, sum_experts
from intravisto_core.analysis.lenses import scale_logits
from intravisto_core.analysis.parts import compute_head_outputs, split_attention, sum_neurons
from intravisto_core.architectures import ExpertModules, Order
from intravisto_core.errors import ModelError
from intravisto_core.models import LoadedModel
from intravisto_core.records import Check
from intravisto_core.sites import Site
from intravisto_core.tracing import TraceData

SMALLEST = 1e-6
N_SAMPLES = 16

Errors = Float[Tensor, "any T"]


def compute_relative_error(actual: Tensor, reference: Tensor) -> Float[Tensor, "*any"]:
    """e = ‖Δ‖₂ / max(‖ref‖₂, 1e-6·median ‖ref‖) along the last dimension."""
    size = reference.float().norm(dim=-1)
    floor = SMALLEST * size.median()
    return (actual.float() - reference.float()).norm(dim=-1) / torch.maximum(size, floor).clamp(min=1e-30)


def summarise_errors(errors: Errors, allowed: float, exact: bool | None = None, reason: str = "") -> Check:
    """A check from errors by layer (or sample) and position; NaN fails."""
    errors = errors.reshape(-1, errors.shape[-1])
    later = errors[:, 1:] if errors.shape[1] > 1 else errors
    worst = float(later.max()) if not later.isnan().any() else float("nan")
    start = float(errors[:, 0].max()) if not errors[:, 0].isnan().any() else float("nan")
    ok = worst <= allowed and start <= allowed and not reason
    if not ok and not reason:
        reason = f"measured error {max(worst, start):.1e}, allowed {allowed:.0e}"
    return Check(
        ok=ok,
        error=worst,
        at_start=start,
        median=float(errors.median()),
        allowed=allowed,
        exact=exact,
        reason=reason,
    )


def allowed_error(dtype: torch.dtype, quantisation: str | None = None) -> float:
    """The largest e that a dtype's or a quantisation's rounding explains (docs/methods.md §2)."""
    if quantisation is not None:
        return 5e-2
    return 1e-4 if dtype == torch.float32 else 2e-2


def check_residual(model: LoadedModel, data: TraceData) -> tuple[Errors, bool]:
    """Identity 1: the stream is the sum of what is added to it. Also whether it is so bit by bit."""
    errors, exact, n_layers = [], True, model.dimensions.n_layers
    for layer in range(n_layers):
        p, a, m, post = (data.site(s, layer) for s in (Site.RESID_PRE, Site.ATTN_OUT, Site.MLP_OUT, Site.RESID_POST))
        total = _added(model.blueprint.order, p, a, m)
        exact = exact and torch.equal(total, post)
        errors.append(compute_relative_error(total, post))
        if not model.blueprint.parallel:
            errors.append(compute_relative_error(p + a, data.site(Site.RESID_MID, layer)))
        if layer + 1 < n_layers:
            errors.append(compute_relative_error(data.site(Site.RESID_PRE, layer + 1), post))
    errors.append(compute_relative_error(data.final, data.site(Site.RESID_POST, n_layers - 1)))
    return torch.stack(errors), exact


def _added(order: Order, p: Tensor, a: Tensor, m: Tensor) -> Tensor:
    if order is Order.PA_M:
        return (p + a) + m
    return (a + m) + p if order is Order.AM_P else (m + a) + p


def check_logits(model: LoadedModel, data: TraceData, reference: Float[Tensor, "T V"]) -> Errors:
    """Identity 2: the final stream through the norm's formula and the unembedding gives the model's logits."""
    state = model.norm(data.final.float())
    z = torch.cat([state @ table.T for _, table in model.weights.chunks("unembed")], -1)
    if (bias := model.weights.bias("unembed")) is not None:
        z = z + bias
    return compute_relative_error(scale_logits(model, z, capped=True), reference)[None]


def check_patterns(model: LoadedModel, data: TraceData) -> Iterator[Errors]:
    """Identity 5: recomputed pattern times v is z, for every head; layer by layer."""
    for layer in range(model.dimensions.n_layers):
        v, z = data.site(Site.V, layer), data.site(Site.Z, layer)
        yield compute_relative_error(pick_head_values(data.pattern(layer), v), z)


def check_heads(model: LoadedModel, data: TraceData) -> Iterator[Errors]:
    """Identity 6: heads and bias add up to `attn_out`, layer by layer; 16 random heads equal what an ablation takes
    away.
    """

    def rebuilt(layer: int) -> Tensor:
        each, bias = split_attention(model, layer, data.site(Site.Z, layer))
        return compute_relative_error(each.sum(0) + bias, data.site(Site.ATTN_OUT, layer))[None]

    def ablated(layer: int, head: int) -> Tensor:
        z = data.site(Site.Z, layer)
        without = z.clone()
        without[head] = 0
        module = model.blueprint.blocks[layer].w_o
        full, less = (module(x.transpose(0, 1).flatten(1)[None])[0].float() for x in (z, without))
        return _against(full - less, compute_head_outputs(model, layer, z)[head], full)

    yield from (rebuilt(layer) for layer in range(model.dimensions.n_layers))
    yield from (ablated(i, h)[None] for i, h in _samples(model.dimensions.n_layers, model.dimensions.n_heads))


def check_neurons(model: LoadedModel, data: TraceData) -> Iterator[Errors]:
    """Identity 7: neurons and bias add up to `mlp_out`, layer by layer; 16 random neurons equal what an ablation takes
    away.
    """

    def rebuilt(layer: int) -> Tensor:
        return compute_relative_error(
            sum_neurons(model, layer, data.site(Site.ACT, layer)), data.site(Site.MLP_OUT, layer)
        )[None]

    def ablated(layer: int, neuron: int) -> Tensor:
        act = data.site(Site.ACT, layer)
        without = act.clone()
        without[:, neuron] = 0
        module = model.blueprint.blocks[layer].w_out
        assert module is not None
        full, less = (module(x[None])[0].float() for x in (act, without))
        column = model.weights.get(f"w_out.{layer}")[:, neuron].float()
        return _against(full - less, act[:, neuron, None].float() * column, full)

    yield from (rebuilt(layer) for layer in range(model.dimensions.n_layers))
    yield from (ablated(i, n)[None] for i, n in _samples(model.dimensions.n_layers, model.dimensions.d_mlp))


def check_experts(model: LoadedModel, data: TraceData) -> Iterator[Errors]:
    """Identity 7 of a mixture: the neurons of all experts and the biases add up to `mlp_out`; 16 random neurons of a
    layer's routed experts equal what is missing when that neuron is silent in all of them.
    """

    def rebuilt(layer: int) -> Tensor:
        return compute_relative_error(sum_experts(model, layer, data.routing[layer]), data.site(Site.MLP_OUT, layer))[
            None
        ]

    def ablated(layer: int, neuron: int) -> Tensor:
        routing = data.routing[layer]
        full, less = (_run_experts(model, layer, routing, silent) for silent in (None, neuron))
        gone = torch.zeros_like(full)
        for expert in cast(Tensor, routing.chosen).unique().tolist():
            part = run_expert(model, layer, expert, routing)
            column = model.weights.get(f"expert_out.{layer}.{expert}")[:, neuron].float()
            gone[part.positions] += (part.weights * part.act[:, neuron])[:, None] * column
        return _against(full - less, gone, full)

    layers = range(model.dimensions.n_layers)
    mixed = [layer for layer in layers if data.routing[layer].chosen is not None]
    for layer in mixed:
        logits, n = (
            data.routing[layer].logits,
            cast(ExpertModules, model.blueprint.blocks[layer].experts).n_routed,
        )
        if logits is None or logits.shape[-1] != n:
            raise ModelError(f"router of layer {layer}: expected logits over {n} experts; it gives something else")
    width = model.weights.get(f"expert_out.{mixed[0]}.0").shape[1] if mixed else 0
    yield from (rebuilt(layer) for layer in layers)
    yield from (ablated(mixed[i], n)[None] for i, n in _samples(len(mixed), width))


def _run_experts(model: LoadedModel, layer: int, routing: Routing, silent: int | None) -> Float[Tensor, "T d"]:
    """The model's own routed experts on what they were given, with one neuron of each set to 0."""
    module: Any = cast(ExpertModules, model.blueprint.blocks[layer].experts).experts
    own = module._apply_gate

    def without(x: Tensor) -> Tensor:
        act: Tensor = own(x).clone()
        act[:, silent] = 0
        return act

    if silent is not None:
        module._apply_gate = without
    try:
        out: Tensor = module(routing.given, routing.chosen, routing.weights)
        return out.float()
    finally:
        module.__dict__.pop("_apply_gate", None)


def _against(measured: Tensor, predicted: Tensor, whole: Tensor) -> Float[Tensor, " T"]:
    """Error of a part, relative to the whole that it was taken from."""
    return (measured - predicted).norm(dim=-1) / whole.norm(dim=-1).clamp(min=1e-30)


def _samples(n_layers: int, width: int) -> Iterator[tuple[int, int]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(min(N_SAMPLES, n_layers * width)):
        pick = torch.randint(n_layers * width, (), generator=generator)
        yield int(pick) // width, int(pick) % width
