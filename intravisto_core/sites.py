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
        except Exception:  # also of an object that cannot be hashed
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
    def is_update(self) -> bool:
        """Whether it is what a part adds to the stream, and no state of it."""
        return self in (Site.ATTN_OUT, Site.MLP_OUT)

    @property
    def edit_capability(self) -> Capability | None:
        """The identity that an edit there rests on; None where it needs none."""
        if self in (Site.Q, Site.K, Site.V, Site.PATTERN):
            return Capability.PATTERN
        return {Site.Z: Capability.HEADS, Site.ACT: Capability.NEURONS}.get(self)

    @property
    def captured(self) -> tuple[Site, ...]:
        """The sites that must be captured for it: itself, unless it is computed from others."""
        return {Site.PATTERN: (Site.Q, Site.K), Site.HEAD_OUT: (Site.Z,)}.get(self, (self,))


class ModuleSide(Choice):
    """Which side of a module is meant."""

    OUTPUT = "output", "output", "What the module returned."
    INPUT = "input", "input", "The module's first input."


class DataKind(Choice):
    """How a tensor reaches what uses it, in the traced flow of a module (docs/methods.md §12)."""

    MAIN = "main", "main", "By position, or as the first keyword: what the call is about."
    SIDE = "side", "supply", "By a further keyword, as rotary tables and masks are, or without being handed over."
    PARAMETER = "parameter", "parameter", "A parameter that the code uses outside of the module that holds it."


class ModuleStatistic(Choice):
    """What is measured of a tensor at a module's side (docs/methods.md §12)."""

    SUMMARY = "summary", "statistics", "Mean, spread, least and largest value, zeros, values that are no numbers."
    SIZE = "size", "size by position", "Euclidean length of the last dimension, for each position."
    HISTOGRAM = "histogram", "histogram", "How many values fall into each of 40 equal bins."
    MATRIX = "matrix", "picture", "Two dimensions as a picture; one may be spread side by side, the rest is averaged."
    TOKENS = "tokens", "top tokens", "Which tokens the last 64 positions read as, through final norm and unembedding."
    ATTENTION = "attention", "attention", "How much each query looks at each key, head by head, of the first 128."


class Component(Choice):
    """Which vector of a row a cell decodes (docs/methods.md §1)."""

    BLOCK = "block", "block output", "The stream as it leaves the block: everything written so far."
    MID = "mid", "after attention", "The stream after attention was added, before the MLP."
    ATTENTION = "attention", "attention", "What this block's attention added to the stream."
    MLP = "mlp", "MLP", "What this block's MLP added to the stream."


class Lens(Choice):
    """How a vector is turned into scores over the vocabulary (docs/methods.md §3)."""

    OUTPUT = "output", "output", "The model's own last step: final norm, then the output table (unembedding)."
    INPUT = "input", "input", "Compared with the input embeddings: which token does it look like?"
    LINEAR = "linear", "linear", "From the input table at the bottom to the output table at the top, evenly."
    QUADRATIC = "quadratic", "quadratic", "Like linear, but staying near the input table for longer."
    MAX = (
        "max",
        "max probability",
        "Input or output table, whichever is surer at this cell. Favours the table with longer rows.",
    )


class TokenVector(Choice):
    """Which vector stands for a token where it takes the place of another one (docs/methods.md §8)."""

    WHITENED = (
        "whitened",
        "whitened",
        "The vector that reads back as the token: its row, corrected for what all tokens' rows have in common.",
    )
    OUTPUT = (
        "output",
        "output table",
        "Its row of the output table, as it stands. It often reads back as another token.",
    )
    LINEAR = "linear", "linear mix", "A mix of both tables: the input table at the bottom, the output table at the top."
    QUADRATIC = "quadratic", "quadratic mix", "Like linear, but staying near the input table for longer."
    INPUT = "input", "input table", "Its row of the input table: what the model reads for it at the bottom."

    @property
    def table(self) -> Lens | None:
        """The lens whose table the row is taken from; None of a whitened one, which may be made for any."""
        return None if self is TokenVector.WHITENED else Lens(str(self))


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


class TokenOrder(Choice):
    """How the tokens that an update raised or lowered are put in order (docs/methods.md §3)."""

    LOGIT = "logit", "change of logit", "By product: tokens with long rows in the table come first."
    ANGLE = "angle", "angle", "By the cosine with the token's direction: how long its row is does not count."


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


