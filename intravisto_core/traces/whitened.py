"""The whitened vectors of an edit, made before it runs; what is measured of the vocabulary is kept in the store."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.ascent import climb
from intravisto_core.analysis.interventions import match_norm, measure_median_length
from intravisto_core.analysis.read_back import PlaceReading
from intravisto_core.analysis.whitening import Whitener, accumulate_covariance, list_pairs, make_whitener
from intravisto_core.models import LoadedModel
from intravisto_core.models.memory import require_room, whitening_estimate
from intravisto_core.progress import Progress
from intravisto_core.request import Intervention, Replace
from intravisto_core.request.ranges import index
from intravisto_core.sites import NormPolicy, TokenVector
from intravisto_core.traces.byte_store import ByteStore
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.operands import Operands, Sources, Text, require_site

Making = Generator[Progress, None, "Whitened"]


@dataclass(frozen=True, slots=True)
class Whitened:
    """A token's whitened vector at a place, before it is scaled. note: for the reader, where it does not read back."""

    vector: Float[Tensor, " d"]
    note: str = ""


def make_operands(
    model: LoadedModel,
    store: ByteStore,
    interventions: Sequence[Intervention],
    text: Text,
    baseline: TraceData,
    sources: Sources,
    reports: bool = True,
) -> Generator[Progress, None, Operands]:
    """What interventions take their values from, the whitened vectors among them. reports: see `Operands`.

    Raises:
        RequestError: a layer out of range, or a token text without tokens.
        MemoryShortError: there is no room to measure the vocabulary.
    """
    operands = Operands(model, text, baseline, sources, reports=reports)
    for each in interventions:
        if isinstance(each, Replace) and each.vector is TokenVector.WHITENED:
            made = yield from _make(operands, store, each)
            operands.vectors[each] = made.vector
            if made.note:
                operands.say(made.note)
    return operands


def _make(operands: Operands, store: ByteStore, each: Replace) -> Making:
    model = operands.model
    layer = index(each.layer, model.dimensions.n_layers, "layer")
    ids = tuple(model.reader.encode_typed(each.token))
    require_site(model, each.site)
    reading = operands.reading(each, layer)
    whitener = yield from _whitener(model, store, reading)
    vector = whitener.vector(model, ids)
    if len(ids) > 1:
        return Whitened(vector)
    length = measure_median_length(operands.values(operands.baseline, each.site, layer, None))
    # rows that are read alike share a vector; below float32 each rounds one of another length in its own way
    same = reading.mix(model.dimensions.n_layers) if model.dtype is torch.float32 else reading.row
    # the length counts where no norm takes it away
    key = ("whitened", same, reading.lens, reading.policy, ids, length if reading.policy is NormPolicy.NONE else None)
    known: Whitened | None = store.get(key)
    if known is None:
        known = yield from _climb(model, reading, vector, ids[0], length)
        store.put(key, known, known.vector.nbytes)
    return known


def _climb(model: LoadedModel, reading: PlaceReading, start: Float[Tensor, " d"], token: int, length: float) -> Making:
    """The vector itself where it reads back once it is rounded, else the best one that a climb finds."""

    def reads_back(vector: Float[Tensor, " d"]) -> bool:
        scaled = vector[None] * (length / vector.norm())
        return int(reading.top_tokens(model, scaled.to(model.dtype).float())[0]) == token

    if reads_back(start):
        return Whitened(start)
    found = yield from climb(model, start, token, reading, length)
    vector = match_norm(found.vector[None], start[None])[0]
    if reads_back(vector):
        return Whitened(vector)
    shown = model.reader.shown(token)
    why = "no vector reads back as it" if found.impossible else "no vector was found that reads back as it"
    return Whitened(vector, f"{shown}: {why} at this place")


def _whitener(model: LoadedModel, store: ByteStore, reading: PlaceReading) -> Generator[Progress, None, Whitener]:
    mix = 1.0 if model.weights.tied else reading.mix(model.dimensions.n_layers)
    policy = NormPolicy.FINAL if reading.policy is NormPolicy.STREAM else reading.policy
    key = ("whitener", mix, policy)
    known: Whitener | None = store.get(key)
    if known is not None:
        return known
    pairs = list_pairs(mix)
    missing = [pair for pair in pairs if ("covariance", pair) not in store]
    require_room(whitening_estimate(model, len(missing)), "the whitened vector of a token")
    covariances: dict[tuple[str, str], torch.Tensor] = {}
    for pair in pairs:
        found: torch.Tensor | None = store.get(("covariance", pair))
        if found is None:
            found = yield from accumulate_covariance(model, pair)
            store.put(("covariance", pair), found, found.nbytes)
        covariances[pair] = found
    made = make_whitener(model, mix, policy, covariances)
    store.put(key, made, made.nbytes)
    return made
