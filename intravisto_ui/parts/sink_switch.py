"""What becomes of attention to sinks: one switch for all pages, and one line that says what it does."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError
from intravisto_core.figures.numbers import share
from intravisto_core.records import Sinks
from intravisto_core.request import SinksView
from intravisto_core.sites import Capability, SinkHandling
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import plural, token_html
from intravisto_ui.session.workspace import Workspace

KEY = "sinks"
NAMED = 3
HELP = (
    "Attention sinks are positions that heads look at when they have nothing to do. Each layer has its own; which ones "
    "was measured for this text.  \n"
    + "  \n".join(f"**{handling.label}**: {handling.help}" for handling in SinkHandling)
    + "  \nThe choice holds for all pages."
)
NONE = "In this text no position is measured as an attention sink, so there is nothing to set aside."
UNKNOWN = "This model's attention patterns cannot be shown, so its sinks are not known."


def find_sinks(workspace: Workspace, shown: Shown) -> Sinks | None:
    """The sinks of what is shown; None where they cannot be told."""
    if not shown.engine.model.capabilities[Capability.PATTERN].ok:
        return None
    try:
        return workspace.read_view(shown.engine, SinksView(shown.trace.id), "sinks")
    except IntravistoError:
        return None


def draw_switch(container: DeltaGenerator, found: Sinks | None, width: int = 158) -> SinkHandling:
    """The switch. Where sinks are measured they are set aside at first; where none is, there is no choice."""
    if found is None or not found.found:
        container.selectbox(
            "Attention sinks",
            ["none found" if found is not None else "not known"],
            key="no_sinks",
            disabled=True,
            width=width,
            help=UNKNOWN if found is None else NONE,
        )
        return SinkHandling.SHOW
    names = {handling: handling.label for handling in SinkHandling}
    return draw_named_choice(container, "Attention sinks", KEY, names, HELP, SinkHandling.HIDE, width=width)


def draw_line(found: Sinks | None, handling: SinkHandling, ends: float | None = None) -> None:
    """What is set aside, and a button that undoes it. ends: the share of the mass of a picture that ends there."""
    if found is None or not found.found:
        return
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="sinks_line")
    line.html(f'<div class="hint">{describe_handling(found, handling, ends)}</div>', width="content")
    aside = handling is not SinkHandling.SHOW
    other = SinkHandling.SHOW if aside else SinkHandling.HIDE
    where = "In each layer its own: " + name_sinks(found)
    label = "Show them" if aside else "Set them aside"
    line.button(label, key="sinks_undo", type="tertiary", on_click=set_kept, kwargs={KEY: other}, help=where)


def describe_handling(found: Sinks, handling: SinkHandling, ends: float | None = None) -> str:
    """What is done, to which positions, and how much that is; as HTML."""
    which = ", ".join(f"{p} ‘{token_html(found.tokens[p].shown)}’" for p in _most_common(found)[:NAMED])
    left = len(found.found) - NAMED
    which += f" and {plural(left, 'other')}" if left > 0 else ""
    done = {
        SinkHandling.SHOW: "Attention sinks are shown",
        SinkHandling.HIDE: "Attention sinks are set aside",
        SinkHandling.RENORMALISE: "Attention sinks are set aside, the rest is scaled up",
    }[handling]
    mass = f" and {share(ends)} of this mass" if ends is not None and handling is SinkHandling.HIDE else ""
    return f"{done}: {which}, with {share(found.share)} of all attention{mass}."


def name_sinks(found: Sinks) -> str:
    """`position 0 in 26 of 30 layers`: those that are sinks in most layers first."""
    in_layers, n_layers = found.is_sink.sum(0), len(found.is_sink)
    order = _most_common(found)
    named = [f"position {p} in {in_layers[p]} of {plural(n_layers, 'layer')}" for p in order[: 2 * NAMED]]
    left = len(order) - 2 * NAMED
    return ", ".join(named) + (f", and {plural(left, 'other position')}" if left > 0 else "") + "."


def _most_common(found: Sinks) -> list[int]:
    in_layers = found.is_sink.sum(0)
    return sorted(found.found, key=lambda p: -int(in_layers[p]))
