"""How the heatmap is coloured and written: scale, its form, size of the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.sites import Colour
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.kept import draw_kept

SCALES = {"component": "by component", "viridis": "viridis", "cividis": "cividis"}
TEXT_SIZES = {"small": 11.5, "normal": 13.0, "large": 16.0}
WATCHING = (Colour.RANK, Colour.PROBABILITY)


@dataclass(frozen=True, slots=True)
class GridStyle:
    """Scale of the colours, whether it is logarithmic, whether its ends are cut off; size of the cells' text, px."""

    scale: str = "component"
    log_scale: bool = False
    clip: bool = False
    text_size: float = TEXT_SIZES["normal"]


def draw() -> GridStyle:
    """The widgets for it."""
    pair: Sequence[DeltaGenerator] = st.columns([3, 2])
    scale = draw_named_choice(
        pair[0],
        "Colour scale",
        "scale",
        SCALES,
        "By component: blue for the stream, green for attention, magenta for the MLP. All three can be told apart "
        "by colour-blind readers; cividis was made to look the same to everybody. In viridis and cividis dark is low.",
        "component",
    )
    sizes = {name: name for name in TEXT_SIZES}
    how = "Of the tokens in the cells; the cells grow and shrink with it."
    size = draw_named_choice(pair[1], "Text size", "text_size", sizes, how, "normal")
    pair = st.columns(2)
    log_scale = draw_kept(
        pair[0].toggle,
        "Logarithmic",
        key="log_scale",
        default=False,
        help="A step of colour is always the same factor (0.1 %, 1 %, 10 %), so that small values can be told apart. "
        "Not where values can be negative.",
    )
    clip = draw_kept(
        pair[1].toggle,
        "Cut off extremes",
        key="clip",
        default=False,
        help="The scale covers the middle 96 % of what is shown, so that a few extreme cells do not flatten the rest. "
        "The ends say ≤ and ≥.",
    )
    return GridStyle(scale, log_scale, clip, TEXT_SIZES[size])
