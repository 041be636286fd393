"""What an edit changed, and checked links, as Plotly figures and tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.page import HEATMAP_KEYS, component_page
from intravisto_core.figures.plots import MOST_TICKS, cell_map, colour_bar, style_figure, token_ticks
from intravisto_core.figures.text import plotly_text, printable
from intravisto_core.figures.theme import DARK, LIGHT
from intravisto_core.figures.web.comparison_payload import comparison_payload
from intravisto_core.figures.web.payload import Mark
from intravisto_core.figures.web.strip import strip_data
from intravisto_core.records import Comparison, ConceptDirection, LinkCheck

_MEASURES = {
    "kl": ("grid_kl", "KL, nats", "entropy"),
    "distance": ("grid_distance", "‖change‖ / ‖x‖", "entropy"),
    "difference": ("grid_difference", "change of the lead (logits)", "diverging"),
}


@draws(Comparison, "figure")
def comparison_figure(comparison: Comparison, colour: str = "", dark: bool = False) -> go.Figure:
    """The difference map, on a scale of its own. colour: "kl", "distance" or "difference"; "" is KL, or distance where
    cells are updates. Cells past the point where the texts differ are blank.
    """
    chosen = colour or ("kl" if np.isfinite(comparison.grid_kl).any() else "distance")
    name, title, hue = _MEASURES[chosen]
    values = getattr(comparison, name)
    finite = np.abs(values[np.isfinite(values)])
    most = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    shown = {t.position: t for t in comparison.tokens}
    figure = go.Figure(
        cell_map(
            values,
            _cells(comparison, values),
            hue,
            dark,
            (-most if hue == "diverging" else 0, most),
            colour_bar(title),
            y=[comparison.row_label(int(r)) for r in comparison.rows],
        )
    )
    tokens = [shown[int(p)] for p in comparison.positions]
    figure.update_xaxes(**token_ticks(comparison.tokens, len(tokens)))
    if len(tokens) != len(comparison.tokens):
        labels = [f"{t.position} {plotly_text(t.shown)}" for t in tokens]
        every = max(1, -(-len(tokens) // MOST_TICKS))
        figure.update_xaxes(tickmode="array", tickvals=list(range(0, len(tokens), every)), ticktext=labels[::every])
    rows, columns = values.shape
    size = {"width": max(640, min(1600, 240 + 42 * columns)), "height": 130 + min(900, 26 * rows)}
    return style_figure(figure, "; ".join(comparison.edits) or "Difference of two runs", dark=dark, **size)


def _cells(comparison: Comparison, values: np.ndarray) -> list[list[str]]:
    def text(i: int, j: int) -> str:
        if not np.isfinite(values[i, j]):
            return comparison.blank[i] or "texts differ from here"
        before, after = (
            plotly_text(comparison.shown.get(int(ids[i, j]), ""))
            for ids in (comparison.grid_ids, comparison.grid_edited_ids)
        )
        row = comparison.row_label(int(comparison.rows[i]))
        return f"{row} · position {comparison.positions[j]}: {before} → {after}: {values[i, j]:.3g}"

    return [[text(i, j) for j in range(values.shape[1])] for i in range(values.shape[0])]


@draws(Comparison, "frame")
def comparison_frame(comparison: Comparison) -> pd.DataFrame:
    """One line a compared position."""
    c = comparison.n_compared
    shown = {i: printable(text) for i, text in comparison.shown.items()}
    return pd.DataFrame(
        {
            "position": np.arange(c),
            "reads": [printable(t.shown) for t in comparison.tokens[:c]],
            "says": [shown.get(int(i), "") for i in comparison.top_ids],
            "edited_says": [shown.get(int(i), "") for i in comparison.edited_top_ids],
            "kl": comparison.kl,
            "log_prob": comparison.log_prob,
            "edited_log_prob": comparison.edited_log_prob,
            "logit_difference": comparison.logit_difference,
            "edited_logit_difference": comparison.edited_logit_difference,
        }
    )


@draws(Comparison, "page")
def comparison_page(comparison: Comparison, colour: str = "", marks: tuple[Mark, ...] | None = None) -> str:
    """The difference of two runs as an interactive heatmap on a page; colour and marks as in `comparison_payload`."""
    tokens = [comparison.edited_tokens[int(p)] for p in comparison.positions]
    payload = comparison_payload(comparison, colour, marks, comparison.edited)
    prompt_length = sum(t.is_prompt for t in comparison.edited_tokens)
    strip = strip_data(tokens, prompt_length, comparison.edited, int(comparison.rows.max(initial=0)))
    about = f"{comparison.model} · {'; '.join(comparison.edits) or 'the same text in both runs'}"
    lines = [
        "Each cell shows the edited run's top token; the colour is how far the edits moved it from the cell of the "
        "baseline. At the pointer stand the top tokens of both runs.",
        HEATMAP_KEYS,
    ]
    return component_page(
        "What the edits changed", about, {"strip": strip, "grid": payload}, [*lines, *comparison.notes]
    )


@draws(LinkCheck, "figure")
def link_check_figure(check: LinkCheck, dark: bool = False) -> go.Figure:
    """Predicted against measured effect of each link, with the line where they agree."""
    theme = DARK if dark else LIGHT
    values = np.concatenate([check.predicted, check.measured, [0.0]])
    ends = [float(values.min()), float(values.max())]
    figure = go.Figure(
        [
            go.Scatter(x=ends, y=ends, mode="lines", line={"color": theme.rule, "width": 1}, hoverinfo="skip"),
            go.Scatter(
                x=check.predicted,
                y=check.measured,
                mode="markers",
                marker={"size": 7, "color": theme.ink, "opacity": 0.7},
                customdata=[plotly_text(label) for label in check.labels],
                hovertemplate="%{customdata}<br>predicted %{x:.3g}, measured %{y:.3g}<extra></extra>",
            ),
        ]
    )
    target, contrast = (plotly_text(check.shown.get(i, str(i))) for i in (check.target, check.contrast))
    figure.update_xaxes(title_text="predicted change")
    figure.update_yaxes(title_text=f"measured change of {target} − {contrast}")
    figure.update_layout(showlegend=False)
    agreement = "" if np.isnan(check.rank_correlation) else f", rank correlation {check.rank_correlation:.2f}"
    title = f"{len(check.labels)} links taken away{agreement}"
    return style_figure(figure, title, dark=dark, width=720, height=520)


@draws(LinkCheck, "frame")
def link_check_frame(check: LinkCheck) -> pd.DataFrame:
    """One line a link."""
    return pd.DataFrame(
        {
            "link": [printable(label) for label in check.labels],
            "component": [str(c) for c in check.component],
            "layer": check.layer,
            "position": check.at,
            "source": check.source,
            "head": check.head,
            "neuron": check.neuron,
            "expert": check.expert,
            "size": check.size,
            "predicted": check.predicted,
            "measured": check.measured,
        }
    )


@draws(ConceptDirection, "figure")
def direction_figure(direction: ConceptDirection, dark: bool = False, n: int = 40) -> go.Figure:
    """The largest coordinates of a direction."""
    theme = DARK if dark else LIGHT
    largest = np.argsort(-np.abs(direction.vector), kind="stable")[:n]
    bars = go.Bar(
        x=[str(i) for i in largest],
        y=direction.vector[largest],
        marker={"color": theme.ink},
        hovertemplate="dimension %{x}: %{y:.3g}<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_xaxes(title_text=f"dimension, the {len(largest)} largest", type="category")
    return style_figure(figure, f"{direction.name}: {direction.made_of}", dark=dark, width=860, height=380)


@draws(ConceptDirection, "frame")
def direction_frame(direction: ConceptDirection) -> pd.DataFrame:
    """One line a dimension."""
    return pd.DataFrame({"dimension": np.arange(len(direction.vector)), "value": direction.vector})
