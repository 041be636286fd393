"""Checking links of the flow: what the book-keeping of sizes cannot say, the effect of taking a link away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from intravisto_core.figures.numbers import change, significant
from intravisto_core.records import LinkCheck
from intravisto_core.records.flow import Flow
from intravisto_core.request import Ablate, Intervention, KnockOut, Link, LinkCheckView
from intravisto_core.request.flow import FlowView
from intravisto_core.sites import Component, NodeKind, Site
from intravisto_ui.flow.lists import parse_node
from intravisto_ui.parts import claim_test
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.session.question import find_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, token_html
from intravisto_ui.session.workspace import Workspace

MOST = 200
HELP = (
    "The link's vector is taken out of where it joins the stream, and the model runs on. *Measured* is what really "
    "happens to the lead (logit difference) of one token over another; *predicted* is what the slope of the model says."
)
EDITED = (
    "Links are checked on the run without edits: choose *baseline* above. What an edit did to the answer is on the "
    "Injection page."
)
RESIDUAL = (
    "No edit takes a residual link away by itself, since parts read the same stream. Test the cell that it comes from."
)


@dataclass(frozen=True, slots=True)
class Effect:
    """Where the effect of a check is read: after a position, of the question's target over its contrast."""

    position: int
    target: str | int
    contrast: str | int

    def of(self, trace: str, links: tuple[Link, ...]) -> LinkCheckView:
        """The question about some links."""
        return LinkCheckView(trace, links, self.target, self.contrast, self.position)


def link_of(source: str, target: str) -> Link | None:
    """The vector that a flow link stands for; None where it stands for none of its own.

    source, target: node ids. What an MLP reads and the way to the final norm are no vectors that join the stream.
    """
    kind, _, at = parse_node(source)
    upper, row, position = parse_node(target)
    layer = row - 1
    if kind == NodeKind.ATTENTION:
        return Link(Component.ATTENTION, layer, position)
    if kind == NodeKind.MLP:
        return Link(Component.MLP, layer, position)
    if kind == NodeKind.MID and upper == NodeKind.BLOCK:
        return Link(Component.MID, layer, position)
    if kind != NodeKind.BLOCK or upper == NodeKind.MLP or parse_node(source)[1] == row:
        return None
    if upper == NodeKind.ATTENTION:
        return Link(Component.ATTENTION, layer, position, source=at)
    return Link(Component.BLOCK, layer, position) if parse_node(source)[1] == layer else None


def write_edit(link: Link) -> Intervention | None:
    """The edit that takes a link away in any prompt; None of the residual ones, which no edit takes away by itself."""
    here = (link.position,)
    if link.component is Component.ATTENTION and link.source is not None:
        return KnockOut(link.layer, here, (link.source,))
    sites = {Component.ATTENTION: Site.ATTN_OUT, Component.MLP: Site.MLP_OUT}
    return Ablate(sites[link.component], link.layer, here) if link.component in sites else None


def read_effect(workspace: Workspace, shown: Shown, start: int | str) -> Effect:
    """Where the effect is read, as the fields of `_draw_fields` say. start: the flow's position, or all generated."""
    chosen, n_positions = workspace.options, len(shown.trace.tokens)
    own = shown.trace.prompt_length - 1 if isinstance(start, str) else start % n_positions
    at = chosen.get("check_position")
    position = own if at is None or at >= n_positions else int(at)
    asked = find_question(workspace, shown, position)
    return Effect(position, asked.target.typed, asked.rival.typed)


def ask_of(workspace: Workspace, shown: Shown, links: tuple[Link, ...], position: int) -> LinkCheckView:
    """The question what some links do to the question's target and contrast after a position."""
    asked = find_question(workspace, shown, position)
    return Effect(position, asked.target.typed, asked.rival.typed).of(shown.trace.id, links)


def draw(workspace: Workspace, shown: Shown, source: str, target: str, n_layers: int, start: int | str) -> None:
    """A button that checks one link, and what came of it. start: the position that the flow starts from."""
    link = None if parse_node(target)[1] > n_layers else link_of(source, target)
    if link is None:
        st.html('<div class="hint">This link stands for no vector of its own, so there is nothing to take away.</div>')
        return
    if is_edited(workspace, shown):
        st.html(f'<div class="hint">{escape_html(EDITED.replace("*", ""))}</div>')
        return
    effect = read_effect(workspace, shown, start)
    view = effect.of(shown.trace.id, (link,))
    line = st.container(horizontal=True, gap="small", key="link_actions")
    pressed = draw_press(line.button, "Check this link", key="check_link", help=HELP)
    edit = write_edit(link)
    help = RESIDUAL if edit is None else claim_test.HELP
    if draw_press(line.button, "Test this", key="link_test", help=help, disabled=edit is None):
        assert edit is not None
        claim_test.open_test_here(workspace, edit)
    if not pressed and view not in workspace.kept:
        st.html(f'<div class="hint">Its effect after position {effect.position}; set below the picture.</div>')
        return
    found = check_links(workspace, shown, view)
    st.html(
        f'<div class="why">Without it, {describe_lead(found)}, now {significant(found.metric)}, changes by '
        f"<b>{change(float(found.measured[0]))}</b> (predicted {change(float(found.predicted[0]))}; doing nothing "
        f"changes it by {significant(found.noise)}).</div>"
    )


