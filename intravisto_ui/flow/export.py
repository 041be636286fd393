"""Taking the flow away: files, and the lines of Python that make the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamlit.delta_generator import DeltaGenerator

from intravisto_core.figures.web.flow_payload import FlowStyle
from intravisto_ui.flow.options import FlowOptions
from intravisto_ui.flow.picture import mark_disagreement, read_disagreement
from intravisto_ui.parts import edit_python, export_menu
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace


def draw_menu(container: DeltaGenerator, workspace: Workspace, shown: Shown, chosen: FlowOptions) -> None:
    """The export menu of the flow."""
    changed = export_menu.changed_fields(chosen.style, FlowStyle())

    def draw_options() -> Mapping[str, Any]:
        return changed | {"marks": mark_disagreement(read_disagreement(workspace, shown, chosen))}

    lines = [
        *edit_python.write_shown_run(workspace, shown),
        f"flow = trace.flow({export_menu.write_arguments(chosen.view)})",
        f'flow.save("flow.html"{"".join(f", {n}={v!r}" for n, v in changed.items())})',
    ]
    export_menu.draw_menu(container, shown, workspace.id, chosen.view, "flow", lines, draw_options, in_browser=True)
