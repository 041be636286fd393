"""Checking links of the flow: what the book-keeping of sizes cannot say, the effect of taking a link away."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from intravisto_core.figures.numbers import change, significant
from intravisto_core.records import LinkCheck
from intravisto_core.records.flow import Flow
from intravisto_core.request import Link, LinkCheckView
from intravisto_core.sites import Component, NodeKind
from intravisto_ui import jobs
from intravisto_ui.flow_lists import place_of
from intravisto_ui.text import escaped, token
from intravisto_ui.workspace import Workspace, kept

MOST = 200
HELP = (
    "The link's vector is taken out of where it joins the stream, and the model runs on. *Measured* is what really "
    "happens to the logit difference of the answer and its runner-up; *predicted* is what the slope of the model says."
)


def link_of(source: str, target: str) -> Link | None:
    """The vector that a flow link stands for; None where it stands for none of its own.

    source, target: node ids. What an MLP reads and the way to the final norm are no vectors that join the stream.
    """
    kind, _, at = place_of(source)
    upper, row, position = place_of(target)
    layer = row - 1
    if kind == NodeKind.ATTENTION:
        return Link(Component.ATTENTION, layer, position)
    if kind == NodeKind.MLP:
        return Link(Component.MLP, layer, position)
    if kind == NodeKind.MID and upper == NodeKind.BLOCK:
        return Link(Component.MID, layer, position)
    if kind != NodeKind.BLOCK or upper == NodeKind.MLP or place_of(source)[1] == row:
        return None
    if upper == NodeKind.ATTENTION:
        return Link(Component.ATTENTION, layer, position, source=at)
    return Link(Component.BLOCK, layer, position) if place_of(source)[1] == layer else None


def draw(here: Workspace, source: str, target: str, n_layers: int) -> None:
    """A button that checks one link, and what came of it."""
    link = None if place_of(target)[1] > n_layers else link_of(source, target)
    if link is None:
        st.html('<div class="hint">This link stands for no vector of its own, so there is nothing to take away.</div>')
        return
    asked = _asked(here, (link,))
    if not st.button("Check this link", key="check_link", help=HELP) and asked not in here.payloads:
        return
    found = checked(here, asked)
    st.html(
        f'<div class="why">Without it the lead of {token(found.shown[found.target])} over '
        f"{token(found.shown[found.contrast])}, now {significant(found.metric)}, changes by "
        f"<b>{change(float(found.measured[0]))}</b> (predicted {change(float(found.predicted[0]))}; doing nothing "
        f"changes it by {significant(found.noise)}).</div>"
    )


def many(here: Workspace, flow: Flow) -> None:
    """The strongest links of a picture, checked at once."""
    with st.expander("Check the strongest links"):
        st.html(f'<div class="hint">{escaped(HELP.replace("*", ""))}</div>')
        line = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
        n = kept(line.number_input, "How many", key="check_n", default=20, min_value=1, max_value=MOST, width=120)
        names = flow.node_id
        ids = [(names[int(s)], names[int(t)]) for s, t in zip(flow.link_source, flow.link_target, strict=True)]
        pairs = [(link_of(*pair), i) for i, pair in enumerate(ids) if place_of(pair[1])[1] <= flow.n_layers]
        links = {link: i for link, i in reversed(pairs) if link is not None}
        chosen = sorted(links, key=links.__getitem__)[: int(n)]
        if not chosen:
            st.html('<div class="hint">None of the drawn links stands for a vector of its own.</div>')
            return
        asked = _asked(here, tuple(chosen))
        if line.button("Check them", key="check_links") or asked in here.payloads:
            _table(checked(here, asked), np.array([flow.link_mass[links[link]] for link in chosen]))


def _asked(here: Workspace, links: tuple[Link, ...]) -> LinkCheckView:
    assert here.shown is not None
    return LinkCheckView(here.shown.trace.id, links, position=here.shown.trace.prompt_length - 1)


def checked(here: Workspace, asked: LinkCheckView) -> LinkCheck:
    """The measured effects, kept for the last few questions."""
    assert here.shown is not None
    engine = here.shown.engine
    made: LinkCheck = here.payload(asked, lambda: jobs.view(engine, asked, here.id, "check"))
    return made


def _table(found: LinkCheck, mass: np.ndarray) -> None:
    agree = (
        ""
        if np.isnan(found.rank_correlation)
        else f" Predicted and measured agree in order by {significant(found.rank_correlation)} (Spearman)."
    )
    st.html(
        f'<div class="hint">Effect on the lead of {token(found.shown[found.target])} over '
        f"{token(found.shown[found.contrast])}, {significant(found.metric)} as it is, noise floor "
        f"{significant(found.noise)}.{escaped(agree)}</div>"
    )
    frame = pd.DataFrame({"link": found.labels, "mass": mass, "measured": found.measured, "predicted": found.predicted})
    formats = {name: st.column_config.NumberColumn(format="%+.3f") for name in ("measured", "predicted")}
    st.dataframe(
        frame,
        hide_index=True,
        height=min(320, 38 + 35 * len(frame)),
        column_config=formats | {"mass": st.column_config.NumberColumn(format="percent")},
    )
