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
from intravisto_ui.parts.template_fold import Fold, list_folds
from intravisto_ui.session.interrupts import GROWS
from intravisto_ui.session.selection import Report, Selection

SOURCES = {"chips": "strip", "links": "flow_links", "graph": "flow_graph", "route": "flow_route"}


def _component(name: str) -> ComponentRenderer:
    js, css = component_source(SOURCES.get(name, name))
    return st.components.v2.component(f"intravisto_{name}", css=css, js=js, isolate_styles=True)


def _read_report(key: str, name: str) -> Any:
    state = st.session_state.get(key)
    return None if state is None else state.get(name) if hasattr(state, "get") else getattr(state, name, None)


def draw_grid(
    payload: bytes,
    *,
    key: str,
    on_select: Callable[[Report], None],
    on_more: Callable[[Report], None] | None = None,
) -> None:
    """The heatmap. `on_select` gets the cell that was clicked, before the page is drawn again.

    on_more: of a grid with columns that are still awaited, gets the first and last position that are looked at, as
    soon as what is there was drawn.
    """

    def ask() -> None:
        if on_more is not None:
            on_more(_read_report(key, GROWS))

    _draw_selecting("grid", payload, key, on_select, **{f"on_{GROWS}_change": ask})


def draw_flow(payload: bytes, *, key: str, on_select: Callable[[Report], None]) -> None:
    """The flow. `on_select` gets the node or link that was clicked, as `grid` its cell."""
    _draw_selecting("flow", payload, key, on_select)


def draw_graph(payload: bytes, *, key: str, on_select: Callable[[Report], None]) -> None:
    """The contribution-threshold graph; `on_select` gets the state or step that was clicked."""
    _draw_selecting("graph", payload, key, on_select)


def draw_heads(data: dict[str, Any], *, key: str, on_select: Callable[[Report], None]) -> None:
    """The map of heads; `on_select` gets the head or MLP that was clicked."""
    _draw_selecting("heads_map", data, key, on_select)


def draw_route(data: dict[str, Any], *, key: str, on_select: Callable[[Report], None]) -> None:
    """The route over a generation; `on_select` gets the place that was clicked."""
    _draw_selecting("route", data, key, on_select)


def _draw_selecting(name: str, data: Any, key: str, on_select: Callable[[Report], None], **more: Any) -> None:
    _component(name)(
        data=data,
        key=key,
        default={"selection": None},
        on_selection_change=lambda: on_select(_read_report(key, "selection")),
        height="content",
        **more,
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


def draw_explain(data: dict[str, Any], *, key: str, on_act: Callable[[Report], None]) -> None:
    """The card of an explanation; `on_act` gets what the user did on it that leads elsewhere."""
    _component("explain")(data=data, key=key, on_act_change=lambda: on_act(_read_report(key, "act")), height="content")


def draw_layer(data: dict[str, Any], *, key: str, on_act: Callable[[Report], None]) -> None:
    """The inside of a layer; `on_act` gets the head or neuron that was clicked, and steps to other layers."""
    _component("layer")(data=data, key=key, on_act_change=lambda: on_act(_read_report(key, "act")), height="content")


def draw_layer_cards(data: dict[str, Any], *, key: str, on_act: Callable[[Report], None]) -> None:
    """The cards of a head and a neuron; `on_act` gets what the user did on them that leads elsewhere."""
    _component("layer_cards")(
        data=data, key=key, on_act_change=lambda: on_act(_read_report(key, "act")), height="content"
    )


def draw_patching(data: dict[str, Any], *, key: str, on_act: Callable[[Report], None]) -> None:
    """Grids of patches or edits; `on_act` gets the cell that was clicked, and what is done with it."""
    _component("patching")(data=data, key=key, on_act_change=lambda: on_act(_read_report(key, "act")), height="content")


def draw_circuit(data: dict[str, Any], *, key: str, on_act: Callable[[Report], None]) -> None:
    """A circuit; `on_act` gets the parts that are kept by now, and where a click leads."""
    _component("circuit")(data=data, key=key, on_act_change=lambda: on_act(_read_report(key, "act")), height="content")


def draw_alignment(data: dict[str, Any], *, key: str, on_act: Callable[[Report], None]) -> None:
    """Two prompts under each other; `on_act` gets the pairs of tokens that the user made."""
    _component("alignment")(
        data=data, key=key, on_act_change=lambda: on_act(_read_report(key, "act")), height="content"
    )


def draw_evidence(data: dict[str, Any], *, key: str) -> None:
    """A tested claim: its prompts beside their controls, and the verdict."""
    _component("evidence")(data=data, key=key, height="content")


def draw_architecture(data: dict[str, Any], *, key: str, on_act: Callable[[Report], None]) -> None:
    """The modules of a model; `on_act` gets what is to be measured, or where a click leads."""
    _component("architecture")(
        data=data, key=key, on_act_change=lambda: on_act(_read_report(key, "act")), height="content"
    )


def draw_measured_now(data: dict[str, Any], *, key: str) -> None:
    """Bring what was measured in a run that goes on to the architecture of this page; nothing is seen of it."""
    _component("architecture_now")(data=data, key=key, height=1)


def draw_attention(
    payload: bytes,
    *,
    key: str,
    on_select: Callable[[Report], None],
    on_sight: Callable[[Report], None],
    on_act: Callable[[Report], None],
) -> None:
    """The attention page. `on_sight` gets what is in sight, with the names of the packets that this needs
    (`draw_packet` brings them); `on_act` what the user did that leads elsewhere.
    """
    _component("attention")(
        data=payload,
        key=key,
        default={"selection": None, "sight": None},
        on_selection_change=lambda: on_select(_read_report(key, "selection")),
        on_sight_change=lambda: on_sight(_read_report(key, "sight")),
        on_act_change=lambda: on_act(_read_report(key, "act")),
        height="content",
    )


def draw_packet(packet: bytes, *, key: str) -> None:
    """Bring a packet to the attention page of this page; nothing is seen of it."""
    _component("attention_packet")(data=packet, key=key, height=1)


def draw_strip(
    *,
    tokens: Sequence[Token],
    prompt_length: int,
    rev: str,
    top: int,
    selection: Selection,
    key: str,
    on_select: Callable[[Report], None],
    folds: Sequence[Fold] = (),
) -> None:
    """The tokens of a trace, prompt and generated told apart. folds: stretches of them that stand as one chip."""
    _component("strip")(
        data={
            "tokens": strip_tokens(tokens),
            "prompt": prompt_length,
            "rev": rev,
            "top": top,
            "sel": asdict(selection),
            "label": True,
            "folds": [asdict(fold) for fold in folds],
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
            "folds": [asdict(fold) for fold in list_folds(tokens, n)],
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


def draw_saver(key: str) -> None:
    """Buttons that have the large picture of the page saved as PNG or SVG, by the script that drew it."""
    _component("saver")(data={}, key=key, height="content")


def draw_live(key: str) -> None:
    """Let what is typed in the text area of that key be handed over at a pause."""
    script = Path(__file__).with_name("live.js").read_text("utf-8")
    st.components.v2.component("intravisto_live", js=script)(data={"key": key}, key=f"live_{key}", height=1)
