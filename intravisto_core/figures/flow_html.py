"""A flow as a standalone page: its own script, nothing from the network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import Any

from intravisto_core.figures.numbers import share, significant
from intravisto_core.figures.page import component_mount, inline_json, standalone_page
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.bundle import component_source
from intravisto_core.figures.web.flow_graph_payload import graph_payload
from intravisto_core.figures.web.flow_payload import FlowDress, LinkMark, flow_payload, start_in_words, title
from intravisto_core.records.flow import Flow
from intravisto_core.records.graph import ContributionGraph

QUESTION = "Where does this prediction come from?"
GRAPH_QUESTION = "Which contributions are large?"


def flow_html(flow: Flow, heading: str = QUESTION, marks: Sequence[LinkMark] = (), **dress: Any) -> str:
    """The interactive flow as a page; `dress`: the fields of `FlowDress`."""
    payload = flow_payload(flow, FlowDress(**dress), marks, rev=flow.trace)
    tokens = [{"t": printable(t.shown), "special": t.is_special, "p": t.position} for t in flow.tokens]
    strip = {
        "tokens": tokens,
        "prompt": flow.prompt_length,
        "rev": flow.trace,
        "top": flow.row,
        "sel": None,
        "label": any(not t.is_prompt for t in flow.tokens),
    }
    about = f"{flow.model} · {title(flow)} · shares by {flow.measure.label}, attention by {flow.attention.label}"
    return component_page(heading, about, [("strip", strip), ("flow", payload)], caption(flow))


def component_page(
    heading: str, about: str, parts: Sequence[tuple[str, bytes | dict[str, Any]]], lines: Sequence[str]
) -> str:
    """A page of components, one below the other, each with its data; `lines` are the sentences under them."""
    scripts, styles, places = [], [], []
    for name, data in parts:
        script, style = component_source(name)
        given = inline_json(data) if isinstance(data, dict) else _bytes_of(data)
        scripts.append(component_mount(name, script, given))
        styles.append(style)
        places.append(f'<div id="{name}"></div>')
    body = (
        f'<p class="about">{escape(printable(about))}</p>\n{chr(10).join(places)}\n'
        f"<footer>{''.join(f'<p>{escape(printable(s))}</p>' for s in lines)}</footer>"
    )
    return standalone_page(heading, "\n".join(styles), body, scripts)


def _bytes_of(payload: bytes) -> str:
    return f'Uint8Array.from(atob("{b64encode(payload).decode()}"), (c) => c.charCodeAt(0))'


def caption(flow: Flow) -> list[str]:
    """What is conserved to what error, how much is drawn, and what the picture is not."""
    where = start_in_words(flow.row, flow.starts, flow.n_layers)
    article = "the " if flow.row > flow.n_layers else ""
    lines = [
        f"Mass 100 % enters at {article}{where} and is handed down to the parts of which each state is the sum. "
        f"At every height all of it is there: largest error measured {significant(flow.conservation)}.",
        f"{share(flow.drawn_in_rows)} of the flow in these rows is drawn{_cuts(flow)}.",
        f"Position 0 receives {share(flow.hidden)} of what attention hands on.",
        "A bookkeeping of sizes, not of causes: a wide band says that much was added there, not that the prediction "
        "depends on it.",
    ]
    return [*lines, *map(sentence, flow.notes)]


CUTS = {"attention": "attention links left out", "mass": "links below the least mass", "count": "beyond what is drawn"}


def _cuts(flow: Flow) -> str:
    listed = [f"{text} {share(flow.cut[name])}" for name, text in CUTS.items() if flow.cut.get(name, 0.0) > 1e-6]
    rows = flow.cut.get("rows", 0.0)
    outside = f"{share(rows)} of all lies in other rows" if rows > 1e-6 else ""
    told = "; ".join([*listed, outside] if outside else listed)
    return f" (of all: {told})" if told else ""


def graph_caption(graph: ContributionGraph) -> list[str]:
    """What the lines are, how many there are, and what they are not."""
    drawn = len(graph.edge_share)
    here = "" if drawn == graph.n_edges else f"; {drawn:,} of them lie in these rows"
    lines = [
        f"{graph.n_edges:,} steps of at least {100 * graph.threshold:.3g} % are reached from the start{here}. "
        "Shares are of all that joins at a state with attention, in the joint L1 form.",
    ]
    return [*lines, *map(sentence, graph.notes)]


def graph_html(graph: ContributionGraph, scale: float = 1.0, heading: str = GRAPH_QUESTION) -> str:
    """The interactive contribution-threshold graph as a page."""
    about = f"{graph.model} · from {start_in_words(graph.row, graph.starts, graph.n_layers)}"
    payload = graph_payload(graph, scale, rev=graph.trace)
    return component_page(heading, about, [("flow_graph", payload)], graph_caption(graph))


def sentence(note: str) -> str:
    """A record's note as a sentence."""
    return note[:1].upper() + note[1:] + ("" if note.endswith(".") else ".")
