"""The heatmap page: options, picture, panel of the selected cell."""

from __future__ import annotations

from intravisto_ui.heatmap import cell_panel, export, find, options, picture
from intravisto_ui.parts import problems, stage
from intravisto_ui.parts.frame import Headline, describe_selection, draw_strip
from intravisto_ui.session.workspace import Shown, Workspace


def draw_body(workspace: Workspace, shown: Shown, headline: Headline) -> None:
    """Everything under the frame."""
    draw_strip(workspace, shown)
    chosen = options.draw(workspace, shown)
    line = headline.draw(
        describe_selection(workspace, shown, chosen.view.component.label),
        buttons=lambda line: find.draw_menu(workspace, shown, line),
    )
    export.draw_menu(line, workspace, shown, chosen)
    picture_side, panel_side = stage.draw_stage()
    with picture_side, problems.guard():
        picture.draw(workspace, shown, chosen)
    with panel_side, problems.guard():
        cell_panel.draw(workspace, shown, chosen)
