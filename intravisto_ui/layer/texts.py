"""The neuron or the feature of a card over texts that are pasted, those where it is most active first."""

from __future__ import annotations

import streamlit as st

from intravisto_core.figures.numbers import significant
from intravisto_core.figures.shaded_texts import STYLE, shade_texts
from intravisto_core.records import LayerGraph
from intravisto_core.request import ActiveTextsRequest
from intravisto_core.request.layer import MOST_TEXTS
from intravisto_ui.layer import dictionaries
from intravisto_ui.parts import problems
from intravisto_ui.parts.choices import draw_segments
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html
from intravisto_ui.session.workspace import Workspace

KEY = "layer_texts"
RUN = f"{KEY}_run"
HELP = "Runs texts of your own, one a line, and shades the tokens where the neuron or feature of the card is active"


def draw(workspace: Workspace, shown: Shown, graph: LayerGraph, parts: dict[str, tuple[int, int]]) -> None:
    """A box that is closed at first; nothing is run until its button is pressed."""
    names = name_parts(workspace, graph, parts)
    if not names or not draw_kept(st.toggle, "Over other texts", key=f"{KEY}_open", default=False, help=HELP):
        return
    given = draw_kept(
        st.text_area,
        f"Texts, one a line, at most {MOST_TEXTS}",
        key=f"{KEY}_given",
        default="",
        height=120,
        placeholder="Paste sentences here",
    )
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key=f"{KEY}_line")
    with line.container(width="content", key=f"{KEY}_which"):
        which = draw_segments("Of", f"{KEY}_of", names, next(iter(names)))
    if draw_press(line.button, "Run them", key=f"{KEY}_go"):
        workspace.options[RUN] = tuple(text for text in (row.strip() for row in given.splitlines()) if text)
    ran = workspace.options.get(RUN)
    if ran is None:
        return
    with problems.guard():
        found = workspace.read_view(shown.engine, build_request(workspace, graph, parts, which, ran), KEY)
        titles = [significant(each.largest) for each in found.texts]
        st.html(
            f'<style>{STYLE}</style><div class="hint">{escape_html(found.part)}: its largest activation in each text, '
            f"position 0 aside; one scale for all</div>{shade_texts(found, titles)}"
        )


def name_parts(workspace: Workspace, graph: LayerGraph, parts: dict[str, tuple[int, int]]) -> dict[str, str]:
    """What can be looked at: the neuron and the feature of the cards."""
    names = {}
    if "neuron" in parts:
        index, expert = parts["neuron"]
        names["neuron"] = f"neuron {index}" if expert < 0 else f"expert {expert}, neuron {index}"
    feature = dictionaries.find_chosen(workspace, graph)
    if feature is not None:
        names["feature"] = f"feature {feature[1]}"
    return names


def build_request(
    workspace: Workspace, graph: LayerGraph, parts: dict[str, tuple[int, int]], which: str, texts: tuple[str, ...]
) -> ActiveTextsRequest:
    """What is asked for."""
    feature = dictionaries.find_chosen(workspace, graph)
    if which == "feature" and feature is not None:
        return ActiveTextsRequest(texts, graph.layer, feature=feature[1], dictionary=feature[0])
    index, expert = parts["neuron"]
    return ActiveTextsRequest(texts, graph.layer, index, None if expert < 0 else expert)
