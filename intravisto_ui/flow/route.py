"""The route over a generation: for each generated token its sources, layers and heads, one line after the other."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.figures.web.flow_route_payload import route_payload as route_data
from intravisto_core.figures.words import route_caption
from intravisto_core.records import Route
from intravisto_core.request.flow import RouteView
from intravisto_ui.flow import options
from intravisto_ui.parts import components, export_menu, view_options
from intravisto_ui.session import jobs
from intravisto_ui.session.text import hints
from intravisto_ui.session.workspace import Workspace


def draw(here: Workspace, line: Any) -> None:
    """The whole tab."""
    shown = here.shown
    assert shown is not None
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="options")
    measure, division = view_options.measure_box(bar, shown), options.division_box(bar)
    hide = view_options.hiding(bar)
    if len(shown.trace.tokens) == shown.trace.prompt_length:
        st.html('<div class="hint">Nothing was generated here: set Generate at the left to at least 1, and Run.</div>')
        return
    asked = RouteView(shown.trace.id, measure, division, **hide)
    call = f"route = trace.route({export_menu.arguments(asked)})"
    export_menu.menu(line, here, asked, "route", dict, [call, 'route.save("route.html")'])
    found: Route = here.payload(asked, lambda: jobs.view(shown.engine, asked, here.id, "flow-route"))
    top = shown.engine.model.n_layers + 1
    components.route(route_data(found, top), key="flow_route", on_select=here.select)
    st.html(hints(route_caption(found)))
