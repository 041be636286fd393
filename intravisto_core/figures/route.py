"""The route over a generation: where each generated token came from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import share
from intravisto_core.figures.page import component_page
from intravisto_core.figures.plots import share_map, style_figure, token_ticks
from intravisto_core.figures.text import plotly_text, printable, shorten
from intravisto_core.figures.web.flow_route_payload import route_payload
from intravisto_core.figures.web.strip import strip_data
from intravisto_core.figures.words import route_caption, sinks_in_words
from intravisto_core.records import Route

QUESTION = "Where did each generated token come from?"
TOP = 5


def _generated(route: Route) -> list[str]:
    return [f"{p} {plotly_text(shorten(route.tokens[p].shown, 12))}" for p in route.positions.tolist()]


@draws(Route, "figure")
def route_figure(route: Route, dark: bool = False) -> go.Figure:
    """For each generated token, one a column: which positions its mass comes from, and through whose attention."""
    names = _generated(route)
    last = int(route.positions.max(initial=0))
    sources, layers = route.sources[:, :last].T, route.attention.T
    titles = ("from which position", "through the attention of which layer")
    figure = make_subplots(rows=2, cols=1, subplot_titles=titles, vertical_spacing=0.12, shared_xaxes=True)
    hover = [
        [
            f"{name} from position {p} {plotly_text(route.tokens[p].shown)}: {share(float(v))}"
            for name, v in zip(names, row, strict=True)
        ]
        for p, row in enumerate(sources)
    ]
    figure.add_trace(share_map(sources, hover, "residual", dark, len=0.5, y=0.76), row=1, col=1)
    hover = [
        [f"{name} through layer {layer}: {share(float(v))}" for name, v in zip(names, row, strict=True)]
        for layer, row in enumerate(layers)
    ]
    figure.add_trace(share_map(layers, hover, "attention", dark, len=0.4, y=0.2), row=2, col=1)
    figure.update_yaxes(autorange="reversed", row=1, col=1, **token_ticks(route.tokens[:last], last))
    figure.update_yaxes(title_text="layer", dtick=max(1, route.n_layers // 12), row=2, col=1)
    at = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": names, "tickangle": -60}
    figure.update_xaxes(**at)
    title = f"Where {len(names)} generated tokens come from, shares by {route.measure.label}"
    title = " · ".join(filter(None, (title, sinks_in_words(route.sinks))))
    size = {
        "width": max(640, min(1800, 260 + 36 * len(names))),
        "height": min(1600, 340 + 16 * (last + route.n_layers)),
    }
    return style_figure(figure, title, dark=dark, **size, above=84)


@draws(Route, "frame")
def route_frame(route: Route, top: int = TOP) -> pd.DataFrame:
    """For each generated token its largest sources, layers and heads, one a line."""
    lines = []
    for g, position in enumerate(route.positions.tolist()):
        heads = route.heads[g]
        for what, values in (("source", route.sources[g]), ("layer", route.attention[g]), ("head", heads.reshape(-1))):
            for k, i in enumerate(np.argsort(-np.abs(values), kind="stable")[:top].tolist(), start=1):
                name = f"{i // heads.shape[1]}.{i % heads.shape[1]}" if what == "head" else str(i)
                token = printable(route.tokens[i].shown) if what == "source" else ""
                shown = printable(route.tokens[position].shown)
                lines.append((position, shown, what, k, name, token, float(values[i])))
    return pd.DataFrame(lines, columns=["position", "token", "what", "k", "which", "source_token", "mass"])


@draws(Route, "page")
def route_page(found: Route, heading: str = QUESTION) -> str:
    """The route as a timeline with the strip of tokens."""
    top = found.n_layers + 1
    strip = strip_data(found.tokens, found.prompt_length, found.trace, top)
    how = f"shares by {found.measure.label}, attention by {found.attention_division.label}"
    how = " · ".join(filter(None, (how, sinks_in_words(found.sinks))))
    parts = {"strip": strip, "flow_route": route_payload(found, top)}
    return component_page(heading, f"{found.model} · {how}", parts, route_caption(found))
