"""What pictures, pages and the command line say in words of a record: captions, starts, parts of the model."""

from __future__ import annotations

import numpy as np

from intravisto_core.figures.numbers import share, significant
from intravisto_core.records import Attribution, ContributionGraph, Flow, Route, row_label
from intravisto_core.sites import Part


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
        f"Mass 100 % enters at {article}{where} and is handed down to the parts of which each state is the sum. "
        f"At every height all of it is there: largest error measured {significant(flow.conservation)}.",
        f"{share(flow.drawn_in_rows)} of the flow in these rows is drawn{_left_out(flow)}.",
        f"Position 0 receives {share(flow.hidden)} of what attention hands on.",
        "A bookkeeping of sizes, not of causes: a wide band says that much was added there, not that the prediction "
        "depends on it.",
    ]
    return [*lines, *map(as_sentence, flow.notes)]


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
        f"{graph.n_edges:,} steps of at least {100 * graph.threshold:.3g} % are reached from the start{here}. "
        "Shares are of all that joins at a state with attention, in the joint L1 form.",
    ]
    return [*lines, *map(as_sentence, graph.notes)]


def route_caption(found: Route) -> list[str]:
    """What is conserved, what is lost to terminals, and what it is not."""
    lost = float(np.abs(found.lost).sum() / max(1, len(found.positions)))
    ends = f", and {share(lost)} on average that ends before" if lost > 1e-6 else ""
    return [
        f"Each line adds up to 100 % of one token's flow: what reaches the embeddings at each position{ends}. "
        f"Largest error measured {significant(found.conservation)}.",
        "Layers and heads are passed one after the other: their numbers do not add up to 100 %. Sizes, not causes.",
        *map(as_sentence, found.notes),
    ]


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
        return f"logit of {found.target} above the vocabulary mean"
    return f"logit of {found.target} less that of {found.contrast}"


def score_sums(found: Attribution) -> list[tuple[str, float]]:
    """How the parts add up to the model's own score."""
    rows = [
        ("sum of the bars", float(found.value.sum())),
        ("remainder", found.remainder),
        ("the model's own", found.logit),
    ]
    return rows + ([("after the soft-cap", found.capped)] if abs(found.capped - found.logit) > 1e-6 else [])
