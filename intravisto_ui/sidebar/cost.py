"""What the run that the sidebar asks for will take, beside the button that starts it."""

from __future__ import annotations

import streamlit as st

from intravisto_core.engine import Engine
from intravisto_core.records import MemoryEstimate
from intravisto_core.records.memory import size
from intravisto_ui.session.text import escape_html
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.sidebar import prompt

INSTANT_S = 0.1


def draw_cost(workspace: Workspace, engine: Engine) -> None:
    """Memory and time expected, learnt from the last runs of the open model."""
    tokens, _ = prompt.read_tokens(workspace, engine, workspace.options.get("prompt") or "")
    if not tokens:
        return
    new_tokens = int(workspace.options.get("max_new_tokens") or 0)
    estimate = engine.estimate(len(tokens), new_tokens)
    seconds = engine.expected_seconds(len(tokens), new_tokens)
    short = "" if estimate.verdict == "fits" else " short"
    st.html(f'<div class="cost{short}">{escape_html(describe_cost(estimate, seconds))}</div>')


def describe_cost(estimate: MemoryEstimate, seconds: float | None) -> str:
    """`This run: about 12 s, 35 MB`, and where that is much, what is free and what would be less."""
    time = "" if seconds is None else f"{describe_seconds(seconds)}, "
    said = f"This run: {time}{size(estimate.run)}"
    if estimate.verdict == "fits":
        return said
    room = f"{said}; {size(estimate.available)} are free on {estimate.device}. "
    refused = "It is too large" if estimate.verdict == "too large" else "Hardly anything would be left"
    return room + refused + (f": try {' or '.join(estimate.remedies)}." if estimate.remedies else ".")


def describe_seconds(seconds: float) -> str:
    """A duration to expect."""
    if seconds < INSTANT_S:
        return "under 0.1 s"
    if seconds < 1:
        return f"about {seconds:.1f} s"
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"
