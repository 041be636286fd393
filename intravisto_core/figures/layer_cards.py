"""One head, one neuron, lists of neurons: tables and static figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.plots import style_figure
from intravisto_core.figures.text import printable
from intravisto_core.records import HeadCard, NeuronCard, Neurons


def _tokens(card: HeadCard | NeuronCard) -> list[str]:
    return [f"{t.position} {printable(t.shown)}" for t in card.tokens]


@draws(HeadCard, "frame")
def head_frame(card: HeadCard) -> pd.DataFrame:
    """One line a position that the head reads."""
    columns = {"position": np.arange(len(card.tokens)), "token": [printable(t.shown) for t in card.tokens]}
    names = {"weights": "weight", "scores": "score", "value_sizes": "value_size", "sizes": "size", "pulls": "pull"}
    names |= {"pulls_versus": "versus"}
    return pd.DataFrame(columns | {name: getattr(card, field) for field, name in names.items()})


@draws(HeadCard, "figure")
def head_figure(card: HeadCard, dark: bool = False) -> go.Figure:
    """Bars: what the head brings from each position."""
    bars = go.Bar(x=_tokens(card), y=card.sizes, customdata=card.weights, marker_color="#1f8a4c")
    bars.hovertemplate = "%{x}<br>size %{y:.3g}, weight %{customdata:.1%}<extra></extra>"
    figure = go.Figure(bars)
    figure.update_yaxes(title_text="weight × size of the value")
    title = f"Layer {card.layer}, head {card.head} at position {card.position}: what it brings from each token"
    return style_figure(figure, title, dark=dark, width=900, height=360)


@draws(NeuronCard, "frame")
def neuron_frame(card: NeuronCard) -> pd.DataFrame:
    """One line a position of the text."""
    columns = {"position": np.arange(len(card.tokens)), "token": [printable(t.shown) for t in card.tokens]}
    columns |= {"activation": card.activation}
    columns |= {name: values for name in ("gate", "up") if (values := getattr(card, name)) is not None}
    return pd.DataFrame(columns)


@draws(NeuronCard, "figure")
def neuron_figure(card: NeuronCard, dark: bool = False) -> go.Figure:
    """Bars: the activation over the text."""
    figure = go.Figure(go.Bar(x=_tokens(card), y=card.activation, marker_color="#b5288f"))
    figure.update_yaxes(title_text="activation")
    where = f"layer {card.layer}" + (f", expert {card.expert}" if card.expert >= 0 else "")
    return style_figure(figure, f"Neuron {card.neuron} of {where} over the text", dark=dark, width=900, height=360)


@draws(Neurons, "frame")
def neurons_frame(found: Neurons) -> pd.DataFrame:
    """One line a neuron, the largest first."""
    names = ("layer", "expert", "neuron", "activation", "size", "pull", "versus", "attribution", "cosine")
    return pd.DataFrame({name: getattr(found, name) for name in names})


@draws(Neurons, "figure")
def neurons_figure(found: Neurons, dark: bool = False) -> go.Figure:
    """Bars: the neurons by the measure that puts them in order."""
    names = [
        f"L{layer} " + (f"E{expert} " if expert >= 0 else "") + f"N{neuron}"
        for layer, expert, neuron in zip(found.layer, found.expert, found.neuron, strict=True)
    ]
    values = found.cosine if found.promotes else getattr(found, str(found.rank_by))
    figure = go.Figure(go.Bar(y=names, x=values, orientation="h", marker_color="#b5288f"))
    figure.update_yaxes(autorange="reversed")
    said = f"cosine with {printable(found.promotes)}" if found.promotes else found.rank_by.label
    figure.update_xaxes(title_text=said)
    title = f"Neurons at position {found.position}, by {said}"
    return style_figure(figure, title, dark=dark, width=800, height=max(320, 140 + 20 * len(names)))
