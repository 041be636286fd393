"""The route over a generation: for each generated token its sources, layers and heads, one line after the other."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.figures.web.flow_route_payload import route_payload
from intravisto_core.figures.words import route_caption
from intravisto_core.request.flow import RouteView
from intravisto_ui.flow import more_options
from intravisto_ui.parts import components, edit_python, export_menu, problems, sink_switch, stage
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import hint_html
from intravisto_ui.session.workspace import Workspace


def draw(workspace: Workspace, shown: Shown, line: DeltaGenerator) -> None:
    """The whole view. line: the headline, for the export menu."""
    bar = stage.draw_option_line()
    measure = more_options.draw_flow_measure_box(bar, shown, 124)
    division = more_options.draw_division_box(bar, shown, 140)
    sinks = sink_switch.find_sinks(workspace, shown)
    handling = sink_switch.draw_switch(bar, sinks)
    if len(shown.trace.tokens) == shown.trace.prompt_length:
        st.html('<div class="hint">Nothing was generated here: set Generate at the left to at least 1, and Run.</div>')
        return
    view = RouteView(shown.trace.id, measure, division, handling)
    lines = [
        *edit_python.write_shown_run(workspace, shown),
        f"route = trace.route({export_menu.write_arguments(view)})",
        'route.save("route.html")',
    ]
    export_menu.draw_menu(line, shown, workspace.id, view, "route", lines)
    sink_switch.draw_line(sinks, handling)
    with stage.draw_whole(), problems.guard():
        found = workspace.read_view(shown.engine, view, "flow-route")
        data = route_payload(found, shown.engine.model.n_layers + 1)
        components.draw_route(data, key="flow_route", on_select=workspace.select)
        st.html(hint_html(route_caption(found)))
