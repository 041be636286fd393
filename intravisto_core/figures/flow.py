"""A flow as a Plotly Sankey, rows across and positions down, and as a page; disagreements; heads of a node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import nats, probability, share, significant
from intravisto_core.figures.page import component_page
from intravisto_core.figures.plots import share_map, style_figure, token_ticks
from intravisto_core.figures.sankey_places import sankey_places
from intravisto_core.figures.text import plotly_text, printable, shorten
from intravisto_core.figures.theme import ATTENTION, DARK, LIGHT, MLP, RESIDUAL
from intravisto_core.figures.web.flow_payload import FlowStyle, LinkMark, flow_payload, title
from intravisto_core.figures.web.strip import strip_data
from intravisto_core.figures.words import flow_caption, sinks_in_words, start_words
from intravisto_core.records import Disagreement, Flow, HeadShares, row_label
from intravisto_core.sites import LinkKind, NodeKind

QUESTION = "Where does this prediction come from?"
NEGATIVE = "#b5651d"
TERMINAL = "#8a94a3"
LABELLED = 0.03
LISTED = 3

_LINKS = {
    LinkKind.RESIDUAL: RESIDUAL,
    LinkKind.ATTENTION: ATTENTION,
    LinkKind.MLP: MLP,
    LinkKind.NORM: RESIDUAL,
    LinkKind.SINK: TERMINAL,
    LinkKind.BIAS: TERMINAL,
}
PAD, ABOVE = 2, 60


@draws(Flow, "figure")
def flow_figure(flow: Flow, dark: bool = False) -> go.Figure:
    """Links as wide as their mass; negative ones in a colour of their own, with the signed numbers at the pointer."""
    theme = DARK if dark else LIGHT
    n_positions = len(np.unique(flow.node_position))
    width, height = max(720, min(2400, 120 * len(flow.rows) + 160)), max(420, min(1400, 160 + 34 * n_positions))
    x, y = sankey_places(flow, PAD / (height - ABOVE))
    ids = flow.node_id
    nodes = {
        "label": _labels(flow),
        "x": x,
        "y": y,
        "pad": PAD,
        "thickness": 9,
        "color": [_node_colour(kind, theme.ink) for kind in flow.node_kind.tolist()],
        "line": {"width": 0},
        "customdata": [_node_hover(flow, n) for n in range(len(ids))],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    links = {
        "source": flow.link_source,
        "target": flow.link_target,
        "value": np.maximum(np.abs(flow.link_mass), 1e-9),
        "color": _link_colours(flow),
        "customdata": _link_hovers(flow, ids),
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    figure = go.Figure(go.Sankey(arrangement="fixed", orientation="h", node=nodes, link=links))
    where, drawn = start_words(flow.row, flow.starts, flow.n_layers), f"{share(flow.drawn_in_rows)} of it drawn"
    title = " · ".join(filter(None, (f"Flow to {where}", drawn, sinks_in_words(flow.sinks))))
    return style_figure(figure, title, dark=dark, width=width, height=height, above=ABOVE)


def _node_colour(kind: str, ink: str) -> str:
    if NodeKind(kind).terminal:
        return TERMINAL
    return {"attention": ATTENTION, "mlp": MLP}.get(kind, ink)


def _rgba(colour: str, opacity: float) -> str:
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{opacity})"


def _link_colours(flow: Flow) -> list[str]:
    colours = {str(kind): _rgba(colour, 0.5) for kind, colour in _LINKS.items()}
    negative = _rgba(NEGATIVE, 0.6)
    pairs = zip(flow.link_kind.tolist(), (flow.link_mass < 0).tolist(), strict=True)
    return [negative if below else colours[kind] for kind, below in pairs]


def _shown(flow: Flow, token: int) -> str:
    return flow.shown.get(token, f"id {token}")


def _labels(flow: Flow) -> list[str]:
    """The top token of block outputs with enough mass."""
    block = (flow.node_kind == str(NodeKind.BLOCK)) & (np.abs(flow.node_mass) >= LABELLED) & (flow.node_reading >= 0)
    out = [""] * len(flow.node_mass)
    for n in np.flatnonzero(block):
        out[n] = plotly_text(shorten(_shown(flow, int(flow.reading_ids[flow.node_reading[n], 0])), 14))
    return out


def place_words(kind: str, row: int, position: int, n_layers: int) -> str:
    """A node in words."""
    name = NodeKind(kind).label
    if position < 0:
        return f"{name}, {row_label(row, n_layers)}"
    return f"{row_label(row, n_layers)} · position {position} · {name}"


def _node_hover(flow: Flow, n: int) -> str:
    kind, row, position = str(flow.node_kind[n]), int(flow.node_row[n]), int(flow.node_position[n])
    lines = [f"<b>{place_words(kind, row, position, flow.n_layers)}</b>"]
    if position >= 0:
        lines[0] += f" reads {plotly_text(flow.tokens[position].shown)}"
    lines.append(f"mass {share(float(flow.node_mass[n]))}")
    reading = int(flow.node_reading[n])
    if reading >= 0:
        write = probability if flow.reading_unit[reading] == "probability" else significant
        pairs = zip(flow.reading_ids[reading, :LISTED], flow.reading_numbers[reading, :LISTED], strict=True)
        lines += [f"{plotly_text(_shown(flow, int(i)))}  {write(float(v))}" for i, v in pairs if i >= 0]
    return "<br>".join(lines)


def _link_hovers(flow: Flow, ids: list[str]) -> list[str]:
    columns = (flow.link_source, flow.link_target, flow.link_kind, flow.link_share, flow.link_mass, flow.link_kl)
    return [
        f"{ids[s]} → {ids[t]} · {kind}<br>share {share(part)} · mass {share(mass)}"
        + ("" if kl != kl else f"<br>KL {nats(kl)}")
        for s, t, kind, part, mass, kl in zip(*(c.tolist() for c in columns), strict=True)
    ]


@draws(Flow, "page")
def flow_page(
    flow: Flow,
    heading: str = QUESTION,
    marks: Sequence[LinkMark] = (),
    labels: str = "blocks",
    canvas: str = "fixed",
    scale: float = 1.0,
    text_size: float = 13.0,
    bright: bool = True,
) -> str:
    """The interactive flow as a page; from `labels` on the options are the fields of `FlowStyle`."""
    payload = flow_payload(flow, FlowStyle(labels, canvas, scale, text_size, bright), marks, rev=flow.trace)
    strip = strip_data(flow.tokens, flow.prompt_length, flow.trace, flow.row)
    how = f"shares by {flow.measure.label}, attention by {flow.attention.label}"
    about = " · ".join(filter(None, (flow.model, title(flow), how, sinks_in_words(flow.sinks))))
    return component_page(heading, about, {"strip": strip, "flow": payload}, flow_caption(flow))


@draws(Flow, "frame")
def flow_frame(flow: Flow) -> pd.DataFrame:
    """One line a drawn link: its ends with row, position and top token, share, mass and KL."""
    tokens = np.array([_top(flow, int(q)) for q in flow.node_reading], dtype=object)
    columns: dict[str, object] = {"kind": flow.link_kind}
    for name, at in (("source", flow.link_source), ("target", flow.link_target)):
        columns |= {
            name: np.array(flow.node_id, dtype=object)[at],
            f"{name}_row": flow.node_row[at],
            f"{name}_position": flow.node_position[at],
            f"{name}_token": tokens[at],
        }
    return pd.DataFrame({**columns, "share": flow.link_share, "mass": flow.link_mass, "kl": flow.link_kl})


def _top(flow: Flow, reading: int) -> str:
    return "" if reading < 0 else printable(_shown(flow, int(flow.reading_ids[reading, 0])))


@draws(Disagreement, "figure")
def disagreement_figure(found: Disagreement, dark: bool = False) -> go.Figure:
    """The place of each listed link under both measures; far from the diagonal they disagree."""
    first, second = _way(found, 0), _way(found, 1)
    frame = disagreement_frame(found)
    colours = [_LINKS[LinkKind(k)] for k in found.kind]
    hover = [
        f"{s} → {t} · {k}<br>{first}: place {a:,}, mass {share(m)}<br>{second}: place {b:,}, mass {share(n)}"
        for s, t, k, a, m, b, n in frame.drop(columns="distance").itertuples(index=False)
    ]
    points = go.Scatter(
        x=found.first_place,
        y=found.second_place,
        mode="markers",
        marker={"color": colours, "size": 9},
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )
    ends = [1, max(1, found.n_links)]
    diagonal = go.Scatter(x=ends, y=ends, mode="lines", hoverinfo="skip", showlegend=False)
    diagonal.line = {"color": (DARK if dark else LIGHT).rule, "width": 1}
    figure = go.Figure([diagonal, points])
    figure.update_xaxes(type="log", dtick=1, title_text=f"place by {first}", autorange="reversed")
    figure.update_yaxes(type="log", dtick=1, title_text=f"place by {second}", autorange="reversed")
    title = f"Where two measures disagree most, of {found.n_links:,} links"
    return style_figure(figure, title, dark=dark, width=680, height=560)


def _way(found: Disagreement, side: int) -> str:
    return f"{found.measures[side].label}, {found.divisions[side].label}"


@draws(Disagreement, "frame")
def disagreement_frame(found: Disagreement) -> pd.DataFrame:
    """One line a link, the largest disagreement first."""
    return pd.DataFrame(
        {
            "source": found.source,
            "target": found.target,
            "kind": found.kind,
            "first_place": found.first_place,
            "first_mass": found.first_mass,
            "second_place": found.second_place,
            "second_mass": found.second_mass,
            "distance": found.distance,
        }
    )


@draws(HeadShares, "figure")
def head_shares_figure(found: HeadShares, dark: bool = False) -> go.Figure:
    """Heads down, source positions across."""
    length = found.position + 1
    values = found.shares[:, :length]
    hover = [
        [
            f"head {h} from position {p} {plotly_text(found.tokens[p].shown)}: {share(float(v))}"
            for p, v in enumerate(row)
        ]
        for h, row in enumerate(values)
    ]
    figure = go.Figure(share_map(values, hover, "attention", dark))
    figure.update_xaxes(tickangle=-60, **token_ticks(found.tokens, length))
    figure.update_yaxes(title_text="head", autorange="reversed", dtick=max(1, len(values) // 16))
    how = "joint L1 form" if found.attention is None else found.attention.label
    title = f"Heads of {row_label(found.row, found.n_layers)}, position {found.position} · {how}"
    size = {"width": max(560, min(1800, 240 + 34 * length)), "height": max(320, min(1200, 200 + 22 * len(values)))}
    return style_figure(figure, title, dark=dark, **size)


@draws(HeadShares, "frame")
def head_shares_frame(found: HeadShares) -> pd.DataFrame:
    """One line a head and source position, the largest share first."""
    n_heads, length = found.shares.shape
    table = pd.DataFrame(
        {
            "head": np.repeat(np.arange(n_heads), length),
            "source": np.tile(np.arange(length), n_heads),
            "token": [printable(t.shown) for t in found.tokens] * n_heads,
            "share": found.shares.reshape(-1),
        }
    )
    table = table[table["source"] <= found.position]
    return table.sort_values("share", key=np.abs, ascending=False, kind="stable").reset_index(drop=True)
