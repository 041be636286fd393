"""How the heatmap is coloured and written: scale, its form, size of the text; and the token that a colour follows."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from intravisto_core.request import NextTokensView
from intravisto_core.sites import Colour
from intravisto_ui.parts import token_field
from intravisto_ui.parts.kept import kept
from intravisto_ui.session import jobs, workspace
from intravisto_ui.session.workspace import Shown

SCALES = {"component": "by component", "viridis": "viridis", "cividis": "cividis"}
TEXT_SIZES = {"small": 11.5, "normal": 13.0, "large": 16.0}
WATCHING = (Colour.RANK, Colour.PROBABILITY)


@dataclass(frozen=True, slots=True)
class Dress:
    """Scale of the colours, whether it is logarithmic, whether its ends are cut off; size of the cells' text, px."""

    scale: str = "component"
    log_scale: bool = False
    clip: bool = False
    text_size: float = TEXT_SIZES["normal"]


def draw() -> Dress:
    """The widgets for it."""
    pair = st.columns([3, 2])
    scale = kept(
        pair[0].selectbox,
        "Colour scale",
        key="scale",
        default="component",
        options=list(SCALES),
        valid=lambda v: v in SCALES,
        format_func=SCALES.__getitem__,
        help="By component: blue for the stream, green for attention, magenta for the MLP. All three can be told apart "
        "by colour-blind readers; cividis was made to look the same to everybody. In viridis and cividis dark is low.",
    )
    size = kept(
        pair[1].selectbox,
        "Text size",
        key="text_size",
        default="normal",
        options=list(TEXT_SIZES),
        valid=lambda v: v in TEXT_SIZES,
        help="Of the tokens in the cells; the cells grow and shrink with it.",
    )
    pair = st.columns(2)
    log_scale = kept(
        pair[0].toggle,
        "Logarithmic",
        key="log_scale",
        default=False,
        help="Even steps of colour are even factors (0.1 %, 1 %, 10 %): tells small values apart. "
        "Not where values can be negative.",
    )
    clip = kept(
        pair[1].toggle,
        "Cut off extremes",
        key="clip",
        default=False,
        help="The scale covers the middle 96 % of what is shown, so that a few extreme cells do not flatten the rest. "
        "The ends say ≤ and ≥.",
    )
    return Dress(scale, log_scale, clip, TEXT_SIZES[size])


def watched(shown: Shown) -> str | int:
    """The token that the colour follows: what is typed, else what the model answers with."""
    answer, name = _answer(shown)
    typed = token_field.draw(
        st,
        shown.engine,
        "Token to follow",
        key="watch",
        placeholder=f"{name} (the answer)",
        help="Cells are coloured by where this token stands in them. Empty: the first token after the prompt.",
        width=300,
    )
    return typed or answer


def _answer(shown: Shown) -> tuple[int, str]:
    """Id and glyphs of the token after the prompt: the generated one, else the model's most probable one."""
    trace = shown.trace
    if len(trace.tokens) > trace.prompt_length:
        following = trace.tokens[trace.prompt_length]
        return following.id, following.shown
    asked = NextTokensView(trace.id, trace.prompt_length - 1, n=1)
    here = workspace.current()
    found = here.payload(asked, lambda: jobs.view(shown.engine, asked, here.id, "answer"))
    best = int(found.token_ids[0])
    return best, found.shown[best]
