"""What pictures, pages and the command line say in words of a record: captions, starts, parts of the model."""

from __future__ import annotations

import numpy as np

from intravisto_core.figures.numbers import PER_CENT, share, significant
from intravisto_core.records import Attribution, ContributionGraph, Flow, Route, row_label
from intravisto_core.sites import AttentionDivision, Part, ShareMeasure, SinkHandling

HIDDEN = 2  # of `lost`: what attention to sinks takes
RENORMALISED = (
    "Attention sinks are set aside, and what is left of each row of attention is scaled up to make up for them. Where "
    "little is left, that is noise in full width."
)


def start_in_words(row: int, starts: np.ndarray, n_layers: int) -> str:
    """`final norm at position 11`, `final norm at 10 positions`."""
    where = f"position {int(starts[0])}" if len(starts) == 1 else f"{len(starts)} positions"
    return f"{row_label(row, n_layers)} at {where}"


def start_words(row: int, starts: np.ndarray, n_layers: int) -> str:
    """Where a flow begins, in words."""
    if len(starts) > 1:
        return f"{len(starts)} positions that say generated tokens, {row_label(row, n_layers)}"
    return f"position {starts[0]}, {row_label(row, n_layers)}"


def as_sentence(note: str) -> str:
    """A record's note as a sentence."""
    return note[:1].upper() + note[1:] + ("" if note.endswith(".") else ".")


def flow_caption(flow: Flow) -> list[str]:
    """What is conserved to what error, how much is drawn, and what the picture is not."""
    where = start_in_words(flow.row, flow.starts, flow.n_layers)
    article = "the " if flow.row > flow.n_layers else ""
    lines = [
        f"{share(1)} of the mass starts at {article}{where}. Each state hands what it has down to the parts that it is "
        f"the sum of, so that at every row all of it is still there; the largest error measured is "
        f"{significant(flow.conservation)}.",
        f"{share(flow.drawn_in_rows)} of the flow in these rows is drawn{_left_out(flow)}.",
        _flow_sinks(flow),
        "Bands are a bookkeeping of sizes, not of causes: a wide band says that much was added there, not that the "
        f"prediction depends on it. {_compared_with_edits(flow)}Check with an edit.",
    ]
    return [*lines, *map(as_sentence, flow.notes)]


def _flow_sinks(flow: Flow) -> str:
    """What becomes of attention to sinks in a flow."""
    if flow.sinks is SinkHandling.HIDE:
        ends = float(flow.lost[HIDDEN])
        return f"Attention sinks are set aside: {share(ends)} of the mass ends there. Other shares are as they were."
    if flow.sinks is SinkHandling.RENORMALISE:
        return RENORMALISED
    if not flow.hidden:
        return "No attention sink was measured on the way of this flow."
    return f"Attention sinks receive {share(flow.hidden)} of what attention hands on."


def _compared_with_edits(flow: Flow) -> str:
    """What is known of this way to share a flow out: it was compared with edits (docs/methods.md §6)."""
    if (flow.measure, flow.attention) != (ShareMeasure.L1, AttentionDivision.VALUE_WEIGHTED):
        return ""
    return (
        "On 50 prompts of a model with 135 million parameters, the order of the words agreed with what swapping a word "
        "changes at a rank correlation of .4. The rule “later words matter more” agreed at .5. Among the words between "
        "the first and the last, the widest one was the one that matters most in about half of the prompts. "
    )


def sinks_in_words(handling: SinkHandling) -> str:
    """What a picture does with attention to sinks, to be put behind a title; "" where they are shown."""
    words = {
        SinkHandling.HIDE: "attention sinks set aside",
        SinkHandling.RENORMALISE: "attention sinks set aside, the rest scaled up",
    }
    return words.get(handling, "")


_CUTS = {"attention": "attention links left out", "mass": "links below the least mass", "count": "beyond what is drawn"}


def _left_out(flow: Flow) -> str:
    listed = [f"{text} {share(flow.cut[name])}" for name, text in _CUTS.items() if flow.cut.get(name, 0.0) > 1e-6]
    rows = flow.cut.get("rows", 0.0)
    outside = f"{share(rows)} of all lies in other rows" if rows > 1e-6 else ""
    parts = "; ".join([*listed, outside] if outside else listed)
    return f" (of all: {parts})" if parts else ""


def graph_caption(graph: ContributionGraph) -> list[str]:
    """What the lines are, how many there are, and what they are not."""
    drawn = len(graph.edge_share)
    here = "" if drawn == graph.n_edges else f"; {drawn:,} of them lie in these rows"
    lines = [
        f"{graph.n_edges:,} steps of at least {100 * graph.threshold:.3g}{PER_CENT} are reached from the start{here}. "
        f"A share is a step's part of all that joins at its state, by L1 distance; the parts of a state share "
        f"{share(1)}.",
        *_aside(graph.sinks, "Steps from attention sinks are left out; the other shares are as they were."),
    ]
    return [*lines, *map(as_sentence, graph.notes)]


def route_caption(found: Route) -> list[str]:
    """What is conserved, what is lost to terminals, and what it is not."""
    lost = float(np.abs(found.lost).sum() / max(1, len(found.positions)))
    ends = f", and {share(lost)} on average that ends before" if lost > 1e-6 else ""
    return [
        f"Each line adds up to {share(1)} of one token's flow: what reaches the embeddings at each position{ends}. "
        f"Largest error measured {significant(found.conservation)}.",
        f"Layers and heads are passed one after the other: their numbers do not add up to {share(1)}. Sizes, not "
        "causes.",
        *_beside_the_mean(found),
        *_aside(found.sinks, "Attention to sinks is set aside; it counts as what ends before."),
        *map(as_sentence, found.notes),
    ]


def _beside_the_mean(found: Route) -> list[str]:
    if len(found.positions) < 2:
        return []
    return [
        "What all lines have in common stands in the first line. Each line lists the layers and heads whose share "
        "differs most from that mean, with the difference in percentage points."
    ]


def _aside(handling: SinkHandling, hidden: str) -> list[str]:
    return {SinkHandling.HIDE: [hidden], SinkHandling.RENORMALISE: [RENORMALISED]}.get(handling, [])


def part_name(kind: str, layer: int, index: int, expert: int) -> str:
    """A part in words: `layer 3, head 2`."""
    part = Part(kind)
    if layer < 0:
        return part.label
    name = {Part.HEAD: f"head {index}", Part.NEURON: f"neuron {index}", Part.OTHER_NEURONS: f"{index:,} other neurons"}
    whose = "" if expert < 0 else f", expert {expert}"
    return f"layer {layer}{whose}, {name.get(part, part.label)}"


def part_names(found: Attribution) -> list[str]:
    """All parts in words, in the order of the record."""
    columns = (found.kind, found.layer, found.index, found.expert)
    return [part_name(*values) for values in zip(*(c.tolist() for c in columns), strict=True)]


def score_in_words(found: Attribution) -> str:
    """What is attributed, in words."""
    if found.contrast_id < 0:
        return f"score of {found.target} above the mean of all tokens (logits)"
    return f"lead of {found.target} over {found.contrast} (logits)"


def score_sums(found: Attribution) -> list[tuple[str, float]]:
    """How the parts add up to the model's own score."""
    rows = [
        ("sum of all parts", float(found.value.sum())),
        ("remainder", found.remainder),
        ("the model's own", found.logit),
    ]
    return rows + ([("after the soft-cap", found.capped)] if abs(found.capped - found.logit) > 1e-6 else [])
