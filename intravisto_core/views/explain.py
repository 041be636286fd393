"""Where a token comes from, without tests (docs/methods.md §6): what the activations of the trace alone tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.attribution import Direction, compute_reader
from intravisto_core.analysis.decoding import compute_ranks, compute_sums, count_tile_positions
from intravisto_core.analysis.explanation import (
    WrittenWords,
    divide_heads_by_source,
    find_written_words,
)
from intravisto_core.analysis.lenses import compute_output_logits
from intravisto_core.analysis.parts import split_attention
from intravisto_core.progress import Progress
from intravisto_core.records import Attribution, Explanation
from intravisto_core.request import AttributionView, ExplainView
from intravisto_core.request.ranges import index
from intravisto_core.sites import AttentionDivision, Capability, Component, Part, Refinement, Site
from intravisto_core.tracing.value_constants import compute_value_constants
from intravisto_core.views.attribution import compute_attribution
from intravisto_core.views.context import ViewContext
from intravisto_core.views.flow.shares import read_attention
from intravisto_core.views.sinks import read_sinks

LISTED_PARTS = 10
LISTED_WORDS = 24
NO_RANK = 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is explained: token ids, contrast −1 for none, and the position that says the target."""

    target: int
    contrast: int
    position: int

    @property
    def tokens(self) -> tuple[int, ...]:
        return (self.target,) if self.contrast < 0 else (self.target, self.contrast)


def read_position(view: ExplainView, prompt_length: int, length: int) -> int:
    """The position that says the token; None is the last one of the prompt.

    Raises:
        RequestError: out of range.
    """
    return prompt_length - 1 if view.position is None else index(view.position, length, "position")


def compute_explanation(context: ViewContext, view: ExplainView) -> Generator[Progress, None, Explanation]:
    """The record without its tests.

    Raises:
        RequestError: no such position or token, or target and contrast are the same.
        ModelError: this model fails an identity that the heads or their patterns rest on.
    """
    for needed in (Capability.HEADS, Capability.PATTERN):
        context.card.require(needed)
    model, data, entry = context.model, context.data, context.entry
    position = read_position(view, entry.prompt_length, entry.length)
    parts = yield from _attribution(context, view, position, view.contrast)
    asked = _Asked(parts.target_id, parts.contrast_id, position)
    own = parts if asked.contrast < 0 else (yield from _attribution(context, view, position, None))
    logits = compute_output_logits(model, data.final[position : position + 1])[0].double()
    streams, halves = _stack_streams(context, position)
    rise = yield from _follow(context, streams, asked)
    read = yield from _read_heads(context, asked)
    listed = list_largest(parts)
    words = _find_words(context, parts, own, listed, asked)
    down = words.rank_down < words.rank_up
    ids = torch.where(down[:, None], words.down, words.up).int().cpu().numpy()
    shown = {int(i) for i in (*np.unique(ids), *asked.tokens, logits.argmax())}
    return Explanation(
        trace=entry.id,
        model=model.name,
        n_layers=model.dimensions.n_layers,
        d_vocab=model.dimensions.d_vocab,
        prompt_length=entry.prompt_length,
        tokens=entry.tokens,
        position=position,
        target_id=asked.target,
        contrast_id=asked.contrast,
        target=parts.target,
        contrast=parts.contrast if asked.contrast >= 0 else "",
        probability=float(logits.softmax(-1)[asked.target]),
        top_id=int(logits.argmax()),
        lead=float(logits[asked.target] - logits[asked.contrast]) if asked.contrast >= 0 else float("nan"),
        stream_row=np.array([row for row, _ in halves], np.int32),
        stream_half=np.array([half for _, half in halves]),
        rank=rise.rank[0],
        stream_probability=rise.probability[0],
        contrast_rank=rise.rank[1] if asked.contrast >= 0 else np.full(len(halves), NO_RANK, np.int32),
        contrast_probability=(rise.probability[1] if asked.contrast >= 0 else np.full(len(halves), np.nan, np.float32)),
        part_kind=parts.kind,
        part_layer=parts.layer,
        part_index=parts.index,
        part_value=parts.value,
        part_own=own.value,
        logit=parts.logit,
        remainder=parts.remainder,
        soft_cap=parts.soft_cap,
        looks_at=read.looks_at,
        looks_at_weight=read.weight,
        sink_weight=read.sink,
        sinks=read.sinks,
        source=read.source,
        word_part=np.array(listed, np.int32),
        word_ids=ids,
        word_down=down.cpu().numpy(),
        word_rank=torch.minimum(words.rank_up, words.rank_down).int().cpu().numpy(),
        shown={i: model.reader.shown(i) for i in sorted(shown)},
        notes=parts.notes,
    )


def _attribution(
    context: ViewContext, view: ExplainView, position: int, contrast: str | int | None
) -> Generator[Progress, None, Attribution]:
    """All parts of the final stream, attention by heads."""
    asked = AttributionView(view.trace, view.target, contrast, position, Refinement.HEADS)
    return (yield from compute_attribution(context, asked))


def list_largest(parts: Attribution) -> list[int]:
    """The heads and MLPs of largest |value|, as numbers of parts."""
    some = np.flatnonzero(np.isin(parts.kind, (Part.HEAD, Part.MLP)))
    return [int(i) for i in some[np.argsort(-np.abs(parts.value[some]), kind="stable")][:LISTED_PARTS]]


