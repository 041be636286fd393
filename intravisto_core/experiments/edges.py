"""Edge attribution with integrated gradients: what parts hand to each reader of the stream (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from intravisto_core.analysis.parts import split_attention
from intravisto_core.architectures import AttentionKind
from intravisto_core.errors import ModelError, expected
from intravisto_core.experiments.gradients import count_batch, require_gradients
from intravisto_core.experiments.link_runs import Metric
from intravisto_core.inspection.hooks import Handles, Visit, on_input, on_output
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.attention import captured_by
from intravisto_core.tracing.heads_sink import HeadsSink

NEEDED = (Site.RESID_PRE, Site.Z, Site.MLP_OUT)


@dataclass(frozen=True, slots=True)
class EdgePlaces:
    """What edges lead from and to. Sources: the embedding, then of each layer its heads and its MLP. Readers: of each
    layer the queries of its heads, keys and values of its kv heads, its MLP; then the logits."""

    n_layers: int
    n_heads: int
    n_kv_heads: int

    @classmethod
    def of(cls, model: LoadedModel) -> EdgePlaces:
        """Those of a model."""
        size = model.dimensions
        return cls(size.n_layers, size.n_heads, size.n_kv_heads)

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources."""
        parts = ([f"L{la}H{h}" for h in range(self.n_heads)] + [f"L{la} MLP"] for la in range(self.n_layers))
        return ("embedding", *(name for layer in parts for name in layer))

    @property
    def readers(self) -> tuple[str, ...]:
        """The names of the readers."""
        counts = (("q", self.n_heads), ("k", self.n_kv_heads), ("v", self.n_kv_heads))
        parts = (
            [f"L{la}H{h} {what}" for what, n in counts for h in range(n)] + [f"L{la} MLP"]
            for la in range(self.n_layers)
        )
        return (*(name for layer in parts for name in layer), "logits")

    def first_source(self, layer: int) -> int:
        """The number of the first source of a layer: how many come before its attention."""
        return 1 + layer * (self.n_heads + 1)

    def first_reader(self, layer: int) -> int:
        """The number of the first reader of a layer."""
        return layer * (self.n_heads + 2 * self.n_kv_heads + 1)


def score_edges(
    model: LoadedModel, clean: TraceData, corrupt: TraceData, metric: Metric, steps: int
) -> Float[Tensor, "S V"]:
    """`−⟨out_u^corrupt − out_u^clean, 1/K Σ_k ∇_{in_v} m(e' + k/K (e − e'))⟩`, summed over positions, float32.

    e and e' are what enters the first block in the clean and the corrupt run. What u writes is taken after post-norm
    and multiplier, what v reads before v's norm; a reader's slope is that through itself alone. 0 where no edge leads.
    A positive edge raises m by what the clean prompt hands over it.

    Raises:
        ModelError: the model cannot be differentiated, or its attention is not open.
    """
    require_gradients(model)
    kind = model.blueprint.architecture.attention_kind
    if kind is not AttentionKind.INTERFACE:
        allowed = "attention or activation patching"
        raise ModelError(
            expected("by", allowed, f"eap_ig: {kind.label} gives its queries, keys and values in one piece")
        )
    places = EdgePlaces.of(model)
    moved = (_list_outputs(model, corrupt) - _list_outputs(model, clean)).flatten(1)
    slopes = _Slopes(model, clean.ids, metric, places)
    weights = torch.arange(1, steps + 1, device=model.device) / steps
    first, last = corrupt.site(Site.RESID_PRE, 0).float(), clean.site(Site.RESID_PRE, 0).float()
    points = (first + weights[:, None, None] * (last - first)).to(model.dtype)
    out = torch.zeros((len(places.sources), len(places.readers)))
    for part in points.split(min(count_batch(model, len(clean.ids)), steps)):
        for n_sources, start, slope in slopes.of(part):
            found = -(moved[:n_sources] @ slope.flatten(1).T) / steps
            out[:n_sources, start : start + len(slope)] += found.cpu()
    return out


def score_sources(edges: Float[Tensor, "S V"]) -> Float[Tensor, " N"]:
    """The score of each head and MLP: the sum over its edges."""
    return edges.sum(1)[1:]


