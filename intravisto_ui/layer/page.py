"""The page of a layer: the picture, under it the cards of one head and one neuron, then the finder of neurons."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.errors import RequestError
from intravisto_core.figures.web.layer_payload import cards_data, layer_data
from intravisto_core.records import LayerGraph
from intravisto_core.request import HeadView, NeuronView
from intravisto_core.sites import LayerPart
from intravisto_ui.layer import actions, chain, dictionaries, finder, options, texts, ways
from intravisto_ui.parts import components, edit_python, export_menu, problems
from intravisto_ui.parts.frame import Headline, describe_place, draw_strip
from intravisto_ui.session.question import Question, find_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

QUESTION = "What did this layer write, and who wrote it?"


def draw_body(workspace: Workspace, shown: Shown, headline: Headline) -> None:
    """Everything under the frame."""
    draw_strip(workspace, shown)
    actions.follow(workspace, shown)
    question = find_question(workspace, shown)
    chosen = options.draw_options(workspace, shown, question)
    ranks = options.read_ranks(workspace, shown, question)
    layer = options.choose_layer(workspace, shown, ranks)
    # not the selected row: the page is of the layer that was chosen on it
    line = headline.draw(describe_place(shown, f"layer {layer}", question.position))
    view = options.build_view(shown, question, layer, chosen)
    lines = [
        *edit_python.write_shown_run(workspace, shown),
        f"layer = trace.layer({layer}, {export_menu.write_arguments(view, 'layer')})",
        "print(layer.parts)",
        'layer.save("layer.html")',
    ]
    export_menu.draw_menu(line, shown, workspace.id, view, "layer", lines)
    graph = workspace.read_view(shown.engine, view, options.SLOT)
    parts = options.choose_parts(workspace, graph)
    data = layer_data(graph, ranks, links=True, rev=shown.trace.id, palette=chosen.palette)
    data |= _name_chosen(workspace, graph)
    with st.container(key="layer_picture"):
        components.draw_layer(
            data, key="layer_picture_of", on_act=lambda act: actions.take_step(workspace, shown, graph, act)
        )
    with problems.guard():
        _draw_cards(workspace, shown, question, graph, parts, chosen)
    ways.draw(workspace, graph, parts)
    finder.draw(workspace, shown, graph, question)
    texts.draw(workspace, shown, graph, parts)
    chain.draw(workspace, shown, question, chosen)


def _name_chosen(workspace: Workspace, graph: LayerGraph) -> dict[str, Any]:
    """The rows that are marked at first: those that the cards are of when the layer is opened."""
    names = {kind: f"{kind}.{expert}.{index}" for kind, (index, expert) in options.find_strongest(graph).items()}
    feature = dictionaries.find_chosen(workspace, graph)
    return names if feature is None else names | {"feature": f"feature.{feature[0]}.{feature[1]}"}


def _draw_cards(
    workspace: Workspace,
    shown: Shown,
    question: Question,
    graph: LayerGraph,
    parts: dict[str, tuple[int, int]],
    chosen: options.Options,
) -> None:
    head = neuron = None
    asked: dict[str, Any] = {
        "position": graph.position,
        "target": question.target.typed,
        "contrast": question.rival.typed,
        "order": chosen.order,
    }
    sources = chosen.sources
    if str(LayerPart.HEAD) in parts:
        view = HeadView(shown.trace.id, graph.layer, parts["head"][0], sources=sources, **asked)
        head = workspace.read_view(shown.engine, view, "layer-head")
    if str(LayerPart.NEURON) in parts:
        index, expert = parts["neuron"]
        own = NeuronView(shown.trace.id, graph.layer, index, None if expert < 0 else expert, **asked)
        try:
            neuron = workspace.read_view(shown.engine, own, "layer-neuron")
        except RequestError as error:  # its expert was chosen elsewhere
            problems.draw_inline(error)
    feature = dictionaries.read_card(workspace, shown, graph, **asked)
    with st.container(key="layer_cards"):
        components.draw_layer_cards(
            cards_data(head, neuron, feature, links=True, rev=shown.trace.id, palette=chosen.palette),
            key="layer_cards_of",
            on_act=lambda act: actions.take_way(workspace, shown, act),
        )
