"""The heatmap page: options, picture, panel of the selected cell."""

from __future__ import annotations

import streamlit as st

from intravisto_core.request import SaliencyView
from intravisto_core.sites import SaliencyMethod
from intravisto_ui.heatmap import cell_panel, export, find, options, picture
from intravisto_ui.parts import problems, saliency, stage
from intravisto_ui.parts.frame import Headline, describe_selection, draw_strip
from intravisto_ui.session.question import find_asked_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace


def draw_body(workspace: Workspace, shown: Shown, headline: Headline) -> None:
    """Everything under the frame."""
    with problems.guard():
        find.settle(workspace, shown)
    draw_strip(workspace, shown, find_asked_question)
    chosen = options.draw(workspace, shown)
    line = headline.draw(
        describe_selection(workspace, shown, chosen.view.component.label),
        buttons=lambda line: find.draw_menu(workspace, shown, line),
    )
    export.draw_menu(line, workspace, shown, chosen)
    found_line = st.container()
    picture_side, panel_side = stage.draw_stage()
    with picture_side, problems.guard():
        workspace.known = picture.draw(workspace, shown, chosen)
    with found_line, problems.guard():
        find.draw_found(workspace, shown, workspace.known)
    with panel_side, problems.guard():
        cell_panel.draw(workspace, shown, chosen)
    saliency.draw(workspace, shown, lambda method: _ask_saliency(workspace, shown, method))


def _ask_saliency(workspace: Workspace, shown: Shown, method: SaliencyMethod) -> SaliencyView:
    """Of the question that was asked, which a click on a cell does not move; a contrast only where one was typed."""
    question = find_asked_question(workspace, shown)
    contrast = question.rival.typed if workspace.asked.contrast else None
    return SaliencyView(shown.trace.id, question.target.typed, contrast, question.position, method)
