"""How what joins the stream, and what attention moves, is divided over where it came from (docs/methods.md §5, §6)."""

from __future__ import annotations

from intravisto_core.sites.choice import Choice


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
