"""A layer in words, and a page of several layers; nothing here brings Plotly or pandas."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from intravisto_core.figures.page import component_mount, inline_json, standalone_page
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.bundle import component_source
from intravisto_core.figures.web.layer_payload import layer_data
from intravisto_core.records import LayerGraph
from intravisto_core.sites import LayerPart, LayerWidth, RankPalette

QUESTION = "What did this layer write, and who wrote it?"
LINES = (
    "Pulls are bookkeeping: what a part adds to the target's logit directly, at the final norm's scale in this run. "
    "Sizes are lengths; parts write against each other, so sizes do not add up.",
    "Lists are by angle between what a part writes and each token's direction; ranks and pulls are by change of logit.",
)


def name_part_shortly(graph: LayerGraph, number: int) -> str:
    """As H4, N157, E2 N5, 1,526 others."""
    kind, index, expert = graph.part_kind[number], int(graph.part_index[number]), int(graph.part_expert[number])
    inside = f"E{expert} " if expert >= 0 and kind != LayerPart.EXPERT else ""
    names = {LayerPart.HEAD: f"H{index}", LayerPart.NEURON: f"{inside}N{index}", LayerPart.EXPERT: f"expert {expert}"}
    names |= {LayerPart.OTHERS: f"{inside}{int(graph.part_count[number]):,} others"}
    return names.get(LayerPart(kind), inside + LayerPart(kind).label)


def name_width(graph: LayerGraph, width: LayerWidth) -> str:
    """What a width is, in words."""
    target = printable(graph.target)
    names = {
        LayerWidth.PULL: f"pull on {target}, logits",
        LayerWidth.VERSUS: f"{target} against {printable(graph.contrast)}, logits",
    }
    return names.get(width, "size (length)")


def chain_page(graphs: Sequence[LayerGraph], palette: RankPalette = RankPalette.DIVERGING) -> str:
    """Several layers of one text, one below the other."""
    script, style = component_source("layer")
    scripts, places = [], []
    for number, graph in enumerate(graphs):
        place = f"layer{number}"
        scripts.append(component_mount(place, script, inline_json(layer_data(graph, palette=palette))))
        places.append(f'<h2>Layer {graph.layer}</h2><div id="{place}"></div>')
    first = graphs[0]
    about = f"{first.model} · position {first.position} ‘{first.tokens[first.position].shown}’"
    foot = "".join(f"<p>{escape(line)}</p>" for line in LINES)
    body = f'<p class="about">{escape(printable(about))}</p>\n{chr(10).join(places)}\n<footer>{foot}</footer>'
    return standalone_page("What did these layers write, and who wrote it?", style, body, scripts)
