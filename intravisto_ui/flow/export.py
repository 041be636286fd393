"""Taking a view of the flow page away: files, and the lines of Python that make the same."""

from __future__ import annotations

from typing import Any

from intravisto_core.figures.web.flow_payload import FlowStyle as FlowDress
from intravisto_ui.flow.options import FlowOptions
from intravisto_ui.flow.picture import disagreement, marks
from intravisto_ui.parts.export_menu import arguments, changed, menu
from intravisto_ui.session.workspace import Workspace


def popover(place: Any, here: Workspace, chosen: FlowOptions) -> None:
    """The export menu of the flow."""
    shown = here.shown
    assert shown is not None
    dressed = changed(chosen.dress, FlowDress())
    view = chosen.view

    def options() -> dict[str, Any]:
        return dressed | {"marks": marks(disagreement(here, chosen))}

    call = f"flow = trace.flow({arguments(view)})"
    saved = f'flow.save("flow.html"{"".join(f", {n}={v!r}" for n, v in dressed.items())})'
    menu(place, here, view, "flow", options, [call, saved], "PNG and SVG: the buttons under the picture.")
