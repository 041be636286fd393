"""What can be asked about attention: the weights themselves, what a head does, and why it looks where it looks."""

from __future__ import annotations

from typing import Annotated, Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.records import (
    Attention,
    AttentionCut,
    AttentionScore,
    HeadComposition,
    HeadPatterns,
    HeadTargets,
    HeadTypes,
    SparseAttention,
)
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import Selection, TraceId, check, check_whole, read_whole_numbers
from intravisto_core.request.fields import read_whole_number
from intravisto_core.sites import AttentionDivision, ScoreEnd, SinkHandling

MEAN, WEIGHTED = "mean", "weighted"
MOST_PARTS = 512
SMALLEST_PICTURE, LARGEST_PICTURE = 4, 64


def read_heads(value: Any, name: str) -> int | tuple[int, ...] | str | None:
    """One head, several, "mean", or None for each of them."""
    if value is None or (isinstance(value, str) and value == MEAN):
        return value
    allowed = f'a whole number, a list of them, "{MEAN}" or None'
    if hasattr(value, "__iter__"):
        found = tuple(dict.fromkeys(read_whole_numbers(value, name, allowed)))
        check(bool(found), name, "at least one head", value)
        return found
    return _whole(value, name, allowed)


def read_layer(value: Any, name: str) -> int | str:
    """One layer, or "mean"."""
    return MEAN if isinstance(value, str) and value == MEAN else _whole(value, name, f'a whole number or "{MEAN}"')


def read_reference(value: Any, name: str) -> int | str | None:
    """What a score is held against: "mean" or "weighted" of the other keys, the position of one, or nothing."""
    if value is None or (isinstance(value, str) and value in (MEAN, WEIGHTED)):
        return value
    return _whole(value, name, f'"{MEAN}", "{WEIGHTED}", the position of a key, or None')


def _whole(value: Any, name: str, allowed: str) -> int:
    try:
        return read_whole_number(value, name)
    except RequestError:
        raise RequestError(expected(name, allowed, value)) from None


Heads = Annotated[int | tuple[int, ...] | str | None, read_heads]
LayerOrMean = Annotated[int | str, read_layer]
Reference = Annotated[int | str | None, read_reference]


@frozen_request
class AttentionView(View[Attention]):
    """Attention of any heads, queries and keys, computed from q and k; no other row is (docs/methods.md §5).

    layer: one, or None for all. head: one; several as a list; "mean" of all heads of a layer; None for each of them.
    queries, keys: positions, None is all, negatives count from the end. strength: how much a head takes from a key:
    the weights, or of what is moved. sinks: whether attention to the sinks of each layer is shown, hidden, or hidden
    with the rest renormalised. shown_sinks: positions that are shown although the rule finds them.
    """

    trace: TraceId
    layer: int | None = None
    head: Heads = None
    queries: Selection = None
    keys: Selection = None
    strength: AttentionDivision = AttentionDivision.WEIGHTS
    sinks: SinkHandling = SinkHandling.SHOW
    shown_sinks: Selection = ()


@frozen_request
class SparseAttentionView(View[SparseAttention]):
    """All rows of one head, or of the mean of several, by their larger keys; both directions can be read from it.

    layer: one, or "mean" over all of them. head: one; several, whose mean is taken; "mean" of all. least: of what sinks
    leave of a row, the share that a key has at least to be kept; of rows with less than a tenth left, of that tenth.
    mark_sinks: rows that show sinks tell what these have, and `without_sinks` of the record hides them; what is kept is
    then held against what sinks leave, as where they are hidden. Other options as in `AttentionView`.
    """

    trace: TraceId
    layer: LayerOrMean
    head: Heads = MEAN
    least: float = 0.01
    strength: AttentionDivision = AttentionDivision.WEIGHTS
    sinks: SinkHandling = SinkHandling.SHOW
    shown_sinks: Selection = ()
    mark_sinks: bool = False

    def __post_init__(self) -> None:
        check(self.head is not None, "head", f'a head, a list of them or "{MEAN}"', self.head)
        check(0 <= self.least <= 1, "least", "a number from 0 to 1", self.least)


@frozen_request
class HeadTargetsView(View[HeadTargets]):
    """What every head looks at on this text, by kinds of keys (docs/methods.md §7).

    shown_sinks: positions that count as other positions do although the rule for sinks finds them.
    """

    trace: TraceId
    shown_sinks: Selection = ()


@frozen_request
class HeadPatternsView(View[HeadPatterns]):
    """A small picture of every head's attention. size: fields along each side, 4 to 64, at most one a position."""

    trace: TraceId
    size: int = 24
    sinks: SinkHandling = SinkHandling.SHOW
    shown_sinks: Selection = ()

    def __post_init__(self) -> None:
        check_whole(self.size, "size", SMALLEST_PICTURE, LARGEST_PICTURE)


@frozen_request
class AttentionScoreView(View[AttentionScore]):
    """Why a head looks there: a score, split into parts of the stream at the query and at the key (methods §7).

    query, key: positions, negatives count from the end. against: what is taken off: the "mean" of the query's other
    keys, their mean "weighted" by attention, the score of the key at a position, or nothing (None). most_parts: parts
    at each end, 2 to 512; the largest are kept, and the others are one part.
    """

    trace: TraceId
    layer: int
    head: int
    query: int
    key: int
    against: Reference = MEAN
    most_parts: int = MOST_PARTS

    def __post_init__(self) -> None:
        check_whole(self.most_parts, "most_parts", 2, MOST_PARTS)


@frozen_request
class AttentionCutView(View[AttentionCut]):
    """The weight of a key without one part of the stream: predicted, measured, and with the part ablated for all.

    part: its name, as `AttentionScore` lists it. end: the side that it is taken from, the key's or the query's.
    """

    trace: TraceId
    layer: int
    head: int
    query: int
    key: int
    part: str
    end: ScoreEnd = ScoreEnd.KEY


@frozen_request
class HeadTypesRequest(View[HeadTypes]):
    """What every head of the model does on repeated random tokens, once a model (docs/methods.md §7).

    tokens: random tokens that are said twice in each text, 4 to 256, as many as the model's context holds twice. texts:
    how many texts, 1 to 64. seed: that draws them.
    """

    tokens: int = 48
    texts: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole(self.tokens, "tokens", 4, 256)
        check_whole(self.texts, "texts", 1, 64)
        check_whole(self.seed, "seed", 0)


@frozen_request
class HeadCompositionRequest(View[HeadComposition]):
    """How far one head can read what each head of the layers below writes, by their weights alone (methods §7)."""

    layer: int
    head: int


AttentionRequest = (
    AttentionView
    | SparseAttentionView
    | HeadTargetsView
    | HeadPatternsView
    | AttentionScoreView
    | AttentionCutView
    | HeadTypesRequest
    | HeadCompositionRequest
)
