"""A dictionary and one of its features: tables and static figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.plots import style_figure
from intravisto_core.figures.text import printable
from intravisto_core.records import DictionaryCard, FeatureCard


@draws(DictionaryCard, "frame")
def dictionary_frame(card: DictionaryCard) -> pd.DataFrame:
    """One line a layer."""
    names = ("name", "kind", "model", "reads", "writes", "site", "activation", "n_features", "source")
    return pd.DataFrame({"layer": card.layers} | {name: str(getattr(card, name)) for name in names})


@draws(DictionaryCard, "figure")
def dictionary_figure(card: DictionaryCard, dark: bool = False) -> go.Figure:
    """Bars: how many features there are at each layer."""
    figure = go.Figure(go.Bar(x=list(card.layers), y=[card.n_features] * len(card.layers)))
    figure.update_xaxes(title_text="layer", dtick=1)
    figure.update_yaxes(title_text="features")
    what = "transcoder" if card.transcoder else "autoencoder"
    title = f"{printable(card.name)}: {card.activation.label} {what} of {card.writes}, {printable(card.model)}"
    return style_figure(figure, title, dark=dark, width=700, height=320)


@draws(FeatureCard, "frame")
def feature_frame(card: FeatureCard) -> pd.DataFrame:
    """One line a position of the text."""
    columns = {"position": np.arange(len(card.tokens)), "token": [printable(t.shown) for t in card.tokens]}
    return pd.DataFrame(columns | {"activation": card.activation})


@draws(FeatureCard, "figure")
def feature_figure(card: FeatureCard, dark: bool = False) -> go.Figure:
    """Bars: its activation at each position."""
    names = [f"{t.position} {printable(t.shown)}" for t in card.tokens]
    figure = go.Figure(go.Bar(x=names, y=card.activation))
    figure.update_yaxes(title_text="activation")
    title = f"Layer {card.layer}, {printable(card.name)}: writes {printable(' '.join(card.promoted.texts[:4]))}"
    return style_figure(figure, title, dark=dark, width=max(500, 200 + 36 * len(names)), height=360)
