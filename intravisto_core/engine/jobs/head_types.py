"""What heads of a model do: on random tokens that are said twice, and by their weights. Measured once a model."""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.head_weights import measure_composition, measure_copying, measure_table
from intravisto_core.architectures import NormKind
from intravisto_core.errors import ModelError, RequestError, expected
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress, relay_turns
from intravisto_core.records import HeadComposition, HeadTypes
from intravisto_core.request import Generation, HeadCompositionRequest, HeadTypesRequest
from intravisto_core.request.ranges import index
from intravisto_core.sites import Capability, Site, TokenKind
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData
from intravisto_core.tracing.preparing import Prepared
from intravisto_core.tracing.run import run

ELEMENTS = 1 << 22
FEWEST = 4
SCORES = ("previous", "duplicate", "induction", "first", "entropy")
NO_COPYING = "Whether heads copy cannot be told for this model: {}"

Array = np.ndarray


def run_head_types(
    traces: Traces, request: HeadTypesRequest, session: str, control: RunControl
) -> Generator[Progress, None, HeadTypes]:
    """The scores of all heads; a turn is a piece of a run, some heads, or some rows of the vocabulary.

    Raises:
        ModelError: this model fails the identity that the patterns rest on, or its vocabulary or context is too small.
    """
    traces.card.require(Capability.PATTERN)
    model = traces.model
    key = ("head types", model.resolved, request)
    found: HeadTypes | None = traces.store.get(key)
    if found is None:
        heads = traces.card.holds(Capability.HEADS)
        found = yield from _measure(model, request, "" if heads else traces.card.capabilities[Capability.HEADS].reason)
        traces.store.put(key, found, 8 * found.previous.nbytes)
    return found


def _measure(model: LoadedModel, request: HeadTypesRequest, no_heads: str) -> Generator[Progress, None, HeadTypes]:
    size = model.dimensions
    sums: dict[str, Array] = {}
    n, texts = draw_texts(model, request)
    for number, ids in enumerate(texts):
        now = Progress(number, request.texts + 1, "types of heads")
        yield now
        turns = run(model, Prepared(ids, (), 0), Generation(), (Site.Q, Site.K))
        data = yield from relay_turns(turns, _always(now))
        for layer in range(size.n_layers):
            for name, values in measure_pattern_scores(data, layer, n).items():
                sums.setdefault(name, np.zeros((size.n_layers, size.n_heads)))[layer] += values.cpu().numpy()
            yield now
    copying: Array = np.full((size.n_layers, size.n_heads), np.nan, np.float32)
    notes: tuple[str, ...] = ()
    try:
        if no_heads:
            raise ModelError(no_heads)
        copying = yield from _measure_copying(model)
    except ModelError as error:
        notes = (NO_COPYING.format(error),)
    means = {name: (values / request.texts).astype(np.float32) for name, values in sums.items()}
    return HeadTypes(model.name, n, request.texts, request.seed, copying=copying, notes=notes, **means)


def _always(progress: Progress) -> Callable[[int], Progress]:
    return lambda _: progress


def draw_texts(model: LoadedModel, request: HeadTypesRequest) -> tuple[int, list[tuple[int, ...]]]:
    """How many tokens are said twice, and the texts: what the tokenizer puts first, then different random tokens twice.

    Raises:
        ModelError: not even four fit.
    """
    reader, d_vocab = model.reader, model.weights.n_rows("embed")
    usual = np.array([i for i in range(d_vocab) if reader.kind(i) is TokenKind.WORD])
    start, context = tuple(reader.encode("", True)), model.dimensions.context
    n = min(request.tokens, len(usual), (context - len(start)) // 2 if context else request.tokens)
    if n < FEWEST:
        raise ModelError(
            f"types of heads: expected a model that can read {FEWEST} different tokens twice; this one has "
            f"{len(usual)} tokens of text and a context of {context}"
        )
    generator = np.random.default_rng(request.seed)
    drawn = (generator.choice(usual, n, replace=False).tolist() for _ in range(request.texts))
    return n, [(*start, *ids, *ids) for ids in drawn]


def measure_pattern_scores(data: TraceData, layer: int, n: int) -> dict[str, Tensor]:
    """Each score of every head of a layer on one text whose last 2n tokens are n tokens said twice."""
    length, n_heads = data.length, data.site(Site.Q, layer).shape[0]
    step, found = max(1, ELEMENTS // length**2), []
    facts = data.facts[layer]
    for start in range(0, n_heads, step):
        pattern = data.pattern(layer, slice(start, min(start + step, n_heads)))
        entropy = torch.special.entr(pattern).sum(-1)
        if facts is not None and facts.sinks is not None:
            entropy = entropy + torch.special.entr((1 - pattern.sum(-1)).clamp(0, 1))
        second = slice(length - n, length)
        found.append(
            {
                "previous": pattern.diagonal(-1, 1, 2).mean(-1),
                "duplicate": pattern.diagonal(-n, 1, 2)[:, -n:].mean(-1),
                "induction": pattern[:, second].diagonal(length - 2 * n + 1, 1, 2)[:, :n].mean(-1),
                "first": pattern[:, 1:, 0].mean(-1),
                "entropy": entropy[:, 1:].mean(-1),
            }
        )
    return {name: torch.cat([part[name] for part in found]) for name in SCORES}


def _measure_copying(model: LoadedModel) -> Generator[Progress, None, Array]:
    n = model.weights.n_rows("embed")
    table = torch.empty(0)
    for done, summed in measure_table(model):
        table = summed
        yield Progress(done, n, "copying")
    rows = []
    for layer in range(model.dimensions.n_layers):
        rows.append(measure_copying(model, layer, table).float().cpu().numpy())
        yield Progress(layer + 1, model.dimensions.n_layers, "copying")
    return np.stack(rows)


def run_head_composition(
    traces: Traces, request: HeadCompositionRequest, session: str, control: RunControl
) -> Generator[Progress, None, HeadComposition]:
    """What one head can read of each head below; a turn is a layer.

    Raises:
        RequestError: no such layer or head, or the first layer, which reads no head.
        ModelError: the model's heads do not add up, or its projections are not known.
    """
    traces.card.require(Capability.HEADS)
    model, size = traces.model, traces.model.dimensions
    layer, head = index(request.layer, size.n_layers, "layer"), index(request.head, size.n_heads, "head")
    if not layer:
        raise RequestError(expected("layer", f"1 to {size.n_layers - 1}: there is no head below layer 0", layer))
    key = ("head composition", model.resolved, layer, head)
    found: HeadComposition | None = traces.store.get(key)
    if found is not None:
        return found
    free = size.d_model - (1 if model.norm.kind is NormKind.LAYER else 0)
    chance, rows = 1 / sqrt(free), []
    for below, parts in enumerate(measure_composition(model, layer, head)):
        rows.append([(part - chance).cpu().numpy() for part in parts])
        yield Progress(below + 1, layer, "composition")
    q, k, v = (np.stack(each).astype(np.float32) for each in zip(*rows, strict=True))
    found = HeadComposition(model.name, layer, head, q, k, v, chance)
    traces.store.put(key, found, 4 * q.nbytes)
    return found
