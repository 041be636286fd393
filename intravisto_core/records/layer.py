"""The inside of one layer at one position: states, parts, sources, and the graph that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, check_shapes, find_figures
from intravisto_core.records.dictionary import LayerFeatures
from intravisto_core.records.model import Token
from intravisto_core.sites import BlockKind, LayerPart, LayerWidth, TokenOrder

if TYPE_CHECKING:
    import pandas as pd

OTHER_SOURCES = -1
LEARNED_SINK = -2
EDITED_SOURCE = -3
ROUNDING = -4
SOURCE_NAMES = {
    OTHER_SOURCES: "other positions",
    LEARNED_SINK: "learned sink",
    EDITED_SOURCE: "intervention",
    ROUNDING: "rounding",
}


@dataclass(frozen=True, repr=False)
class LayerGraph(Record):
    """What one layer wrote at one position, and who wrote it (docs/methods.md §7).

    S states of the stream; P parts; J sources of the D heads that have rows; k tokens a list. Pulls and what is against
    the contrast (`versus`) are logits and add up, sizes do not. In a mixture of experts the neurons, biases and others
    of an expert lie inside the part of that expert: see `inside`.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    n_layers: int
    """L, how many layers the model has."""
    d_vocab: int
    """V, how many tokens the model can say."""
    prompt_length: int
    """Tokens of the prompt, BOS included."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    layer: int
    """The layer, from 0."""
    position: int
    """The position in the text."""
    block: BlockKind
    """Whether attention and MLP act one after the other, or both on the block's input."""
    target_id: int
    """Token id of the target."""
    contrast_id: int
    """Token id of the contrast."""
    target: str
    """The target as shown."""
    contrast: str
    """The contrast as shown."""
    width: LayerWidth
    """The measure by which rows were chosen and ordered."""
    order: TokenOrder
    """How the tokens of the lists are put in order."""
    state_name: Array
    """What each state of the stream is: text, "resid_pre", "resid_mid" (serial blocks), "resid_post"."""
    state_size: Float[Array, " S"]
    """Its length."""
    state_entropy: Float[Array, " S"]
    """Entropy of what it says under the output lens and the final norm, nats."""
    state_rank: Int[Array, " S"]
    """Rank of the target there, 1 is the top."""
    state_probability: Float[Array, " S"]
    """Its probability there."""
    state_pull: Float[Array, " S"]
    """What the state adds to the target's logit, at the final norm's frozen scale."""
    state_versus: Float[Array, " S"]
    """The same, less the contrast's."""
    state_ids: Int[Array, "S k"]
    """Its most probable tokens."""
    state_top: Float[Array, "S k"]
    """Their probabilities."""
    part_kind: Array
    """What each part is: text, a LayerPart."""
    part_lane: Array
    """Who wrote it: text, a Lane."""
    part_index: Int[Array, " P"]
    """Its head or neuron; −1 for none."""
    part_expert: Int[Array, " P"]
    """Its expert; −1 where there is none."""
    part_count: Int[Array, " P"]
    """How many heads or neurons it stands for; of an expert all of its neurons."""
    part_size: Float[Array, " P"]
    """Length of what it writes."""
    part_pull: Float[Array, " P"]
    """What it adds to the target's logit, above the mean over the vocabulary."""
    part_versus: Float[Array, " P"]
    """What it adds to the target's logit, less the contrast's."""
    part_rank: Int[Array, " P"]
    """Rank of the target among all tokens by the change of logit that it writes."""
    part_act: Float[Array, " P"]
    """Activation, of a neuron; else NaN."""
    part_weight: Float[Array, " P"]
    """What the router multiplies an expert by; else NaN."""
    part_kl: Float[Array, " P"]
    """KL(stream ‖ stream without it) after it joined, nats."""
    part_entropy: Float[Array, " P"]
    """Entropy of what the stream says with it, less without it, nats; negative: it sharpens."""
    part_ids: Int[Array, "P k"]
    """The tokens that it writes, strongest first."""
    part_changes: Float[Array, "P k"]
    """How far it changes their logits, at the scale of the stream."""
    part_low_ids: Int[Array, "P k2"]
    """The tokens that it pushes down, strongest first."""
    part_fired_ids: Int[Array, "P k3"]
    """The tokens that the gate of a neuron reads; −1 where it has none or where they are not known."""
    lane_size: Float[Array, " lanes"]
    """Length of all that attention and the MLP write."""
    lane_pull: Float[Array, " lanes"]
    """What it adds to the target's logit; the sum over the parts of the lane."""
    lane_versus: Float[Array, " lanes"]
    """The same, less the contrast's."""
    lane_rank: Int[Array, " lanes"]
    """Rank of the target in all that the lane writes."""
    lane_kl: Float[Array, " lanes"]
    """KL(stream ‖ stream without the lane), nats."""
    lane_entropy: Float[Array, " lanes"]
    """Entropy with the lane, less without it, nats."""
    lane_ids: Int[Array, "lanes k"]
    """The tokens that the lane writes."""
    lane_sizes: Float[Array, " lanes"]
    """Σ of the sizes of all single heads, and of all single neurons."""
    lane_count: Int[Array, " lanes"]
    """How many heads there are, and how many neurons wrote here."""
    lane_half: Int[Array, " lanes"]
    """How many of them, the largest, have half of Σ sizes."""
    rounding: Float[Array, "lanes 2"]
    """(lane, pull and versus) what rounding adds where a lane joins the stream."""
    source_position: Int[Array, " J"]
    """Positions that heads read; −1: all others, −2: a learned sink, −3: what an edit put in, −4: rounding."""
    source_weight: Float[Array, "D J"]
    """Attention weight of each head with a row, in the order of the parts."""
    source_size: Float[Array, "D J"]
    """Length of what it brings from there."""
    source_pull: Float[Array, "D J"]
    """What that adds to the target's logit; sums over J to the head's pull."""
    source_versus: Float[Array, "D J"]
    """The same, less the contrast's."""
    n_sources: int
    """How many sources of a head are told in words."""
    shown: Mapping[int, str]
    """Each listed token id as text."""
    dictionaries: tuple[LayerFeatures, ...] = ()
    """What each dictionary that was added makes of its place here, by its name."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        self._check(self.state_size.shape, "state", "name entropy rank probability pull versus")
        per_part = "kind lane index expert count pull versus rank act weight kl entropy"
        self._check(self.part_size.shape, "part", per_part)
        self._check((2,), "lane", "size pull versus rank kl entropy sizes count half")
        self._check((len(self.heads), len(self.source_position)), "source", "weight size pull versus")

    def _check(self, shape: tuple[int, ...], what: str, names: str) -> None:
        check_shapes(self, **{f"{what}_{name}": (getattr(self, f"{what}_{name}"), shape) for name in names.split()})

    def _summary(self) -> tuple[str, ...]:
        return (
            f"layer {self.layer}",
            f"position {self.position}",
            f"{self.target} against {self.contrast}",
            self.model,
        )

    @property
    def parallel(self) -> bool:
        """Whether attention and MLP both act on the block's input."""
        return self.block is BlockKind.PARALLEL

    @property
    def heads(self) -> tuple[int, ...]:
        """The heads that have a row, in the order of the rows."""
        return tuple(self.part_index[self.part_kind == LayerPart.HEAD].tolist())

    @property
    def inside(self) -> Array:
        """(P,) true for parts that lie inside an expert's; the others of a lane add up to the lane."""
        return (self.part_expert >= 0) & (self.part_kind != LayerPart.EXPERT)

    def value(self, width: LayerWidth | None = None) -> Float[Array, " P"]:
        """Size, pull or versus of each part; None is the measure that the rows were chosen by."""
        found: Array = getattr(self, f"part_{width or self.width}")
        return found

    @property
    def states(self) -> pd.DataFrame:
        """One line a state of the stream."""
        return self._table("states")

    @property
    def parts(self) -> pd.DataFrame:
        """One line a part: kind, lane, index, expert, size, pull, versus, rank and more."""
        return self._table("parts")

    @property
    def sources(self) -> pd.DataFrame:
        """One line a head and position that it reads: head, position, weight, size, pull, versus."""
        return self._table("sources")

    @property
    def nodes(self) -> pd.DataFrame:
        """The nodes of the graph: id, kind, size, pull, versus."""
        return self._table("nodes")

    @property
    def edges(self) -> pd.DataFrame:
        """Its edges: source, target (ids of nodes), kind, size, pull, versus; those that only read have pull 0."""
        return self._table("edges")

    @property
    def features(self) -> pd.DataFrame:
        """One line a part of what dictionaries make of their places: dictionary, kind, index, act, size, pull and more.

        It divides what lanes and states are in another way, and is no part of `nodes` and `edges`.
        """
        return self._table("features")

    def _table(self, name: str) -> pd.DataFrame:
        table: pd.DataFrame = getattr(find_figures("layer_tables"), f"table_{name}")(self)
        return table
