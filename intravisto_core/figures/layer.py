"""The inside of a layer: its tables, its static figure, its page."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.layer_tables import table_parts
from intravisto_core.figures.layer_words import LINES, QUESTION, name_part_shortly, name_width
from intravisto_core.figures.page import component_page
from intravisto_core.figures.plots import style_figure
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.layer_payload import layer_data
from intravisto_core.records import LayerGraph
from intravisto_core.sites import RankPalette


@draws(LayerGraph, "frame")
def layer_frame(graph: LayerGraph) -> pd.DataFrame:
    """One line a part of what the layer wrote."""
    return table_parts(graph)


@draws(LayerGraph, "figure")
def layer_figure(graph: LayerGraph, dark: bool = False) -> go.Figure:
    """Bars: every part of both lanes by the measure that its rows were chosen by."""
    value, figure = graph.value(), go.Figure()
    for lane, colour in (("attention", "#1f8a4c"), ("mlp", "#b5288f")):
        rows = [i for i in range(len(value)) if graph.part_lane[i] == lane and not graph.inside[i]]
        words = [" ".join(printable(graph.shown[int(t)]) for t in graph.part_ids[i][:4]) for i in rows]
        figure.add_bar(
            y=[name_part_shortly(graph, i) for i in rows],
            x=[float(value[i]) for i in rows],
            name="attention" if lane == "attention" else "MLP",
            orientation="h",
            marker_color=colour,
            text=words,
            customdata=[[f"rank {int(graph.part_rank[i]):,}", w] for i, w in zip(rows, words, strict=True)],
            hovertemplate="%{y}: %{x:.3g}<br>%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title_text=name_width(graph, graph.width))
    token = printable(graph.tokens[graph.position].shown)
    title = f"Layer {graph.layer} at position {graph.position} ({token}): what it wrote"
    return style_figure(figure, title, dark=dark, width=900, height=max(360, 140 + 22 * len(value)))


@draws(LayerGraph, "page")
def layer_page(graph: LayerGraph, palette: RankPalette | str = RankPalette.DIVERGING) -> str:
    """The picture, as on the page of the app; its widths can be changed. palette: what ranks are coloured by."""
    colours = RankPalette.parse(palette, "palette")
    token = printable(graph.tokens[graph.position].shown)
    about = f"{graph.model} · layer {graph.layer} · position {graph.position} ‘{token}’"
    return component_page(QUESTION, about, {"layer": layer_data(graph, palette=colours)}, LINES)
