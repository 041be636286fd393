"""The menu of settings of a layer's page: those that are rarely changed, and all of them as a file with a name."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.request.layer_settings import LONGEST_NAME, LayerSettings, read_settings, write_settings
from intravisto_core.sites import LayerWidth, RankPalette, TokenOrder
from intravisto_ui.parts import problems
from intravisto_ui.parts.choices import draw_choice
from intravisto_ui.parts.containers import open_container
from intravisto_ui.parts.kept import draw_kept, set_kept
from intravisto_ui.session.workspace import Workspace

KEY = "layer_settings"
PENDING = f"{KEY}_pending"
SOURCES = 5
MOST_SOURCES = 20


def draw(
    line: Any,
    workspace: Workspace,
    width: LayerWidth,
    heads: int,
    neurons: int,
    order: TokenOrder,
) -> tuple[int, RankPalette]:
    """Sources of a head's card, and colours of ranks; saving and loading of all that says how a layer is drawn."""
    with line.popover("Settings", key=KEY, help="Sources, colours, and all settings of this page as a file"):
        sources = draw_kept(
            st.number_input,
            "Sources of a head",
            key=f"{KEY}_sources",
            default=SOURCES,
            valid=lambda v: isinstance(v, int) and 1 <= v <= MOST_SOURCES,
            min_value=1,
            max_value=MOST_SOURCES,
            help="How many positions its card tells of",
        )
        palette = draw_choice(open_container(), "Ranks in", f"{KEY}_palette", tuple(RankPalette), "stretch")
        name = draw_kept(
            st.text_input, "Name", key=f"{KEY}_name", default="", max_chars=LONGEST_NAME, placeholder="my settings"
        )
        chosen = LayerSettings(name.strip(), width, heads, neurons, int(sources), order, palette=palette)
        st.download_button(
            "Save as a file",
            data=write_settings(chosen),
            file_name=f"{_plain(name) or 'layer'}.settings.json",
            mime="application/json",
            key=f"{KEY}_save",
            on_click="ignore",
            help="Also for the command line: intravisto layer --settings FILE",
        )
        _draw_load(workspace)
    return int(sources), palette


def _plain(name: str) -> str:
    return "".join(c for c in name.strip() if c.isalnum() or c in " -_")


def _draw_load(workspace: Workspace) -> None:
    """A file that cannot be used is said so as long as it lies there."""
    uploaded = st.file_uploader("Load settings", type="json", key=f"{KEY}_load", max_upload_size=1)
    if uploaded is None or workspace.options.get(f"{KEY}_loaded") == uploaded.file_id:
        return
    with problems.guard():
        found = read_settings(uploaded.getvalue())
        workspace.options[f"{KEY}_loaded"] = uploaded.file_id
        workspace.options[PENDING] = found
        st.rerun()


def take_over(workspace: Workspace, n_heads: int, most_neurons: int) -> None:
    """Put loaded settings into the widgets, before any of them is drawn."""
    found: LayerSettings | None = workspace.options.pop(PENDING, None)
    if found is None:
        return
    values: dict[str, Any] = {
        "layer_width": found.width,
        "layer_neurons": min(found.neurons, most_neurons),
        "layer_order": found.order,
        f"{KEY}_sources": min(found.sources, MOST_SOURCES),
        f"{KEY}_palette": found.palette,
        f"{KEY}_name": found.name,
    }
    if found.heads is not None:
        values[f"layer_heads_{n_heads}"] = min(found.heads, n_heads)
    set_kept(**values)
