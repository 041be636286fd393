"""More layers of the same place, one under the other; a click on one of them goes to that layer."""

from __future__ import annotations

from functools import partial

import streamlit as st

from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.web.layer_payload import layer_data
from intravisto_core.records import LayerGraph
from intravisto_core.request.ranges import index
from intravisto_ui.layer import actions, options
from intravisto_ui.parts import components, layer_start, problems
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.session.question import Question
from intravisto_ui.session.selection import Report
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

KEY = "layer_chain"
MOST = 6
HELP = "The same picture of other layers, one under the other. A click on a row there goes to that layer."


def draw(workspace: Workspace, shown: Shown, question: Question, chosen: options.Options) -> None:
    """A field for their numbers, and their pictures."""
    typed = draw_kept(
        st.text_input, "More layers below", key=KEY, default="", width=260, placeholder="as 2, 4", help=HELP
    )
    if not typed:
        return
    with problems.guard():
        for layer in read_layers(typed, shown.engine.model.n_layers):
            view = options.build_view(shown, question, layer, chosen)
            graph = workspace.read_view(shown.engine, view, f"{KEY}-{layer}")
            data = layer_data(graph, links=True, rev=shown.trace.id, palette=chosen.palette)
            st.html(f'<div class="cap">Layer {layer}</div>')
            components.draw_layer(
                data,
                key=f"{KEY}_of_{layer}",
                on_act=partial(take_step, workspace, shown, graph),
            )


def read_layers(typed: str, n_layers: int) -> list[int]:
    """Numbers of layers in a typed text, each once; negatives count from the last.

    Raises:
        RequestError: it has something else, a layer that there is not, or too many.
    """
    try:
        numbers = [int(part) for part in typed.replace(",", " ").split()]
    except ValueError:
        raise RequestError(expected("layers", "numbers of layers, as 2, 4", typed)) from None
    if len(numbers) > MOST:
        raise RequestError(expected("layers", f"at most {MOST}", len(numbers)))
    return list(dict.fromkeys(index(number, n_layers, "layer") for number in numbers))


def take_step(workspace: Workspace, shown: Shown, graph: LayerGraph, act: Report) -> None:
    """A click on a row makes its layer the one that the page is about."""
    if act and act.get("rev") == shown.trace.id and act.get("do") in ("head", "neuron", "feature"):
        layer_start.set_layer(workspace, shown, graph.layer)
    actions.take_step(workspace, shown, graph, act)
