"""What can be asked about the inside of one layer (docs/methods.md §7)."""

from __future__ import annotations

from typing import Annotated

from intravisto_core.records import ActiveTexts, FeatureCard, HeadCard, LayerGraph, NeuronCard, Neurons
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import TokenChoice, TraceId, check, check_whole, read_texts
from intravisto_core.sites import LayerWidth, NeuronRanking, TokenOrder

ALL_HEADS = 12
"""So many heads all have a row; of more the largest `MOST_HEADS` have one."""
MOST_HEADS = 10
MOST_ROWS = 200
MOST_TEXTS = 200


@frozen_request
class LayerView(View[LayerGraph]):
    """What one layer wrote at one position, and which heads and neurons wrote it.

    layer: negatives count from the last. position: negatives count from the end of the text. target: a text (its first
    token counts) or a token id; None is what the position says. contrast: None is the runner-up. width: the measure by
    which rows are chosen and ordered, the largest |value| first. heads: how many have a row of their own; None is all
    up to 12, of more the 10 largest. neurons: likewise. sources: how many source positions of a head are told in words.
    order: how the tokens of a list are put in order. features: how many features of each dictionary that was added
    have a row; 0 leaves them out.
    """

    trace: TraceId
    layer: int
    position: int = -1
    target: TokenChoice = None
    contrast: TokenChoice = None
    width: LayerWidth = LayerWidth.SIZE
    heads: int | None = None
    neurons: int = 10
    sources: int = 3
    order: TokenOrder = TokenOrder.ANGLE
    features: int = 10

    def __post_init__(self) -> None:
        check_whole(self.heads, "heads", 0, MOST_ROWS)
        check_whole(self.neurons, "neurons", 0, MOST_ROWS)
        check_whole(self.sources, "sources", 1, MOST_ROWS)
        check_whole(self.features, "features", 0, MOST_ROWS)


@frozen_request
class HeadView(View[HeadCard]):
    """One head at one position: what it reads, what it looks for, what it writes. Options as in LayerView.

    n: how many tokens are listed each way.
    """

    trace: TraceId
    layer: int
    head: int
    position: int = -1
    target: TokenChoice = None
    contrast: TokenChoice = None
    sources: int = 5
    n: int = 15
    order: TokenOrder = TokenOrder.ANGLE

    def __post_init__(self) -> None:
        check_whole(self.sources, "sources", 1, MOST_ROWS)
        check_whole(self.n, "n", 1, MOST_ROWS)


@frozen_request
class NeuronView(View[NeuronCard]):
    """One neuron over the text, and at one position what fires it and what it writes. Options as in LayerView.

    expert: of a mixture of experts, where the neuron is. n: how many tokens are listed each way.
    """

    trace: TraceId
    layer: int
    neuron: int
    expert: int | None = None
    position: int = -1
    target: TokenChoice = None
    contrast: TokenChoice = None
    n: int = 15
    order: TokenOrder = TokenOrder.ANGLE

    def __post_init__(self) -> None:
        check_whole(self.neuron, "neuron", 0)
        check_whole(self.expert, "expert", 0)
        check_whole(self.n, "n", 1, MOST_ROWS)


@frozen_request
class FeatureView(View[FeatureCard]):
    """One feature of a dictionary over the text, and at one position what it writes. Options as in LayerView.

    dictionary: its name; None is the only one that has features of the layer. n: how many tokens are listed each way.
    """

    trace: TraceId
    layer: int
    feature: int
    dictionary: str | None = None
    position: int = -1
    target: TokenChoice = None
    contrast: TokenChoice = None
    n: int = 15
    order: TokenOrder = TokenOrder.ANGLE

    def __post_init__(self) -> None:
        check_whole(self.feature, "feature", 0)
        check_whole(self.n, "n", 1, MOST_ROWS)


@frozen_request
class NeuronsView(View[Neurons]):
    """The largest neurons of one layer, or of all.

    layer: None is all layers. rank_by: the measure, largest |value| first. k: how many. promotes: instead rank by how
    far a neuron, where it is active, raises this token: the cosine of what it writes with the token's direction.
    """

    trace: TraceId
    layer: int | None
    position: int = -1
    rank_by: NeuronRanking = NeuronRanking.SIZE
    k: int = 20
    target: TokenChoice = None
    contrast: TokenChoice = None
    promotes: TokenChoice = None

    def __post_init__(self) -> None:
        check_whole(self.k, "k", 1, 10_000)


@frozen_request
class ActiveTextsRequest(View[ActiveTexts]):
    """One neuron, or one feature of a dictionary, over several texts.

    texts: up to 200, each run by itself. expert: of a mixture of experts, where the neuron is. dictionary: as in
    FeatureView.
    """

    texts: Annotated[tuple[str, ...], read_texts]
    layer: int
    neuron: int | None = None
    expert: int | None = None
    feature: int | None = None
    dictionary: str | None = None

    def __post_init__(self) -> None:
        check(0 < len(self.texts) <= MOST_TEXTS, "texts", f"1 to {MOST_TEXTS} texts", f"{len(self.texts):,} texts")
        for name in ("neuron", "expert", "feature"):
            check_whole(getattr(self, name), name, 0)
        one = (self.neuron is None) != (self.feature is None)
        check(one, "neuron, feature", "one of both", (self.neuron, self.feature))
        check(self.neuron is not None or self.expert is None, "expert", "None without a neuron", self.expert)


LayerRequest = LayerView | HeadView | NeuronView | NeuronsView | FeatureView
