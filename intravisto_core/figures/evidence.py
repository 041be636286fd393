"""A claim beside its controls: one row a prompt, as page, table and static figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.evidence_words import caption, name_claim
from intravisto_core.figures.page import component_page
from intravisto_core.figures.plots import style_figure
from intravisto_core.figures.text import plotly_text, printable, shorten
from intravisto_core.figures.theme import DARK, LIGHT
from intravisto_core.figures.web.evidence_payload import evidence_data
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import Evidence
from intravisto_core.sites import ControlKind

SYMBOLS = {
    ControlKind.POSITION: "square",
    ControlKind.PART: "diamond",
    ControlKind.DIRECTION: "triangle-up",
    ControlKind.PROMPT: "x-thin",
}
LONGEST_PROMPT = 46
ROW = 24


@draws(Evidence, "figure")
def evidence_figure(found: Evidence, *, dark: bool = False, width: int = 900) -> go.Figure:
    """Dots for the edit, grey shapes for the controls, a line from the strongest kind's mean to the edit."""
    theme, sign, rows = DARK if dark else LIGHT, found.effect.sign, np.arange(found.n)
    figure = go.Figure()
    strongest = found.control_means[:, found.kinds.index(found.control)]
    ends = np.stack([strongest, sign * found.effects, np.full(found.n, np.nan)], 1).ravel()
    line = {"color": theme.accent, "width": 1.5}
    figure.add_scatter(x=ends, y=np.repeat(rows, 3), mode="lines", line=line, hoverinfo="skip", showlegend=False)
    for k, kind in enumerate(found.kinds):
        values, words = np.abs(found.draws[:, k]).ravel(), found.drawn[:, k].ravel()
        marker = {"symbol": SYMBOLS[kind], "size": 8, "color": theme.muted, "opacity": 0.55}
        marker["line"] = {"color": theme.muted, "width": 1.5 if kind is ControlKind.PROMPT else 0}
        figure.add_scatter(
            x=values,
            y=np.repeat(rows, found.draws.shape[2]),
            mode="markers",
            marker=marker,
            name=kind.label,
            customdata=[plotly_text(str(word)) for word in words],
            hovertemplate="%{customdata}: %{x:.3g} logits<extra></extra>",
        )
    figure.add_scatter(
        x=sign * found.effects,
        y=rows,
        mode="markers",
        marker={"size": 11, "color": theme.accent},
        name="the edit",
        customdata=[plotly_text(prompt) for prompt in found.prompts],
        hovertemplate="%{customdata}: %{x:.3g} logits<extra></extra>",
    )
    labels = [
        plotly_text(shorten(printable(p), LONGEST_PROMPT)) + (" ◆" if own else "")
        for p, own in zip(found.prompts, found.is_discovery, strict=True)
    ]
    verdict = str(found.verdict)
    style_figure(
        figure, verdict[:1].upper() + verdict[1:], dark=dark, width=width, height=150 + ROW * found.n, above=56
    )
    figure.add_vline(x=0, line={"color": theme.rule, "width": 1})
    figure.update_yaxes(tickvals=rows.tolist(), ticktext=labels, range=[found.n - 0.5, -0.5])
    figure.update_xaxes(title={"text": f"logits by which it {found.effect} the lead"})
    figure.update_layout(legend={"orientation": "h", "y": -0.2, "yref": "container", "yanchor": "bottom", "x": 0})
    figure.update_layout(margin={"b": 90})
    return figure


@draws(Evidence, "frame")
def evidence_frame(found: Evidence) -> pd.DataFrame:
    """One row a prompt: its tokens, the lead, the effect, each kind's mean |Δm|, d and the noise floor, in logits."""
    means = found.control_means
    return pd.DataFrame(
        {
            "prompt": [printable(p) for p in found.prompts],
            "is_discovery": found.is_discovery,
            "target": [printable(t) for t in found.targets],
            "contrast": [printable(t) for t in found.contrasts],
            "metric": found.metrics,
            "effect": found.effects,
            **{f"control_{kind}": means[:, k] for k, kind in enumerate(found.kinds)},
            "difference": found.differences,
            "noise": found.noise,
        }
    )


def frame_draws(found: Evidence) -> pd.DataFrame:
    """One row a control that was drawn."""
    p, k, r = np.nonzero(~np.isnan(found.draws))
    return pd.DataFrame(
        {
            "prompt": p,
            "kind": [str(found.kinds[i]) for i in k],
            "draw": r,
            "what": [printable(str(word)) for word in found.drawn[p, k, r]],
            "effect": found.draws[p, k, r],
        }
    )


@draws(Evidence, "page")
def evidence_page(found: Evidence) -> str:
    """One row a prompt beside its controls, and the verdict in words, as in the app."""
    title = f"Does it hold? {as_sentence(name_claim(found))}"
    return component_page(title, found.model, {"evidence": evidence_data(found)}, caption(found))
