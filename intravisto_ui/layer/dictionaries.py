"""Dictionaries on the page of a layer: adding one, letting go of one, and which feature is looked at."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.engine.dictionaries import Dictionaries
from intravisto_core.errors import IntravistoError
from intravisto_core.records import FeatureCard, LayerGraph
from intravisto_core.request import FeatureView
from intravisto_core.sites import FeaturePart
from intravisto_ui.parts import problems
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.session import settings
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, escape_markdown
from intravisto_ui.session.workspace import Workspace

KEY = "layer_dictionaries"
CHOSEN = "layer_feature"
ADDING = "layer_adding"
HELP = (
    "Features from a sparse autoencoder or transcoder that was trained on this model: SAELens, circuit-tracer, Gemma "
    "Scope. Its active features are listed under the picture."
)


def can_have(shown: Shown) -> bool:
    """Whether dictionaries can be added: the model is here, and strangers name no files of this machine."""
    return isinstance(shown.engine, Dictionaries) and not settings.read().public


def draw_menu(place: Any, workspace: Workspace, shown: Shown) -> None:
    """A menu with the dictionaries that there are, and a field to add one."""
    engine = shown.engine
    if not isinstance(engine, Dictionaries) or not can_have(shown):
        return
    held = engine.dictionaries
    label = f"Dictionaries ({len(held)})" if held else "Dictionaries"
    with place.popover(label, key=KEY, help=HELP):
        for card in held:
            line = st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"{KEY}_of_{card.name}")
            layers = f"layer {card.layers[0]}" if len(card.layers) == 1 else f"{len(card.layers)} layers"
            line.html(
                f'<div class="hint"><b>{escape_html(card.name)}</b>: {escape_html(card.writes)}, {layers}, '
                f"{card.n_features:,} features</div>"
            )
            if draw_press(line.button, "Remove", key=f"{KEY}_remove_{card.name}"):
                engine.remove_dictionary(card.name)
                _begin_anew(workspace)
        path = st.text_input(
            "Folder, or owner/name/folder on the Hub",
            key=f"{KEY}_path",
            placeholder="a folder with cfg.json, config.yaml or params.npz",
        )
        called = st.text_input(
            "Its name for this model",
            key=f"{KEY}_model",
            placeholder=shown.engine.model.name,
            help="Only where its config calls the same model otherwise. A dictionary of another model is refused.",
        )
        if draw_press(st.button, "Add", key=f"{KEY}_add") and path:
            _add(workspace, engine, path.strip(), called.strip() or None)
        failed = workspace.options.get(ADDING)
        if isinstance(failed, IntravistoError):
            problems.draw_inline(failed)


def _add(workspace: Workspace, engine: Dictionaries, path: str, called: str | None) -> None:
    bar = st.progress(0.0, "looking")

    def report(done: int, total: int, doing: str) -> None:
        bar.progress(min(1.0, done / total) if total else 0.0, escape_markdown(doing))

    workspace.options.pop(ADDING, None)
    try:
        engine.add_dictionary(path, model=called, report=report)
    except IntravistoError as error:
        workspace.options[ADDING] = error
        st.rerun()
    _begin_anew(workspace)


def _begin_anew(workspace: Workspace) -> None:
    """What was read with other dictionaries is read again."""
    workspace.kept.clear()
    st.rerun()


def choose(workspace: Workspace, graph: LayerGraph, dictionary: str, feature: int) -> None:
    """Choose a feature for this text, layer and position."""
    workspace.options[CHOSEN] = ((graph.trace, graph.layer, graph.position), dictionary, feature)


def find_chosen(workspace: Workspace, graph: LayerGraph) -> tuple[str, int] | None:
    """The feature that was chosen, else the one that pulls most on the target; None without dictionaries."""
    names = [each.dictionary for each in graph.dictionaries]
    kept = workspace.options.get(CHOSEN)
    if kept and kept[0] == (graph.trace, graph.layer, graph.position) and kept[1] in names:
        return kept[1], kept[2]
    for each in graph.dictionaries:
        rows = each.is_kind(FeaturePart.FEATURE).nonzero()[0]
        if len(rows):
            return each.dictionary, int(each.part_index[rows[int(each.part_pull[rows].argmax())]])
    return None


def read_card(workspace: Workspace, shown: Shown, graph: LayerGraph, **asked: Any) -> FeatureCard | None:
    """The card of the chosen feature."""
    chosen = find_chosen(workspace, graph)
    if chosen is None:
        return None
    view = FeatureView(shown.trace.id, graph.layer, chosen[1], chosen[0], **asked)
    return workspace.read_view(shown.engine, view, "layer-feature")