def _stack_streams(context: ViewContext, position: int) -> tuple[Float[Tensor, "S d"], list[tuple[int, str]]]:
    """The stream at a position after everything that joins it, with the heatmap row and what joined last."""
    data, n_layers = context.data, context.model.dimensions.n_layers
    streams, halves = [data.site(Site.RESID_PRE, 0)[position]], [(0, str(Component.BLOCK))]
    for layer in range(n_layers):
        if not context.model.blueprint.parallel:
            streams.append(data.site(Site.RESID_MID, layer)[position])
            halves.append((layer + 1, str(Component.ATTENTION)))
        streams.append(data.site(Site.RESID_POST, layer)[position])
        halves.append((layer + 1, str(Component.BLOCK if context.model.blueprint.parallel else Component.MLP)))
    return torch.stack(streams), halves


@dataclass(frozen=True, slots=True)
class _Rise:
    """rank, probability: (tokens, S)."""

    rank: np.ndarray
    probability: np.ndarray


def _follow(context: ViewContext, streams: Float[Tensor, "S d"], asked: _Asked) -> Generator[Progress, None, _Rise]:
    """Ranks and probabilities of the tokens under the output lens, as the heatmap's cells have them."""
    step = count_tile_positions(1, context.model.dimensions.d_vocab)
    ranks, chances = [], []
    for start in range(0, len(streams), step):
        z = compute_output_logits(context.model, streams[start : start + step].float())
        log_sum = compute_sums(z, z.amax(-1)).log_sum
        found = [compute_ranks(z, token) for token in asked.tokens]
        ranks.append(torch.stack([rank for rank, _ in found]))
        chances.append(torch.stack([(logit - log_sum).exp() for _, logit in found]))
        yield Progress(min(len(streams), start + step), len(streams), "reading the layers")
    return _Rise(torch.cat(ranks, 1).int().cpu().numpy(), torch.cat(chances, 1).float().cpu().numpy())


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the heads read from one position: see `Explanation`."""

    looks_at: np.ndarray
    weight: np.ndarray
    sink: np.ndarray
    source: np.ndarray
    sinks: tuple[int, ...]


def _read_heads(context: ViewContext, asked: _Asked) -> Generator[Progress, None, _Reading]:
    """Where every head looks, and what all heads bring from each position; a turn is a layer."""
    model, data, size = context.model, context.data, context.model.dimensions
    direction = Direction.of(model, asked.target, asked.contrast)
    g = compute_reader(model, direction, data.final[asked.position])
    constants, query = _value_constants(context), torch.tensor([asked.position])
    sinks = [sorted({0, *here.tolist()}) for here in (yield from read_sinks(context))]
    source = torch.zeros(data.length, dtype=torch.float64, device=g.device)
    looks = np.full((3, size.n_layers, size.n_heads), np.nan, np.float32)
    for layer in range(size.n_layers):
        weights, what, _ = read_attention(context, layer, AttentionDivision.VALUE_WEIGHTED, query)
        assert what is not None
        source += divide_heads_by_source(what, constants[layer], g).abs().sum(0).double()
        looks[:, layer] = _find_looked_at(weights[:, 0], sinks[layer])
        yield Progress(layer + 1, size.n_layers, "reading the heads")
    # where the sinks have all the weight, a head looks at nothing else
    looked_at = np.where(looks[1] > 0, looks[0], -1).astype(np.int32)
    weight = np.where(looked_at >= 0, looks[1], np.nan).astype(np.float32)
    often = Counter(j for here in sinks for j in here if j < asked.position)
    aside = tuple(j for j in sorted(often) if 2 * often[j] >= size.n_layers)
    return _Reading(looked_at, weight, looks[2], source.cpu().numpy(), aside)


def _find_looked_at(weights: Float[Tensor, "H T"], sinks: Sequence[int]) -> np.ndarray:
    """(3, H): the position with the largest weight that is no sink, its weight, and the weight at sinks."""
    learned = (1 - weights.sum(-1)).clamp(min=0)
    taken = weights[:, list(sinks)].sum(-1) + learned
    left = weights.clone()
    left[:, list(sinks)] = -1  # below every weight
    found = left.max(-1)
    return torch.stack([found.indices.float(), found.values, taken]).cpu().numpy()


def _value_constants(context: ViewContext) -> Float[Tensor, "L Hkv d_v"]:
    """Those of this model, computed once."""
    found: Tensor | None = context.store.get("value constants")
    if found is None:
        found = compute_value_constants(context.model, context.data.ids[0])
        context.store.put("value constants", found, found.nbytes)
    return found


def _find_words(
    context: ViewContext, parts: Attribution, own: Attribution, listed: Sequence[int], asked: _Asked
) -> WrittenWords:
    """The words of the listed parts; of each the rank of the target, or of the contrast where that moves more."""
    vectors = torch.stack([_read_part(context, parts, i, asked.position) for i in listed])
    rival = parts.value - own.value
    moved = [asked.contrast if abs(rival[i]) > abs(own.value[i]) else asked.target for i in listed]
    tokens = torch.tensor(moved, device=vectors.device)
    return find_written_words(context.model, vectors, context.token_lengths().at(1.0), tokens, LISTED_WORDS)


def _read_part(context: ViewContext, parts: Attribution, number: int, position: int) -> Float[Tensor, " d"]:
    """What a head or an MLP added to the stream at a position."""
    layer = int(parts.layer[number])
    if parts.kind[number] == Part.MLP:
        return context.data.site(Site.MLP_OUT, layer)[position].float()
    z = context.data.site(Site.Z, layer)[:, position : position + 1]
    return split_attention(context.model, layer, z)[0][int(parts.index[number]), 0]
