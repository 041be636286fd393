"""What followed from the edits: both texts, log-probabilities, a difference map, numbers with their noise floors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import streamlit as st

from intravisto_core.engine import Trace
from intravisto_core.figures.numbers import change, nats, probability, significant
from intravisto_core.figures.theme import colour_scale, css, ink_on
from intravisto_core.figures.web import Mark, comparison_payload, grid_payload
from intravisto_core.records import Comparison
from intravisto_core.request import CompareView, HeatmapView
from intravisto_core.sites import Component
from intravisto_ui.injection import moved_tokens
from intravisto_ui.parts import components, problems, stage
from intravisto_ui.parts.choices import draw_named_choice, draw_segments
from intravisto_ui.session import edit_marks, jobs
from intravisto_ui.session.edit_tree import EditRun
from intravisto_ui.session.question import find_asked_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, token_html
from intravisto_ui.session.workspace import Workspace

PICTURES = {"difference": "difference map", "both": "baseline and edited"}
COLOURS = {
    "kl": "KL from the baseline",
    "distance": "distance moved",
    "difference": "change of the lead",
}
COLOUR_HELP = (
    "**KL from the baseline**: how far the cell's prediction moved; 0 is the same.  \n**distance moved**: how far the "
    "vector itself moved, as a share of its length.  \n**change of the lead**: of one of the two "
    "tokens above over the other, in logits."
)


def draw(workspace: Workspace, base: Shown, node: EditRun) -> CompareView | None:
    """Everything about one edited run beside its baseline; returns what is compared, if anything is yet."""
    if node.held is None:
        return None
    view = _draw_options(workspace, base, node.held)
    record = read_comparison(workspace, base, view)
    if node.story:
        st.html(f'<div class="story">{escape_html(node.story)}</div>')
    _draw_texts(base, node)
    draw_effects(record)
    moved_tokens.draw(workspace, base, node.held, record.position)
    _draw_strip(record)
    _draw_picture(workspace, base, node, record, view)
    _draw_tokens(record)
    # the comparison may bring along what the edited run says already
    for note in dict.fromkeys((*record.notes, *node.held.notes)):
        st.html(f'<div class="hint">{escape_html(note)}</div>')
    return view


BASELINE = "The baseline. Click a cell, and the form at the left is about its place."


def draw_baseline(workspace: Workspace, base: Shown, caption: str = BASELINE) -> None:
    """The heatmap of `base` alone: without edits, a click on a cell puts its place into the form."""
    st.html(f'<div class="cap">{escape_html(caption)}</div>')
    view = HeatmapView(base.trace.id)
    with stage.draw_whole(), problems.guard():
        payload = workspace.keep((view, "edit"), lambda: _grid_payload(workspace, base, view, view.trace))
        components.draw_grid(payload, key="grid_baseline_alone", on_select=workspace.select)


def read_comparison(workspace: Workspace, base: Shown, view: CompareView) -> Comparison:
    """The record of a comparison, kept for the last few views."""
    return workspace.read_view(base.engine, view, "compare")


def _draw_options(workspace: Workspace, base: Shown, held: Trace) -> CompareView:
    """What is compared: the lead of the question's target over its contrast, in the cells of one component."""
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="effect_options")
    asked = find_asked_question(workspace, base)
    names = {c: c.label for c in Component}
    component = draw_named_choice(line, "Component", "effect_component", names, "", Component.BLOCK, width=150)
    return CompareView(
        base.trace.id,
        held.id,
        asked.target.typed,
        asked.rival.typed,
        position=asked.position,
        component=component,
    )


def _draw_texts(base: Shown, node: EditRun) -> None:
    """What the model wrote before and after; without a free run the held one's answer after the prompt."""
    start = base.trace.prompt_length
    before = [t.shown for t in base.trace.tokens[start:]]
    columns = st.columns(2)
    columns[0].html(f'<div class="cap">Baseline writes</div>{_text_html(before, before)}')
    if node.free is None:
        words = "still writing …" if not node.ended else "the model was not let to write on"
        columns[1].html(f'<div class="cap">Edited writes</div><div class="hint">{words}</div>')
    else:
        after = [t.shown for t in node.free.tokens[start:]]
        columns[1].html(f'<div class="cap">Edited writes</div>{_text_html(after, before)}')


def _text_html(tokens: list[str], others: list[str]) -> str:
    if not tokens:
        return '<div class="wrote"><i>nothing was generated</i></div>'
    same = next(
        (i for i, (a, b) in enumerate(zip(tokens, others, strict=False)) if a != b), min(len(tokens), len(others))
    )
    parts = [f"<span>{token_html(t)}</span>" for t in tokens[:same]] + [
        f"<mark>{token_html(t)}</mark>" for t in tokens[same:]
    ]
    return f'<div class="wrote">{"".join(parts)}</div>'