class SinkHandling(Choice):
    """What becomes of attention to sinks: positions that heads attend to when they have nothing to do (methods §5)."""

    SHOW = "show", "show", "Sinks are positions like others."
    HIDE = "hide", "hide", "What attention gives to sinks is set aside; all else stays as it is."
    RENORMALISE = (
        "renormalise",
        "hide, renormalise",
        "What is left of a query's attention is scaled up to make up for the sinks. Where little is left, this shows "
        "noise in full width.",
    )


class HeadTarget(Choice):
    """What a head looks at; the first that fits counts (docs/methods.md §7)."""

    SINK = "sink", "sink", "A position, or a learned score, that takes attention which has nothing to do."
    ITSELF = "itself", "itself", "The query's own position."
    AFTER_SAME = "after_same", "after same token", "The token that came after an earlier copy of the query's own token."
    SAME = "same", "same token", "An earlier copy of the query's own token."
    PREVIOUS = "previous", "previous", "The position before."
    LAST_8 = "last_8", "last 8", "Two to eight positions back."
    FARTHER = "farther", "farther", "More than eight positions back."


class ScoreEnd(Choice):
    """The two ends of an attention score."""

    QUERY = "query", "query", "The position that looks."
    KEY = "key", "key", "The position that is looked at."


class NodeKind(Choice):
    """What a node of a flow stands for (docs/methods.md §6)."""

    BLOCK = "block", "block output"
    MID = "mid", "after attention"
    MLP = "mlp", "MLP"
    ATTENTION = "attention", "attention"
    SINK = "sink", "learned sink", "Attention that goes to no position: the model has a sink beside its keys."
    BIAS = "bias", "bias", "What attention's biases write, whatever the text."
    HIDDEN = "hidden", "attention sinks, set aside", "Attention to sinks, which are set aside here."
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


class Lane(Choice):
    """Which of a block's two writers is meant (docs/methods.md §7)."""

    ATTENTION = "attention", "attention"
    MLP = "mlp", "MLP"


class LayerPart(Choice):
    """A part of what one layer writes (docs/methods.md §7)."""

    HEAD = "head", "head"
    NEURON = "neuron", "neuron"
    EXPERT = "expert", "expert"
    ATTENTION_BIAS = "attention_bias", "attention bias"
    MLP_BIAS = "mlp_bias", "MLP bias"
    OTHERS = "others", "others", "All that have no row of their own, added up."
    INTERVENTION = "intervention", "intervention", "What an edit put in place of what the layer writes."


class LayerWidth(Choice):
    """What is drawn as a width inside a layer (docs/methods.md §7)."""

    SIZE = "size", "size", "The length of what a part writes. Parts write against each other: sizes do not add up."
    PULL = "pull", "pull", "What a part adds to the target's logit, above the mean over the vocabulary. Pulls add up."
    VERSUS = "versus", "against", "What a part adds to the target's logit, less the contrast's. It adds up too."


class FeatureActivation(Choice):
    """How a dictionary decides which features are active (docs/methods.md §7)."""

    RELU = "relu", "ReLU", "Every feature whose input is above 0."
    JUMPRELU = "jumprelu", "JumpReLU", "Every feature whose input is above a threshold of its own."
    TOPK = "topk", "TopK", "The k features with the largest inputs."
    GATED = "gated", "gated", "Every feature that a gate of its own lets through."


class InputScaling(Choice):
    """What a dictionary does to its input first (docs/methods.md §7)."""

    NONE = "none", "none", "Nothing."
    LENGTH = "length", "length", "It is brought to a length of √d."
    LAYER_NORM = "layer_norm", "layer norm", "Its mean is taken away, and it is divided by its spread."


class FeaturePart(Choice):
    """A part of what a dictionary makes of a vector (docs/methods.md §7)."""

    FEATURE = "feature", "feature"
    OTHERS = "others", "others", "All active features that have no row of their own, added up."
    BIAS = "bias", "bias", "What the dictionary writes whatever is active."
    SKIP = "skip", "skip", "What it writes straight from its input, past all features."
    ERROR = "error", "reconstruction error", "What the dictionary leaves out: the vector less all of the above."


class RankPalette(Choice):
    """What the rank of the target is coloured by, inside a layer."""

    DIVERGING = "diverging", "blue to orange", "Blue near the first, orange near the last, pale between."
    VIRIDIS = "viridis", "viridis", "Yellow near the first, dark violet near the last; even to every eye."
    CIVIDIS = "cividis", "cividis", "Yellow near the first, dark blue near the last; made for colour-blind eyes."