def _list_outputs(model: LoadedModel, data: TraceData) -> Float[Tensor, "S T d"]:
    """What each source writes: the embedding, then heads and MLP layer by layer, as the stream gets it, float32."""
    parts = [data.site(Site.RESID_PRE, 0).float()[None]]
    for layer in range(model.dimensions.n_layers):
        parts += [
            split_attention(model, layer, data.site(Site.Z, layer))[0],
            data.site(Site.MLP_OUT, layer).float()[None],
        ]
    return torch.cat([part.to(parts[0].device) for part in parts])


@dataclass(slots=True)
class _Slopes:
    """∂m/∂(what each reader reads), summed over a batch of inputs on the way."""

    model: LoadedModel
    ids: tuple[int, ...]
    metric: Metric
    places: EdgePlaces
    streams: dict[int, Tensor] = field(default_factory=dict)
    middles: dict[int, Tensor] = field(default_factory=dict)
    inside: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    written: dict[int, Tensor] = field(default_factory=dict)

    def of(self, points: Float[Tensor, "b T d"]) -> Iterator[tuple[int, int, Float[Tensor, "v T d"]]]:
        """For each layer's queries, keys, values and MLP, and for the logits: how many sources come before, the number
        of the first reader, and the slopes."""
        layers = range(self.places.n_layers)
        with torch.enable_grad():
            final, value = self._run(points)
            targets = [x for la in layers for x in (*self.inside[la], self.written[la])]
            found = torch.autograd.grad(
                value, [*targets, final], retain_graph=True, materialize_grads=True, allow_unused=True
            )
            for layer in layers:
                yield from self._of_layer(layer, found[4 * layer : 4 * layer + 4])
        yield len(self.places.sources), len(self.places.readers) - 1, found[-1].float().sum(0)[None]

    def _of_layer(self, layer: int, slopes: tuple[Tensor, ...]) -> Iterator[tuple[int, int, Float[Tensor, "v T d"]]]:
        """By head: the slope of the layer's queries, keys, values, each through one head alone; then the MLP's."""
        before, reader = self.places.first_source(layer), self.places.first_reader(layer)
        for x, slope in zip(self.inside[layer], slopes[:3], strict=True):
            n = x.shape[1]
            alone = torch.eye(n, dtype=slope.dtype, device=slope.device)[:, None, :, None, None] * slope
            (found,) = torch.autograd.grad(
                x, self.streams[layer], alone, retain_graph=True, is_grads_batched=True, materialize_grads=True
            )
            yield before, reader, found.float().sum(1)
            reader += n
        parallel = self.model.blueprint.parallel
        read = self.streams[layer] if parallel else self.middles[layer]
        (found,) = torch.autograd.grad(self.written[layer], read, slopes[3], retain_graph=True)
        yield before if parallel else before + self.places.n_heads, reader, found.float().sum(0)[None]

    def _run(self, points: Float[Tensor, "b T d"]) -> tuple[Tensor, Tensor]:
        """The final stream, and the sum of m, of the text with what enters the first block given."""
        model = self.model
        final: list[Tensor] = []
        for kept in (self.streams, self.middles, self.inside, self.written):
            kept.clear()
        tokens = torch.tensor([self.ids], device=model.device).expand(len(points), -1)
        options = {"logits_to_keep": 1} if model.blueprint.keeps_last_logits else {}

        def keep_inside(layer: int, query: Tensor, key: Tensor, value: Tensor) -> None:
            self.inside[layer] = (query, key, value)

        with ExitStack() as stack:
            stack.enter_context(Handles(self._hooks(points.detach().requires_grad_(), final)))
            stack.enter_context(captured_by(HeadsSink(keep_inside)))
            logits = model.network(input_ids=tokens, use_cache=False, **options).logits[:, -1]
        return final[0], self.metric(logits).sum()

    def _hooks(self, points: Tensor, final: list[Tensor]) -> Iterator[RemovableHandle]:
        blocks = self.model.blueprint.blocks
        yield on_input(blocks[0].layer, lambda _: points)
        for layer, block in enumerate(blocks):
            yield on_input(block.layer, _keeper(self.streams, layer))
            if not self.model.blueprint.parallel and block.mid_reader is not None:
                yield on_input(block.mid_reader, _keeper(self.middles, layer))
            yield on_output(block.mlp_out, _keeper(self.written, layer))
        yield on_output(blocks[-1].layer, final.append)


def _keeper(kept: dict[int, Tensor], layer: int) -> Visit:
    def keep(x: Tensor) -> None:
        kept[layer] = x

    return keep
