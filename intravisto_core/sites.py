"""The closed sets that requests are made of, as string enums: a plain string is taken where an enum is."""

from __future__ import annotations

from enum import Enum
from typing import Self

from intravisto_core.errors import RequestError, expected


class Choice(str, Enum):
    """A string enum whose members carry the words that a page shows for them."""

    label: str
    help: str

    def __new__(cls, value: str, label: str = "", help: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.label = label or value
        member.help = help
        return member

    def __str__(self) -> str:
        return str(self.value)

    @classmethod
    def parse(cls, value: str, name: str = "") -> Self:
        """The member of that value.

        Raises:
            RequestError: no member has it; the message lists the right ones.
        """
        try:
            return cls(value)
        except ValueError:
            raise RequestError(expected(name or cls.__name__.lower(), list(cls), value)) from None


class Site(Choice):
    """Where an activation is (docs/methods.md §1). `pattern` and `head_out` are computed from others, never stored."""

    RESID_PRE = "resid_pre", "stream before the block"
    ATTN_OUT = "attn_out", "attention output"
    RESID_MID = "resid_mid", "stream after attention"
    MLP_OUT = "mlp_out", "MLP output"
    RESID_POST = "resid_post", "stream after the block"
    Q = "q", "queries"
    K = "k", "keys"
    V = "v", "values"
    Z = "z", "head values before W_O"
    ACT = "act", "MLP neurons"
    PATTERN = "pattern", "attention pattern"
    HEAD_OUT = "head_out", "what a head writes"

    @property
    def per_head(self) -> bool:
        """Whether the site is split by head (by kv head for `k` and `v`)."""
        return self in (Site.Q, Site.K, Site.V, Site.Z, Site.PATTERN, Site.HEAD_OUT)

    @property
    def edit_capability(self) -> Capability | None:
        """The identity that an edit there rests on; None where it needs none."""
        needed = {Site.Z: Capability.HEADS, Site.ACT: Capability.NEURONS, Site.PATTERN: Capability.PATTERN}
        return needed.get(self)

    @property
    def captured(self) -> tuple[Site, ...]:
        """The sites that must be captured for it: itself, unless it is computed from others."""
        return {Site.PATTERN: (Site.Q, Site.K), Site.HEAD_OUT: (Site.Z,)}.get(self, (self,))


class Component(Choice):
    """Which vector of a row a cell decodes (docs/methods.md §1)."""

    BLOCK = "block", "block output", "The stream as it leaves the block: everything written so far."
    MID = "mid", "after attention", "The stream after attention was added, before the MLP."
    ATTENTION = "attention", "attention", "What this block's attention added to the stream."
    MLP = "mlp", "MLP", "What this block's MLP added to the stream."


class Lens(Choice):
    """How a vector is turned into scores over the vocabulary (docs/methods.md §3)."""

    OUTPUT = "output", "output", "The model's own last step: final norm, then the unembedding table."
    INPUT = "input", "input", "Compared with the input embeddings: which token does it look like?"
    LINEAR = "linear", "linear", "From the input table at the bottom to the output table at the top, evenly."
    QUADRATIC = "quadratic", "quadratic", "Like linear, but staying near the input table for longer."
    MAX = (
        "max",
        "max probability",
        "Input or output table, whichever is surer at this cell. Favours the table with longer rows.",
    )


class NormPolicy(Choice):
    """What is done to a vector before the table (docs/methods.md §3)."""

    FINAL = "final", "final norm", "The model's final norm, as before its own prediction."
    NORM_ONLY = "norm_only", "norm only", "Normalised without the learned scale and shift."
    NONE = "none", "none", "The vector as it is."
    STREAM = (
        "stream",
        "stream scale",
        "For updates: the scale of the stream they are added to, so small updates stay small.",
    )


class Reading(Choice):
    """What a cell lists (docs/methods.md §4)."""

    TOP = "top", "top tokens", "The most probable tokens."
    ITERATIVE = (
        "iterative",
        "iterative subtraction",
        "The top token, then the top of what is left without it, …",
    )
    DIFFERENCE = "difference", "difference from the row below", "What changed since the row below."


class ShareMeasure(Choice):
    """How much a part counts in a sum (docs/methods.md §5)."""

    NORM = "norm", "norm", "Length of the part, over the lengths of all parts."
    KL = "kl", "KL", "How far the prediction moves when the part is left out."
    KL_PAIR = "kl_pair", "KL pair", "How near the part alone is to the sum. Blind to the part's size."
    PROJECTION = "projection", "projection", "Length of the part along the sum; signed, adds up to exactly 1."
    L1 = "l1", "L1 proximity", "How much nearer the sum comes with the part, in L1 distance."


class AttentionDivision(Choice):
    """How attention's part divides over source positions and heads (docs/methods.md §5)."""

    WEIGHTS = "weights", "weights", "The attention weights, averaged over the heads."
    VALUE_WEIGHTED = "value_weighted", "value-weighted", "Length of what is moved from each source, over all of them."
    PROJECTION = "projection", "projection", "What each source moves, along all that attention wrote; signed."


class NodeKind(Choice):
    """What a node of a flow stands for (docs/methods.md §6)."""

    BLOCK = "block", "block output"
    MID = "mid", "after attention"
    MLP = "mlp", "MLP"
    ATTENTION = "attention", "attention"
    SINK = "sink", "learned sink", "Attention that goes to no position: the model has a sink beside its keys."
    BIAS = "bias", "bias", "What attention's biases write, whatever the text."
    HIDDEN = "hidden", "hidden position 0", "Attention to position 0, which is left out here."
    UNDEFINED = "undefined", "undefined", "Parts that cancel out, so that no share can be told."
    INTERVENTION = "intervention", "intervention", "What an edit put into the stream."

    @property
    def terminal(self) -> bool:
        """Whether mass ends here: such a node is of a row, not of a position."""
        return self not in (NodeKind.BLOCK, NodeKind.MID, NodeKind.MLP, NodeKind.ATTENTION)


class LinkKind(Choice):
    """What a link of a flow stands for (docs/methods.md §6)."""

    RESIDUAL = "residual", "residual", "The stream, handed on as it is."
    ATTENTION = "attention", "attention", "Attention joins the stream, or reads a source position."
    MLP = "mlp", "MLP", "The MLP reads the stream, or joins it."
    NORM = "norm", "final norm", "From the last block to what the model reads out."
    SINK = "sink", "learned sink"
    BIAS = "bias", "bias"


class Part(Choice):
    """A part of the final stream (docs/methods.md §6, direct logit attribution)."""

    EMBEDDING = "embedding", "token embedding"
    POSITION = "position", "position embedding"
    ATTENTION = "attention", "attention"
    MLP = "mlp", "MLP"
    HEAD = "head", "head"
    ATTENTION_BIAS = "attention_bias", "attention bias"
    NEURON = "neuron", "neuron"
    OTHER_NEURONS = "other_neurons", "other neurons"
    MLP_BIAS = "mlp_bias", "MLP bias"
    NORM_BIAS = "norm_bias", "final norm's bias"
    UNEMBED_BIAS = "unembed_bias", "unembedding's bias"


class Refinement(Choice):
    """How finely a partition of the final stream is cut (docs/methods.md §6)."""

    COMPONENTS = "components", "components"
    HEADS = "heads", "heads", "Attention by heads and bias."
    NEURONS = "neurons", "neurons", "Attention by heads and bias, MLPs by neurons and bias."


class Colour(Choice):
    """What colours a cell of the heatmap."""

    P_MAX = "p_max", "top probability", "Probability of the cell's top token."
    ENTROPY = "entropy", "entropy", "How undecided the cell is, in nats: 0 is certain."
    ATTENTION = "attention", "attention contribution", "Share of attention where it joins the stream."
    MLP = "mlp", "MLP contribution", "Share of the MLP where it joins the stream."
    LOGIT = "logit", "change of logit", "How far the top token's score is raised by this update."
    RANK = "rank", "rank of a token", "Place of the watched token among all tokens: 1 is the top."
    PROBABILITY = "probability", "probability of a token", "Probability of the watched token."
    KL_FINAL = "kl_final", "KL from final", "How far the cell is from the model's own prediction there; 0 is the same."
    KL_BELOW = "kl_below", "KL from row below", "How far the prediction moved since the row below, in nats."
    NEXT = "next", "real next token", "Log-probability of the token that the text really goes on with; 0 is certain."
    CORRECT = "correct", "correctness", "Whether the cell's top token is the one that the text really goes on with."
    STREAM_NORM = "stream_norm", "length of the stream", "Length (norm) of the stream's vector at this row."
    COSINE = "cosine", "cosine with row below", "Does the stream point where it did a row below? 1 is the same."


class Ablation(Choice):
    """What takes the place of what is ablated (docs/methods.md §8)."""

    ZERO = "zero", "zero", "Nothing."
    MEAN = "mean", "mean", "The mean over this text, or over a set of prompts."
    RESAMPLE = "resample", "resampled", "The value of another text at the same position."


class EditKind(Choice):
    """What an intervention is to the eye: how the cells that it acts on are outlined."""

    INJECTED = "injected", "injected"
    ABLATED = "ablated", "ablated"
    SCALED = "scaled", "scaled"


class SteerUnit(Choice):
    """What a steering strength of 1 is."""

    STREAM = "stream", "length of the stream", "1 is the median length of what is steered, over positions from 1."
    ABSOLUTE = "absolute", "absolute", "1 is a vector of length 1."


class TextMode(Choice):
    """Which text an edited run reads (docs/methods.md §8)."""

    HELD = "held", "held", "The baseline's own tokens: every position can be compared."
    FREE = "free", "free", "The model goes on by itself: cells are compared as long as the texts are the same."


class Patching(Choice):
    """Which way a patch goes (docs/methods.md §8)."""

    DENOISE = "denoise", "denoise", "The corrupt text is run with values of the clean one: what brings the answer back?"
    NOISE = "noise", "noise", "The clean text is run with values of the corrupt one: what takes the answer away?"


class BlockKind(Choice):
    """Whether attention and MLP act one after the other or both on the block's input."""

    SERIAL = "serial", "serial"
    PARALLEL = "parallel", "parallel"


class Capability(Choice):
    """An identity of docs/methods.md §2; a view whose identity fails is refused."""

    RESIDUAL = "residual", "stream adds up"
    LOGITS = "logits", "final stream gives the logits"
    TRACED = "traced", "traced run equals the plain model"
    CAUSAL = "causal", "no position sees a later one"
    PATTERN = "pattern", "pattern times values gives the heads"
    HEADS = "heads", "heads add up to attention"
    NEURONS = "neurons", "neurons add up to the MLP"

    @property
    def essential(self) -> bool:
        """Whether a model that fails it is refused altogether."""
        return self in (Capability.RESIDUAL, Capability.LOGITS, Capability.TRACED, Capability.CAUSAL)


class TokenKind(Choice):
    """What sort of token an id is."""

    WORD = "word", "text", "A piece of text."
    SPECIAL = "special", "special token", "A mark for the model, as the start of a text or a change of role; no text."
    BYTES = "bytes", "bytes", "Bytes: a part of a character that is split over several tokens, or a rare character."
    UNKNOWN = "unknown", "unknown token", "Stands for text that the vocabulary cannot write; what it was is lost."
    UNUSED = "unused", "unused id", "A row of the model's table that no text leads to."


class JobState(Choice):
    """Where a job stands."""

    QUEUED = "queued", "waiting"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