def is_edited(workspace: Workspace, shown: Shown) -> bool:
    """Whether the run that is shown is one with edits."""
    return workspace.base is not None and shown.trace.id != workspace.base.trace.id


def draw_checks(workspace: Workspace, shown: Shown, flow: Flow, view: FlowView) -> None:
    """The strongest links of a picture, checked at once; and what all checks measure."""
    with st.expander("Check links: what if they were taken away?"):
        if is_edited(workspace, shown):
            st.html(f'<div class="hint">{escape_html(EDITED.replace("*", ""))}</div>')
            return
        st.html(f'<div class="hint">{escape_html(HELP.replace("*", ""))}</div>')
        n, pressed = _draw_fields(workspace, shown, view.position)
        mass = workspace.keep((view, "links that can be checked"), lambda: checkable(flow))
        chosen = tuple(mass)[:n]
        if not chosen:
            st.html('<div class="hint">None of the drawn links stands for a vector of its own.</div>')
            return
        asked = read_effect(workspace, shown, view.position).of(shown.trace.id, chosen)
        if pressed or asked in workspace.kept:
            _draw_table(check_links(workspace, shown, asked), np.array([mass[link] for link in chosen]))


def _draw_fields(workspace: Workspace, shown: Shown, start: int | str) -> tuple[int, bool]:
    """Of how many links, which effect, and whether to check them now."""
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="check_line")
    draw_kept(
        line.number_input,
        "After position",
        key="check_position",
        default=None,
        valid=lambda v: v is None or 0 <= v < len(shown.trace.tokens),
        min_value=0,
        max_value=len(shown.trace.tokens) - 1,
        step=1,
        width=132,
        placeholder=str(read_effect(workspace, shown, start).position),
        help="Where the effect is read: at the token that is said after this position. Empty: where the flow starts "
        "(all generated tokens: the last position of the prompt).",
    )
    how_many = "How many of the drawn links are checked, the heaviest first."
    n = draw_kept(
        line.number_input,
        "Links",
        key="check_n",
        default=20,
        min_value=1,
        max_value=MOST,
        width=110,
        help=how_many,
    )
    return int(n), draw_press(line.button, "Check them", key="check_links")


def checkable(flow: Flow) -> dict[Link, float]:
    """The drawn links that stand for a vector of their own, the heaviest first, and their mass."""
    names = flow.node_id
    found: dict[Link, float] = {}
    for s, t, mass in zip(flow.link_source.tolist(), flow.link_target.tolist(), flow.link_mass.tolist(), strict=True):
        if flow.node_row[t] <= flow.n_layers and (link := link_of(names[s], names[t])) is not None:
            found.setdefault(link, mass)
    return found


def describe_lead(found: LinkCheck) -> str:
    """What the effects are effects on, as HTML."""
    target, contrast = (token_html(found.shown[i]) for i in (found.target, found.contrast))
    return f"the lead of {target} over {contrast} after position {found.position}"


def check_links(workspace: Workspace, shown: Shown, view: LinkCheckView) -> LinkCheck:
    """The measured effects, kept for the last few questions."""
    return workspace.read_view(shown.engine, view, "check")


def _draw_table(found: LinkCheck, mass: np.ndarray) -> None:
    agree = (
        ""
        if np.isnan(found.rank_correlation)
        else f" Predicted and measured agree in order by {significant(found.rank_correlation)} (Spearman)."
    )
    st.html(
        f'<div class="hint">Effect on {describe_lead(found)}, {significant(found.metric)} as it is, noise floor '
        f"{significant(found.noise)}.{escape_html(agree)}</div>"
    )
    import pandas as pd

    frame = pd.DataFrame({"link": found.labels, "mass": mass, "measured": found.measured, "predicted": found.predicted})
    formats = {name: st.column_config.NumberColumn(format="%+.3f") for name in ("measured", "predicted")}
    st.dataframe(
        frame,
        hide_index=True,
        height=min(320, 38 + 35 * len(frame)),
        column_config=formats | {"mass": st.column_config.NumberColumn(format="percent")},
    )
