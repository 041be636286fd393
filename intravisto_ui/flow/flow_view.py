"""The first view of the flow page: the flow itself, with the panel of what is selected in it."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator

from intravisto_ui.flow import export, options, panel, picture
from intravisto_ui.parts import problems, stage
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace


def draw(workspace: Workspace, shown: Shown, line: DeltaGenerator) -> None:
    """Options, panel, picture. line: the headline, for the export menu."""
    chosen = options.draw(workspace, shown)
    export.draw_menu(line, workspace, shown, chosen)
    picture_side, panel_side = stage.draw_stage()
    with picture_side, problems.guard():
        picture.read_record(workspace, shown, chosen)
        # the panel first: it answers to a click, the picture is already there
        with panel_side, problems.guard():
            panel.draw(workspace, shown, chosen)
        picture.draw(workspace, shown, chosen)
