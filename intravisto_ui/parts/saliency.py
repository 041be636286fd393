"""The tokens of the text, shaded by how much a predicted token depends on each."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from intravisto_core.figures.shades import STYLE, describe, explain_shades, shade_tokens
from intravisto_core.request import SaliencyView
from intravisto_core.sites import SaliencyMethod
from intravisto_ui.parts import problems
from intravisto_ui.parts.choices import draw_segments
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, hint_html
from intravisto_ui.session.workspace import Workspace

OFF = "off"
NAMES: dict[str, str] = {OFF: "off", **{method: method.label for method in SaliencyMethod}}
HELP = """How much the token's score depends on each token of the text.

**Gradient × input**: the slope of the score at a token's embedding, times the embedding; one run there and back.

**Integrated gradients**: the mean slope on the way from a text of mean embeddings to this one. Its scores add up to the
whole change of the score.

**Occlusion**: how much lower the score is with other tokens in the token's place, a mean over four drawn by chance.
"""


def draw(workspace: Workspace, shown: Shown, ask: Callable[[SaliencyMethod], SaliencyView]) -> None:
    """The choice of a method, and under it the shaded tokens where one is chosen.

    ask: what is asked for with that method.
    """
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="saliency_line")
    line.html('<div class="cap">Saliency of every token</div>')
    with line:
        chosen = draw_segments("Saliency", "saliency", NAMES, OFF, label_visibility="collapsed", help=HELP)
    if chosen == OFF:
        return
    with st.container(key="saliency_tokens"), problems.guard():
        found = workspace.read_view(shown.engine, ask(SaliencyMethod.parse(chosen, "method")), "saliency")
        st.html(
            f"<style>{STYLE}</style>{shade_tokens(found)}"
            f'<div class="hint">{escape_html(describe(found))}</div>{hint_html(explain_shades(found))}'
        )