def draw_effects(record: Comparison) -> None:
    """The effect at the position that says the answer, each number with what doing nothing makes."""
    at = record.position
    pair = f"{record.shown[record.target]} over {record.shown[record.contrast]}"
    rows = [
        (
            f"lead of {pair} (logits)",
            significant(float(record.logit_difference[at])),
            significant(float(record.edited_logit_difference[at])),
            change(float(record.edited_logit_difference[at] - record.logit_difference[at])),
            significant(record.noise["logit_difference"]),
        ),
        (
            "top token",
            record.shown[int(record.top_ids[at])],
            record.shown[int(record.edited_top_ids[at])],
            "same" if record.top_ids[at] == record.edited_top_ids[at] else "changed",
            "–",
        ),
        ("KL (baseline ‖ edited)", "–", "–", nats(float(record.kl[at])), nats(record.noise["kl"])),
    ]
    if np.isfinite(record.log_prob[at]):
        before, after = float(record.log_prob[at]), float(record.edited_log_prob[at])
        rows.insert(
            2,
            (
                "probability of the token that came",
                probability(float(np.exp(before))),
                probability(float(np.exp(after))),
                f"{change(after - before)} in ln p",
                significant(record.noise["log_prob"]),
            ),
        )
    heads = (f"after position {at} ‘{record.tokens[at].shown}’", "baseline", "edited", "change", "noise floor")
    cells = "".join("<tr>" + "".join(f"<td>{escape_html(str(value))}</td>" for value in row) + "</tr>" for row in rows)
    head = "".join(f"<th>{escape_html(h)}</th>" for h in heads)
    st.html(f'<table class="effects"><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>')


def _draw_strip(record: Comparison) -> None:
    """The tokens of the text, each coloured by how its log-probability changed."""
    changes = (record.edited_log_prob - record.log_prob)[: len(record.tokens) - 1]
    most = float(np.nanmax(np.abs(changes), initial=0.0)) or 1.0
    scales = [colour_scale("diverging", dark) for dark in (False, True)]
    pieces = []
    for read, moved in zip(record.tokens[1:], changes, strict=False):
        step = 128 if np.isnan(moved) else round(127.5 * (1 + float(moved) / most))
        fills = [scale[step] for scale in scales]
        style = f"background: {_both(*map(css, fills))}; color: {_both(*(css(ink_on(f)) for f in fills))}"
        pieces.append(f'<span style="{style}" title="{change(float(moved))} in ln p">{token_html(read.shown)}</span>')
    if pieces:
        st.html(
            '<div class="cap">Each token, by the change of its log-probability</div>'
            f'<div class="moved">{"".join(pieces)}</div>'
            f'<div class="hint">from {change(-most)} (less likely with the edits) to {change(most)} (more likely)</div>'
        )


def _both(light: str, dark: str) -> str:
    return f"light-dark({light}, {dark})"


def _draw_picture(workspace: Workspace, base: Shown, node: EditRun, record: Comparison, view: CompareView) -> None:
    # one selection for all pictures, which the strip of tokens shows too
    rev = (workspace.shown or base).trace.id
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="effect_picture")
    with line:
        picture = draw_segments("Picture", "effect_shown", PICTURES, "difference")
    marks = edit_marks.marks_of_run(base, node)
    if picture == "both":
        _draw_both(workspace, base, node, view.component, rev)
        return
    offered = {c: name for c, name in COLOURS.items() if c != "kl" or np.isfinite(record.grid_kl).any()}
    colour = draw_named_choice(line, "Colour", "effect_colour", offered, COLOUR_HELP, next(iter(offered)), width=230)
    payload = workspace.keep((view, colour, rev, "map"), lambda: comparison_payload(record, colour, marks, rev))
    components.draw_grid(payload, key="grid_difference", on_select=workspace.select)


def _draw_both(workspace: Workspace, base: Shown, node: EditRun, component: Component, rev: str) -> None:
    """The baseline's heatmap, and the edited run's beside it."""
    with st.container(key="effect_both"):
        columns = st.columns(2)
    marks = edit_marks.marks_of_run(base, node)
    for column, side, trace, outlined in (
        (columns[0], "baseline", base.trace, ()),
        (columns[1], "edited", node.held, marks),
    ):
        if trace is None:
            continue
        view = HeatmapView(trace.id, component)
        make = partial(_grid_payload, workspace, base, view, rev, outlined, side)
        with column:
            st.html(f'<div class="cap">{side}</div>')
            payload = workspace.keep((view, rev, side), make)
            components.draw_grid(payload, key=f"grid_{side}", on_select=workspace.select)


def _grid_payload(
    workspace: Workspace, base: Shown, view: HeatmapView, rev: str, marks: Sequence[Mark] = (), side: str = ""
) -> bytes:
    grid = jobs.compute_view(base.engine, view, workspace.id, f"edit-{view.trace}")
    return grid_payload(grid, "logit" if grid.is_update else "p_max", marks=marks, rev=rev, side=side)


def _draw_tokens(record: Comparison) -> None:
    """Log-probability of each token of the text, before and after."""
    n = record.n_compared
    import pandas as pd

    frame = pd.DataFrame(
        {
            "position": range(n),
            "reads": [t.shown for t in record.tokens[:n]],
            "next in the text": [record.tokens[p + 1].shown if p + 1 < len(record.tokens) else "–" for p in range(n)],
            "ln p, baseline": record.log_prob,
            "ln p, edited": record.edited_log_prob,
            "KL, nats": record.kl,
            "says, baseline": [record.shown[int(i)] for i in record.top_ids],
            "says, edited": [record.shown[int(i)] for i in record.edited_top_ids],
        }
    )
    with st.expander("Token by token"):
        st.dataframe(frame, hide_index=True, height=min(420, 38 + 35 * len(frame)))
