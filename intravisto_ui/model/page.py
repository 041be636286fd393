"""The page about the model: its card, what was checked, diagnostics."""

from __future__ import annotations

import streamlit as st

from intravisto_core.engine import Engine
from intravisto_ui.model import card
from intravisto_ui.parts.frame import Headline
from intravisto_ui.session.workspace import Workspace


def draw_body(workspace: Workspace, engine: Engine, headline: Headline) -> None:
    """Card at the left; checks and diagnostics at the right."""
    headline.draw()
    left, right = st.columns([3, 4], gap="medium")
    with left:
        card.draw_card(engine.model)
    with right:
        card.draw_capabilities(engine.model)
        card.draw_diagnostics(engine)
