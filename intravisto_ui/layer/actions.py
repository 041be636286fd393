"""What a click on the page of a layer leads to: another layer or part, an edit that runs at once, another page."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from intravisto_core.records import LayerGraph
from intravisto_core.request import Ablate, Intervention, Scale, Steer, TensorRef
from intravisto_core.sites import Site, SteerUnit
from intravisto_ui.layer import dictionaries
from intravisto_ui.parts import attention_start, claim_test, edit_run, layer_start
from intravisto_ui.session.selection import Report
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

GOING = "layer_going"
DOUBLE = 2.0


def take_step(workspace: Workspace, shown: Shown, graph: LayerGraph, act: Report) -> None:
    """A click on the picture: a head or neuron to be told of, another layer, another position."""
    if not act or act.get("rev") != shown.trace.id:
        return
    do = act.get("do")
    if do == "layer":
        layer_start.set_layer(workspace, shown, int(act["layer"]))
    elif do == "position":
        layer_start.set_layer(workspace, shown, graph.layer)
        workspace.select_cell(graph.layer + 1, int(act["position"]))
    elif do in ("head", "neuron"):
        place = (graph.trace, graph.layer, graph.position)
        layer_start.set_part(workspace, place, do, int(act["index"]), int(act["expert"]))
    elif do == "feature":
        dictionaries.choose(workspace, graph, str(act["dictionary"]), int(act["index"]))


def take_way(workspace: Workspace, shown: Shown, act: Report) -> None:
    """Keep a click on a card until the page is drawn again: only then another page can be gone to."""
    if act and act.get("rev") == shown.trace.id and act.get("do") in ("test", "ablate", "double", "steer", "open"):
        workspace.options[GOING] = dict(act)


def follow(workspace: Workspace, shown: Shown) -> None:
    """Go where the last click on a card leads."""
    act: dict[str, Any] | None = workspace.options.pop(GOING, None)
    if act is None:
        return
    layer, position, index = (int(act[name]) for name in ("layer", "position", "index"))
    if act["do"] == "open":
        attention_start.start_attention_at(workspace, layer, index, position)
        st.switch_page(attention_start.PAGE)
    if act.get("kind") == "feature":
        what: Intervention = write_feature_edit(shown, act, layer, position, index)
    else:
        what = write_edit(act, layer, position, index)
    if act["do"] == "test":
        claim_test.open_test_here(workspace, what)
        return
    edit_run.add_edit(workspace, what, run=True)


def write_feature_edit(shown: Shown, act: dict[str, Any], layer: int, position: int, feature: int) -> Steer:
    """What a button of a feature's card does: to what it writes at its position, or by its direction everywhere."""
    dictionary = str(act["dictionary"])
    if act["do"] != "steer":
        factor = DOUBLE if act["do"] == "double" else 0.0
        return shown.trace.feature_edit(layer, feature, dictionary, position, factor)
    card = shown.trace.feature(layer, feature, dictionary, position=position)
    along = TensorRef.of(card.vector, card.name)
    # position 0 has values of its own kind
    most = float(card.activation[1:].max(initial=0.0)) * float(np.linalg.norm(card.vector))
    if most <= 0:
        return Steer(card.site, layer, "all", direction=along, strength=1.0)
    return Steer(card.site, layer, "all", direction=along, strength=most, unit=SteerUnit.ABSOLUTE)


def write_edit(act: dict[str, Any], layer: int, position: int, index: int) -> Intervention:
    """What a button of a card does to its head or neuron at its position."""
    expert = int(act.get("expert", -1))
    double = act["do"] == "double"
    if act["kind"] == "head":
        if double:
            return Scale(Site.Z, layer, (position,), head=index, factor=DOUBLE)
        return Ablate(Site.Z, layer, (position,), head=index)
    neuron = index if expert < 0 else (expert, index)
    if double:
        return Scale(Site.ACT, layer, (position,), neuron=neuron, factor=DOUBLE)
    return Ablate(Site.ACT, layer, (position,), neuron=neuron)
