"""Saliency and gradients: page, table and static figure."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.arrays import draw_signed
from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import change
from intravisto_core.figures.page import standalone_page
from intravisto_core.figures.plots import style_figure, token_ticks
from intravisto_core.figures.shades import LOWERS, RAISES, STYLE, describe, explain_shades, question, shade_tokens
from intravisto_core.figures.text import plotly_text, printable
from intravisto_core.records import Gradient, Saliency


@draws(Saliency, "page")
def saliency_page(found: Saliency) -> str:
    """The shaded tokens as a page."""
    lines = "".join(f"<p>{escape(line)}</p>" for line in explain_shades(found))
    body = f'<p class="about">{escape(describe(found))}</p>\n{shade_tokens(found)}\n<footer>{lines}</footer>'
    return standalone_page(question(found), STYLE, body, [])


@draws(Saliency, "frame")
def saliency_frame(found: Saliency) -> pd.DataFrame:
    """One line a token."""
    return pd.DataFrame(
        {
            "position": np.arange(len(found.tokens)),
            "token_id": [t.id for t in found.tokens],
            "token": [printable(t.shown) for t in found.tokens],
            "score": found.scores,
            "held": found.held,
        }
    )


@draws(Saliency, "figure")
def saliency_figure(found: Saliency, dark: bool = False) -> go.Figure:
    """A bar for each token up to the one that says the target."""
    n = found.position + 1
    scores = found.scores[:n]
    colours = [f"rgb{RAISES if score >= 0 else LOWERS}" for score in scores]
    names = [plotly_text(token.shown) for token in found.tokens[:n]]
    shown = [f"{p}  {name}: {change(float(s))}" for p, (name, s) in enumerate(zip(names, scores, strict=True))]
    bars = go.Bar(
        x=np.arange(n),
        y=scores,
        marker={"color": colours},
        customdata=shown,
        hovertemplate="position %{customdata}<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_xaxes(tickangle=-60, **token_ticks(found.tokens, n))
    figure.update_yaxes(title_text="logits", zeroline=True)
    title = f"{question(found)} ({found.method.label})"
    return style_figure(figure, title, dark=dark, width=max(420, min(1200, 140 + 26 * n)), height=380)


@draws(Gradient, "figure")
def gradient_figure(found: Gradient, dark: bool = False) -> go.Figure:
    """Positions down, dimensions across (heads one after the other), on a scale around 0."""
    flat = found.values if found.values.ndim == 2 else np.concatenate(list(found.values), axis=1)
    figure = draw_signed(flat, dark)
    figure.update_xaxes(title_text="dimension" if found.values.ndim == 2 else "dimension, heads side by side")
    figure.update_yaxes(title_text="position", autorange="reversed")
    against = f" over {found.contrast}" if found.contrast_id >= 0 else ""
    title = f"Slope of {found.target}{against} along the {found.site.label}, layer {found.layer}"
    height = max(320, min(1000, 160 + 18 * flat.shape[0]))
    return style_figure(figure, title, dark=dark, width=980, height=height)


@draws(Gradient, "frame")
def gradient_frame(found: Gradient) -> pd.DataFrame:
    """One line a position (and head), one column a dimension."""
    values = found.values if found.values.ndim == 3 else found.values[None]
    heads, length, width = values.shape
    names = range(heads) if found.values.ndim == 3 else ["all"]
    index = pd.DataFrame({"head": np.repeat(np.array(names, dtype=object), length)})
    index["position"] = np.tile(np.arange(length), heads)
    return pd.concat([index, pd.DataFrame(values.reshape(-1, width), columns=[f"x{i}" for i in range(width)])], axis=1)