class NeuronRanking(Choice):
    """How neurons are put in order (docs/methods.md §7)."""

    SIZE = "size", "size", "Length of what the neuron writes at the position."
    PULL = "pull", "pull", "What it adds to the target's logit at the position."
    ATTRIBUTION = (
        "attribution",
        "attribution over the text",
        "What it adds to the logit of the token that really comes next, a mean over all positions of the text.",
    )


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
    KL_FINAL = (
        "kl_final",
        "KL from final",
        "How far the cell is from the model's own prediction there, in nats; 0 is the same.",
    )
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


class ExplainTest(Choice):
    """What a test of an explanation takes away (docs/methods.md §6)."""

    HEAD = "head", "head", "What one head writes at the position."
    MLP = "mlp", "MLP", "What one MLP writes at the position."
    WORD = "word", "word", "A word, hidden from the position in all layers."


class SaliencyMethod(Choice):
    """How the saliency of a token is measured (docs/methods.md §11)."""

    GRADIENT_INPUT = "gradient_input", "gradient × input", "The slope of the metric at the token's embedding, times it."
    INTEGRATED_GRADIENTS = (
        "integrated_gradients",
        "integrated gradients",
        "The mean slope on the way from a reference to the text, times the way: the scores add up to the whole change.",
    )
    OCCLUSION = "occlusion", "occlusion", "How much lower the metric is with other tokens in the token's place."


class SaliencyReference(Choice):
    """Where integrated gradients begin (docs/methods.md §11)."""

    MEAN = "mean", "mean embedding", "Every token's embedding is the mean over the vocabulary."
    ZERO = "zero", "zero", "Every token's embedding is 0."


class TextMode(Choice):
    """Which text an edited run reads (docs/methods.md §8)."""

    HELD = "held", "held", "The baseline's own tokens: every position can be compared."
    FREE = "free", "free", "The model goes on by itself: cells are compared as long as the texts are the same."


class Effect(Choice):
    """Which way a claim says that an edit moves the metric (docs/methods.md §9)."""

    LOWERS = "lowers", "lowers"
    RAISES = "raises", "raises"

    @property
    def sign(self) -> int:
        """1 where it raises, −1 where it lowers."""
        return 1 if self is Effect.RAISES else -1


class ControlKind(Choice):
    """What an edit is held against (docs/methods.md §9)."""

    POSITION = "position", "another place", "The same edit at other positions of the text."
    PART = "part", "another head or neuron", "The same edit at another head, or another neuron, of the layer."
    DIRECTION = "direction", "a random direction", "A random vector as long as the change that the edit makes."
    PROMPT = "prompt", "the prompt shuffled", "The same edit in the prompt with its tokens in a random order."


class Ranking(Choice):
    """How the parts of a circuit are ranked (docs/methods.md §9)."""

    EAP_IG = "eap_ig", "EAP-IG", "Edge attribution along the way from the corrupt prompt's words to the clean one's."
    ATTRIBUTION = (
        "attribution",
        "attribution patching",
        "The slope at the clean prompt's run, times the change of each part.",
    )
    ACTIVATION = (
        "activation",
        "activation patching",
        "The clean prompt is run again with each part from the corrupt one.",
    )
    RANDOM = "random", "random", "By chance: what any other ranking is to beat."


class Verdict(Choice):
    """What a test of a claim came to (docs/methods.md §9)."""

    SUPPORTED = "supported", "supported"
    NOT_DISTINGUISHABLE = "not distinguishable from controls", "not distinguishable from controls"
    ANECDOTE = "n = 1: an anecdote", "n = 1: an anecdote"


class Patching(Choice):
    """Which way a patch goes (docs/methods.md §8)."""

    DENOISE = "denoise", "denoise", "The corrupt text is run with values of the clean one: what brings the answer back?"
    NOISE = "noise", "noise", "The clean text is run with values of the corrupt one: what takes the answer away?"


class PatchMetric(Choice):
    """What is measured of a run in a patching grid (docs/methods.md §8)."""

    LOGIT_DIFF = "logit_diff", "logit difference", "Logit of the target less that of the contrast."
    PROBABILITY = "probability", "probability", "Probability of the target."
    KL = "kl", "KL from clean", "How far the prediction is from that of the clean run, in nats; 0 is the same."


class Alignment(Choice):
    """Which token of one prompt stands for which of another (docs/methods.md §8)."""

    SAME_LENGTH = "same_length", "one for one", "Both prompts have as many tokens, and each stands for its like."
    ENDS = "ends", "by both ends", "As far as both begin with the same tokens, and as far as both end with the same."


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
