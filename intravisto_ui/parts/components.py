"""The pictures' own scripts (`intravisto_core.figures.web`) as Streamlit components.

The selection is never part of the grid's data: the small strip carries it, so that a click does not send the grid
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

from intravisto_core.figures.web import component_source, strip_tokens
from intravisto_core.records import Token
from intravisto_ui.session.workspace import Report, Selection

SOURCES = {"chips": "strip", "links": "flow_links", "graph": "flow_graph", "route": "flow_route"}


def _component(name: str) -> ComponentRenderer:
    js, css = component_source(SOURCES.get(name, name))
    return st.components.v2.component(f"intravisto_{name}", css=css, js=js, isolate_styles=True)


def _read_report(key: str, name: str) -> Any:
    state = st.session_state.get(key)
    return None if state is None else state.get(name) if hasattr(state, "get") else getattr(state, name, None)


def draw_grid(payload: bytes, *, key: str, on_select: Callable[[Report], None]) -> None:
    """The heatmap. `on_select` gets the cell that was clicked, before the page is drawn again."""
    _draw_selecting("grid", payload, key, on_select)


def draw_flow(payload: bytes, *, key: str, on_select: Callable[[Report], None]) -> None:
    """The flow. `on_select` gets the node or link that was clicked, as `grid` its cell."""
    _draw_selecting("flow", payload, key, on_select)


def draw_graph(payload: bytes, *, key: str, on_select: Callable[[Report], None]) -> None:
    """The contribution-threshold graph; `on_select` gets the state or step that was clicked."""
    _draw_selecting("graph", payload, key, on_select)


def draw_route(data: dict[str, Any], *, key: str, on_select: Callable[[Report], None]) -> None:
    """The route over a generation; `on_select` gets the place that was clicked."""
    _draw_selecting("route", data, key, on_select)


def _draw_selecting(name: str, data: Any, key: str, on_select: Callable[[Report], None]) -> None:
    _component(name)(
        data=data,
        key=key,
        default={"selection": None},
        on_selection_change=lambda: on_select(_read_report(key, "selection")),
        height="content",
    )


def draw_links(
    data: dict[str, Any],
    *,
    key: str,
    on_select: Callable[[Report], None],
    on_open: Callable[[str], None] | None = None,
) -> None:
    """Lists of places; `on_select` gets the one that was clicked, `on_open` the id of one that can be unfolded."""

    def open_line() -> None:
        found = _read_report(key, "open")
        if on_open is not None and found is not None:
            on_open(str(found))

    _component("links")(
        data=data,
        key=key,
        default={"selection": None},
        on_selection_change=lambda: on_select(_read_report(key, "selection")),
        on_open_change=open_line,
        height="content",
    )


def draw_strip(
    *,
    tokens: Sequence[Token],
    prompt_length: int,
    rev: str,
    top: int,
    selection: Selection,
    key: str,
    on_select: Callable[[Report], None],
) -> None:
    """The tokens of a trace, prompt and generated told apart."""
    _component("strip")(
        data={
            "tokens": strip_tokens(tokens),
            "prompt": prompt_length,
            "rev": rev,
            "top": top,
            "sel": asdict(selection),
            "label": True,
        },
        key=key,
        default={"selection": None},
        on_selection_change=lambda: on_select(_read_report(key, "selection")),
        height="content",
    )


def draw_chips(tokens: Sequence[Token], *, key: str, rev: str) -> None:
    """Tokens to look at, not to click."""
    n = len(tokens)
    _component("chips")(
        data={
            "tokens": strip_tokens(tokens),
            "prompt": n,
            "rev": rev,
            "top": 0,
            "sel": None,
            "label": False,
            "passive": True,
        },
        key=key,
        height="content",
    )


def draw_panel(
    data: dict[str, Any],
    *,
    key: str,
    on_pin: Callable[[int], None] | None = None,
    on_go: Callable[[int], None] | None = None,
) -> None:
    """A part of the panel of a cell: lists of tokens (`on_pin` gets the id of one that was clicked), shares, steps
    (`on_go` gets the number of one that was clicked).
    """

    def call(name: str, answer: Callable[[int], None] | None) -> Callable[[], None]:
        def act() -> None:
            value = _read_report(key, name)
            if answer is not None and value is not None:
                answer(int(value))

        return act

    _component("panel")(
        data=data, key=key, on_pin_change=call("pin", on_pin), on_go_change=call("go", on_go), height="content"
    )


def draw_live(key: str) -> None:
    """Let what is typed in the text area of that key be handed over at a pause."""
    script = Path(__file__).with_name("live.js").read_text("utf-8")
    st.components.v2.component("intravisto_live", js=script)(data={"key": key}, key=f"live_{key}", height=1)
