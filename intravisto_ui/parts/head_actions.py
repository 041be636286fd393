"""From a head to what can be done with it: the one place that lists the ways on."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.request import Ablate, KnockOut
from intravisto_core.sites import Site
from intravisto_ui.parts import attention_start, claim_test, edit_run, layer_start
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace


def draw(
    line: DeltaGenerator, workspace: Workspace, shown: Shown, layer: int, head: int, position: int, source: int | None
) -> None:
    """Buttons for one head at one position. source: the position that it looks at most, None for none."""
    if draw_press(
        line.button,
        "Attention",
        key="head_attention",
        help="Where this head looks, from here and from everywhere, and why.",
    ):
        attention_start.start_attention_at(workspace, layer, head, position, source)
        st.switch_page(attention_start.PAGE)
    if draw_press(
        line.button,
        "Layer",
        key="head_layer",
        help="What all heads and neurons of this layer wrote here.",
    ):
        layer_start.start_layer_at(workspace, shown, layer, position, head)
        st.switch_page(layer_start.PAGE)
    if draw_press(
        line.button,
        "Ablate and run",
        key="head_ablate",
        help="Run the prompt again without what this head brings to this position, and see what follows.",
    ):
        edit_run.add_edit(workspace, Ablate(Site.Z, layer, (position,), head=head), run=True)
    if draw_press(line.button, "Test this", key="head_test", help=claim_test.HELP):
        claim_test.open_test_here(workspace, Ablate(Site.Z, layer, (position,), head=head))
    if source is None:
        return
    read = shown.trace.tokens[source].shown
    if draw_press(
        line.button,
        "Knock out its look",
        key="head_knock_out",
        help=f"Run the prompt again while this head may not look from here at position {source} ‘{read}’, where it "
        "looks most; its other looks count more.",
    ):
        edit_run.add_edit(workspace, KnockOut(layer, (position,), (source,), heads=(head,)), run=True)
