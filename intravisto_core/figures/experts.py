"""A mixture of experts as a Plotly figure: which expert had which position, and with what weight."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import probability, significant
from intravisto_core.figures.plots import cell_map, colour_bar, style_figure, token_ticks
from intravisto_core.figures.text import plotly_text, printable
from intravisto_core.records import Experts


@draws(Experts, "figure")
def experts_figure(experts: Experts, dark: bool = False) -> go.Figure:
    """Experts down, positions across; blank where an expert was not chosen."""
    weights, hover = _map(experts)
    ends = (0.0, max(1.0, float(np.nanmax(weights))))
    figure = go.Figure(cell_map(weights, hover, "mlp", dark, ends, colour_bar("weight"), hoverongaps=False))
    length, n = len(experts.chosen), experts.n_experts
    figure.update_xaxes(**token_ticks(experts.tokens, length))
    figure.update_yaxes(title_text="expert", dtick=max(1, n // 16), autorange="reversed")
    width, height = max(520, min(1600, 200 + 42 * length)), 200 + min(700, 24 * n)
    return style_figure(figure, f"Experts chosen, layer {experts.layer}", dark=dark, width=width, height=height)


def _map(experts: Experts) -> tuple[np.ndarray, list[list[str]]]:
    """Weights by expert and position, NaN where not chosen, and what the hover says of each."""
    length, n = len(experts.chosen), experts.n_experts
    weights = np.full((n, length), np.nan)
    np.put_along_axis(weights.T, experts.chosen, experts.weights, axis=1)
    shown = {t.position: plotly_text(t.shown) for t in experts.tokens}

    def words(expert: int, position: int) -> str:
        place = f"position {position} {shown.get(position, '')}".rstrip()
        weight = significant(float(weights[expert, position]))
        if expert >= experts.n_routed:
            return f"shared expert · {place}: weight {weight}"
        likely = probability(float(experts.probabilities[position, expert]))
        return f"expert {expert} · {place}: weight {weight}, router {likely}"

    return weights, [[words(e, p) for p in range(length)] for e in range(n)]


@draws(Experts, "frame")
def experts_frame(experts: Experts) -> pd.DataFrame:
    """One line a position and an expert that it went to; with neurons, one line a position of that expert."""
    shown = {t.position: printable(t.shown) for t in experts.tokens}
    length, k = experts.chosen.shape
    positions, chosen = np.repeat(np.arange(length), k), experts.chosen.reshape(-1)
    routed = chosen < experts.n_routed
    likely = np.full(len(chosen), np.nan)
    likely[routed] = experts.probabilities[positions[routed], chosen[routed]]
    table = pd.DataFrame(
        {
            "layer": experts.layer,
            "position": positions,
            "token": [shown.get(int(p), "") for p in positions],
            "expert": chosen,
            "shared": ~routed,
            "probability": likely,
            "weight": experts.weights.reshape(-1),
        }
    )
    if experts.act is None or experts.positions is None:
        return table
    names = [f"n{i}" for i in range(experts.act.shape[1])]
    neurons = pd.DataFrame(experts.act, columns=names).assign(position=experts.positions)
    return table[table["expert"] == experts.expert].merge(neurons, on="position")
