"""One head, one neuron, and lists of neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, Summarised, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import NeuronRanking, TokenOrder


@dataclass(frozen=True, repr=False)
class TokenList(Summarised):
    """k tokens, the strongest first, and where they stand in the stream before and after a part joined it."""

    ids: Int[Array, " k"]
    """Token ids."""
    changes: Float[Array, " k"]
    """How far their logits are changed, at the scale of the stream."""
    before: Int[Array, " k"]
    """Rank in the stream without it; 0 where it is a direction that joins no stream."""
    after: Int[Array, " k"]
    """Rank in the stream with it; 0 likewise."""
    texts: tuple[str, ...]
    """The tokens as shown."""

    def __len__(self) -> int:
        return len(self.ids)

    def _summary(self) -> tuple[str, ...]:
        return self.texts[:5]


@dataclass(frozen=True, repr=False)
class HeadCard(Record):
    """One head at one position (docs/methods.md §7). T positions; J sources are told in words, k tokens each."""

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    d_vocab: int
    """V, how many tokens the model can say."""
    layer: int
    """The layer, from 0."""
    head: int
    """The head, from 0."""
    kv_head: int
    """The kv head whose keys and values it reads."""
    position: int
    """The position that it writes to."""
    target_id: int
    """Token id of the target."""
    target: str
    """The target as shown."""
    contrast: str
    """The contrast as shown."""
    order: TokenOrder
    """How the tokens of the lists are put in order."""
    size: float
    """Length of what it writes."""
    pull: float
    """What that adds to the target's logit, above the mean over the vocabulary."""
    versus: float
    """The same, less the contrast's."""
    rank: int
    """Rank of the target by the change of logit that it writes."""
    kl: float
    """KL(stream ‖ stream without it), nats."""
    entropy_change: float
    """Entropy of what the stream says with it, less without it, nats; negative: it sharpens."""
    weights: Float[Array, " T"]
    """Attention weight of each position; 0 of those that it cannot see."""
    scores: Float[Array, " T"]
    """The score that the weight comes from, before the softmax; NaN of positions that it cannot see."""
    value_sizes: Float[Array, " T"]
    """Length of what it would bring from each position at weight 1."""
    sizes: Float[Array, " T"]
    """Length of what it brings from each: weight × size of the value."""
    pulls: Float[Array, " T"]
    """What that adds to the target's logit; sums to `pull` unless an edit wrote the head."""
    pulls_versus: Float[Array, " T"]
    """The same, less the contrast's."""
    sink_weight: float
    """Attention weight of its learned sink, which brings nothing; 0 without one."""
    edited: bool
    """Whether an edit wrote what stands in place of what the head reads."""
    source_position: Int[Array, " J"]
    """The positions of which most is brought, the largest |pull| or size first."""
    source_rank: Int[Array, " J"]
    """Rank of the target in what the value there would write."""
    source_ids: Int[Array, "J k"]
    """What the value there would write."""
    key_ids: Int[Array, "J k"]
    """What the key there answers to; −1 where it is not known."""
    query_ids: Int[Array, " k"]
    """What the query looks for at its largest source; −1 where it is not known."""
    value_ids: Int[Array, "J k"]
    """What in the stream there makes the value; −1 where it is not known."""
    row_index: Int[Array, " R"]
    """The numbers of the head's z that write most, the largest first: rows of its part of W_O."""
    row_value: Float[Array, " R"]
    """Each of them, as the run had it."""
    row_size: Float[Array, " R"]
    """Length of what it writes."""
    row_pull: Float[Array, " R"]
    """What that adds to the target's logit."""
    row_ids: Int[Array, "R k"]
    """The tokens that it writes."""
    promoted: TokenList
    """What the head writes."""
    suppressed: TokenList
    """What it pushes down."""
    shown: Mapping[int, str]
    """Each listed token id as text."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        shape = (len(self.tokens),)
        names = ("weights", "scores", "value_sizes", "sizes", "pulls", "pulls_versus")
        check_shapes(self, **{name: (getattr(self, name), shape) for name in names})

    def _summary(self) -> tuple[str, ...]:
        return (f"layer {self.layer}", f"head {self.head}", f"position {self.position}", self.model)


@dataclass(frozen=True, repr=False)
class NeuronCard(Record):
    """One neuron over the text, and at one position (docs/methods.md §7). F parts of the stream that fire it."""

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    d_vocab: int
    """V, how many tokens the model can say."""
    layer: int
    """The layer, from 0."""
    neuron: int
    """The neuron, from 0."""
    expert: int
    """Its expert; −1 where there is none."""
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
    """Its activation at each position; NaN where its expert was not chosen."""
    gate: Float[Array, " T"] | None
    """Input of its gate, before the activation function; None in an MLP without one, or where it is not known."""
    up: Float[Array, " T"] | None
    """What the gate is multiplied with; without a gate the input of the neuron; None where it is not known."""
    weight: float
    """What the router multiplies its expert by at the position; NaN without experts."""
    size: float
    """Length of what it writes."""
    place: int
    """Its place among the neurons of the layer by size; 1 is the largest."""
    n_neurons: int
    """How many neurons wrote here."""
    pull: float
    """What that adds to the target's logit, above the mean over the vocabulary."""
    versus: float
    """The same, less the contrast's."""
    rank: int
    """Rank of the target by the change of logit that it writes."""
    kl: float
    """KL(stream ‖ stream without it), nats."""
    entropy_change: float
    """Entropy of what the stream says with it, less without it, nats; negative: it sharpens."""
    fired_kind: Array
    """What each part of the stream is: text: "embedding", "attention", "mlp", "head", "bias", "norm", "rest"."""
    fired_layer: Int[Array, " F"]
    """Its layer; −1 where it is of none."""
    fired_index: Int[Array, " F"]
    """Its head; −1 where it is none."""
    fired_gate: Float[Array, " F"]
    """What it gives to the input of the gate; sums to `gate` there. NaN without a gate."""
    fired_up: Float[Array, " F"]
    """What it gives to the input of the up row."""
    promoted: TokenList
    """What the neuron writes here: its row of the output matrix with the sign of its activation."""
    suppressed: TokenList
    """What it pushes down."""
    gate_reads: TokenList
    """Tokens along the gate's row, or without a gate along the input row; empty where it is not known."""
    gate_against: TokenList
    """Tokens against it."""
    up_reads: TokenList
    """Tokens along the up row; empty without a gate."""
    up_against: TokenList
    """Tokens against it."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        check_shapes(self, activation=(self.activation, (len(self.tokens),)))
        names = ("fired_layer", "fired_index", "fired_gate", "fired_up")
        check_shapes(self, **{name: (getattr(self, name), self.fired_kind.shape) for name in names})

    def _summary(self) -> tuple[str, ...]:
        expert = f"expert {self.expert}" if self.expert >= 0 else ""
        return (f"layer {self.layer}", expert, f"neuron {self.neuron}", self.model)


@dataclass(frozen=True, repr=False)
class Neurons(Record):
    """The largest neurons of a layer or of all layers, N of them, by some measure (docs/methods.md §7)."""

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    position: int
    """The position that is looked at."""
    target: str
    """The target as shown."""
    contrast: str
    """The contrast as shown."""
    rank_by: NeuronRanking
    """The measure that puts them in order."""
    promotes: str
    """The token that they were sought by, as shown; "" where they were not."""
    layer: Int[Array, " N"]
    """Layer of each."""
    expert: Int[Array, " N"]
    """Its expert; −1 without experts."""
    neuron: Int[Array, " N"]
    """The neuron."""
    activation: Float[Array, " N"]
    """Its activation at the position; NaN where its expert was not chosen."""
    size: Float[Array, " N"]
    """Length of what it writes there."""
    pull: Float[Array, " N"]
    """What that adds to the target's logit, above the mean over the vocabulary."""
    versus: Float[Array, " N"]
    """The same, less the contrast's."""
    attribution: Float[Array, " N"]
    """Mean over the text of what it adds to the token that comes next; NaN where it was not asked for."""
    cosine: Float[Array, " N"]
    """Cosine of its row of the output matrix with the token that was sought; NaN where none was."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        names = ("expert", "neuron", "activation", "size", "pull", "versus", "attribution", "cosine")
        check_shapes(self, **{name: (getattr(self, name), self.layer.shape) for name in names})

    def __len__(self) -> int:
        return len(self.layer)

    def _summary(self) -> tuple[str, ...]:
        return (f"{len(self)} neurons", f"by {self.promotes or self.rank_by}", self.model)
