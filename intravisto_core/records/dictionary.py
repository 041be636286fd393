"""Features from dictionaries: what a dictionary is, what it makes of one place, and one feature over the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, Summarised, check_shapes
from intravisto_core.records.layer_cards import TokenList
from intravisto_core.records.model import Token
from intravisto_core.sites import FeatureActivation, FeaturePart, Site, TokenOrder


@dataclass(frozen=True, repr=False)
class DictionaryCard(Record):
    """A sparse autoencoder or transcoder that was added to an engine (docs/methods.md §7)."""

    name: str
    """How requests call it."""
    source: str
    """Where it came from."""
    kind: str
    """The program whose files these are."""
    model: str
    """The model that it was trained on, as its config calls it."""
    layers: tuple[int, ...]
    """The layers that it has features of."""
    reads: str
    """What its features are made of, in words."""
    writes: str
    """What it makes again from them, in words."""
    site: Site
    """Where what a feature writes is in the stream, or joins it."""
    activation: FeatureActivation
    """How it decides which features are active."""
    n_features: int
    """How many features a layer has."""
    transcoder: bool
    """Whether it writes another place than it reads."""

    def _summary(self) -> tuple[str, ...]:
        return (self.name, f"{self.n_features:,} features", self.writes, f"{len(self.layers)} layers", self.model)


@dataclass(frozen=True, repr=False)
class LayerFeatures(Summarised):
    """What one dictionary makes of one place at one layer: P parts that add up to it, k tokens a list."""

    dictionary: str
    """The dictionary's name."""
    site: Site
    """Where what the parts write is in the stream, or joins it."""
    place: str
    """The place in words."""
    n_features: int
    """How many features it has."""
    n_active: int
    """How many of them are active here."""
    size: float
    """Length of what is made again."""
    pull: float
    """What that adds to the target's logit, above the mean over the vocabulary; the sum over all parts."""
    versus: float
    """The same, less the contrast's."""
    error: float
    """Length of the reconstruction error, over the length of what is made again."""
    part_kind: Array
    """What each part is: text, a FeaturePart."""
    part_index: Int[Array, " P"]
    """Its feature; −1 for none."""
    part_count: Int[Array, " P"]
    """How many features it stands for."""
    part_act: Float[Array, " P"]
    """Activation, of a feature; else NaN."""
    part_size: Float[Array, " P"]
    """Length of what it writes."""
    part_pull: Float[Array, " P"]
    """What it adds to the target's logit, above the mean over the vocabulary."""
    part_versus: Float[Array, " P"]
    """What it adds to the target's logit, less the contrast's."""
    part_rank: Int[Array, " P"]
    """Rank of the target among all tokens by the change of logit that it writes."""
    part_kl: Float[Array, " P"]
    """KL(stream ‖ stream without it), nats."""
    part_entropy: Float[Array, " P"]
    """Entropy of what the stream says with it, less without it, nats; negative: it sharpens."""
    part_ids: Int[Array, "P k"]
    """The tokens that it writes, strongest first."""
    part_low_ids: Int[Array, "P k2"]
    """The tokens that it pushes down, strongest first."""

    def __len__(self) -> int:
        return len(self.part_kind)

    def _summary(self) -> tuple[str, ...]:
        return (self.dictionary, self.place, f"{self.n_active:,} of {self.n_features:,} features active")

    def value(self, width: str) -> Float[Array, " P"]:
        """Size, pull or versus of each part."""
        found: Array = getattr(self, f"part_{width}")
        return found

    def is_kind(self, kind: FeaturePart) -> Array:
        """(P,) which parts are of a kind."""
        found: Array = self.part_kind == kind
        return found


@dataclass(frozen=True, repr=False)
class FeatureCard(Record):
    """One feature of a dictionary over the text, and at one position (docs/methods.md §7). T positions.

    It can be given where an intervention takes a direction: `Steer(card.site, card.layer, "all", direction=card)`.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    d_vocab: int
    """V, how many tokens the model can say."""
    dictionary: str
    """The dictionary's name."""
    layer: int
    """The layer, from 0."""
    feature: int
    """The feature, from 0."""
    n_features: int
    """How many features the dictionary has."""
    site: Site
    """Where what it writes is in the stream, or joins it."""
    position: int
    """The position that is looked at."""
    target_id: int
    """Token id of the target."""
    target: str
    """The target as shown."""
    contrast: str
    """The contrast as shown."""
    order: TokenOrder
    """How the tokens of the lists are put in order."""
    activation: Float[Array, " T"]
    """Its activation at each position."""
    vector: Float[Array, " d"]
    """What it writes to the stream at activation 1, at the position's scales; not of length 1."""
    size: float
    """Length of what it writes at the position; 0 where it is not active."""
    place: int
    """Its place among the active features by size; 1 is the largest, 0 where it is not active."""
    n_active: int
    """How many features are active at the position."""
    pull: float
    """What that adds to the target's logit, above the mean over the vocabulary."""
    versus: float
    """The same, less the contrast's."""
    rank: int
    """Rank of the target by the change of logit that its vector writes."""
    kl: float
    """KL(stream ‖ stream without it), nats."""
    entropy_change: float
    """Entropy of what the stream says with it, less without it, nats; negative: it sharpens."""
    promoted: TokenList
    """What the feature writes when it is active; ranks in the stream before and after."""
    suppressed: TokenList
    """What it pushes down."""
    shown: Mapping[int, str]
    """Each listed token id as text."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        check_shapes(self, activation=(self.activation, (len(self.tokens),)))

    @property
    def name(self) -> str:
        """Which feature it is, in words."""
        return f"feature {self.feature} of {self.dictionary}"

    @property
    def strength(self) -> float:
        """What it writes at the position along `vector`'s direction; its size, with the sign of the activation."""
        return float(self.activation[self.position]) * float((self.vector.astype(float) ** 2).sum() ** 0.5)

    def _summary(self) -> tuple[str, ...]:
        return (f"layer {self.layer}", f"feature {self.feature}", self.dictionary, self.model)
