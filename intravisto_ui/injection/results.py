"""What followed from the edits: both texts, log-probabilities, a difference map, numbers with their noise floors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from intravisto_core.figures.numbers import change, nats, probability, significant
from intravisto_core.figures.theme import colour_scale, css, ink_on
from intravisto_core.figures.web import Mark, comparison_payload, grid_payload
from intravisto_core.records import Comparison
from intravisto_core.request import CompareView, HeatmapView
from intravisto_core.sites import Component
from intravisto_ui.parts import components, token_field
from intravisto_ui.parts.choices import named
from intravisto_ui.parts.kept import kept
from intravisto_ui.session import edit_marks, jobs
from intravisto_ui.session.edit_stack import EditRun
from intravisto_ui.session.text import escaped, token
from intravisto_ui.session.workspace import Workspace

PICTURES = {"difference": "difference map", "both": "baseline and edited"}
COLOURS = {
    "kl": "KL from the baseline",
    "distance": "distance moved",
    "difference": "change of logit difference",
}
COLOUR_HELP = (
    "**KL from the baseline**: how far the cell's prediction moved; 0 is the same.  \n**distance moved**: how far the "
    "vector itself moved, as a share of its length.  \n**change of logit difference**: of the two tokens named above."
)


def draw(here: Workspace, node: EditRun) -> CompareView | None:
    """Everything about one edited run beside its baseline; returns what is compared, if anything is yet."""
    if node.held is None:
        return None
    compared = _options(here, node)
    record = comparison(here, compared)
    if node.story:
        st.html(f'<div class="story">{escaped(node.story)}</div>')
    _texts(here, node, record)
    headline(record)
    _strip(record)
    _picture(here, node, record, compared)
    _tokens(record)
    for note in (*record.notes, *node.held.notes):
        st.html(f'<div class="hint">{escaped(note)}</div>')
    return compared


def baseline(here: Workspace) -> None:
    """The run without edits: a click on a cell puts its place into the form."""
    assert here.base is not None
    st.html('<div class="cap">The baseline. Click a cell, and the form at the left is about its place.</div>')
    asked = HeatmapView(here.base.trace.id)
    payload = here.payload((asked, "edit"), lambda: _grid(here, asked, asked.trace))
    components.grid(payload, key="grid_baseline_alone", on_select=here.select)


def comparison(here: Workspace, view: CompareView) -> Comparison:
    """The record of a comparison, kept for the last few views."""
    assert here.base is not None
    engine = here.base.engine
    made: Comparison = here.payload(view, lambda: jobs.view(engine, view, here.id, "compare"))
    return made


def _options(here: Workspace, node: EditRun) -> CompareView:
    assert here.base is not None
    engine = here.base.engine
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="effect_options")
    target = token_field.draw(
        line,
        engine,
        "Lead of",
        key="effect_target",
        placeholder="the answer",
        help="Its logit, less that of the other token, is the number that edits are judged by.",
        width=220,
    )
    contrast = token_field.draw(
        line,
        engine,
        "over",
        key="effect_contrast",
        placeholder="the runner-up",
        help="The token it is compared with.",
        width=220,
    )
    names = {c: c.label for c in Component}
    component = named(line, "Component", "effect_component", names, "", Component.BLOCK, width=150)
    last = here.base.trace.prompt_length - 1
    return CompareView(
        here.base.trace.id,
        node.held.id,
        target or None,
        contrast or None,
        position=last,
        component=component,
    )


def _texts(here: Workspace, node: EditRun, record: Comparison) -> None:
    """What the model wrote before and after; without a free run the held one's answer after the prompt."""
    assert here.base is not None
    start = here.base.trace.prompt_length
    before = [t.shown for t in here.base.trace.tokens[start:]]
    after = [t.shown for t in node.free.tokens[start:]] if node.free is not None else None
    columns = st.columns(2)
    columns[0].html(f'<div class="cap">Baseline writes</div>{_written(before, before)}')
    if after is None:
        words = "still writing …" if not node.ended else "the model was not let to write on"
        columns[1].html(f'<div class="cap">Edited writes</div><div class="hint">{words}</div>')
    else:
        columns[1].html(f'<div class="cap">Edited writes</div>{_written(after, before)}')


def _written(tokens: list[str], others: list[str]) -> str:
    if not tokens:
        return '<div class="wrote"><i>nothing was generated</i></div>'
    same = next(
        (i for i, (a, b) in enumerate(zip(tokens, others, strict=False)) if a != b), min(len(tokens), len(others))
    )
    parts = [f"<span>{token(t)}</span>" for t in tokens[:same]] + [f"<mark>{token(t)}</mark>" for t in tokens[same:]]
    return f'<div class="wrote">{"".join(parts)}</div>'


def headline(record: Comparison) -> None:
    """The effect at the position that says the answer, each number with what doing nothing makes."""
    at = record.position
    name = f"{record.shown[record.target]} less {record.shown[record.contrast]}"
    rows = [
        (
            f"logit difference {name}",
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
    heads = ("at the end of the prompt", "baseline", "edited", "change", "noise floor")
    cells = "".join("<tr>" + "".join(f"<td>{escaped(str(value))}</td>" for value in row) + "</tr>" for row in rows)
    head = "".join(f"<th>{h}</th>" for h in heads)
    st.html(f'<table class="effects"><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>')


def _strip(record: Comparison) -> None:
    """The tokens of the text, each coloured by how its log-probability changed."""
    changes = (record.edited_log_prob - record.log_prob)[: len(record.tokens) - 1]
    most = float(np.nanmax(np.abs(changes), initial=0.0)) or 1.0
    scales = [colour_scale("diverging", dark) for dark in (False, True)]
    pieces = []
    for read, moved in zip(record.tokens[1:], changes, strict=False):
        step = 128 if np.isnan(moved) else round(127.5 * (1 + float(moved) / most))
        fills = [scale[step] for scale in scales]
        style = f"background: {_both(*map(css, fills))}; color: {_both(*(css(ink_on(f)) for f in fills))}"
        pieces.append(f'<span style="{style}" title="{change(float(moved))} in ln p">{token(read.shown)}</span>')
    if pieces:
        st.html(
            '<div class="cap">Each token, by the change of its log-probability</div>'
            f'<div class="moved">{"".join(pieces)}</div>'
            f'<div class="hint">from {change(-most)} (less likely with the edits) to {change(most)} (more likely)</div>'
        )


def _both(light: str, dark: str) -> str:
    return f"light-dark({light}, {dark})"


def _picture(here: Workspace, node: EditRun, record: Comparison, view: CompareView) -> None:
    assert here.base is not None
    assert here.shown is not None
    # One selection for all pictures, which the strip of tokens shows too.
    rev = here.shown.trace.id
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="effect_picture")
    picture = kept(
        line.segmented_control,
        "Picture",
        key="effect_shown",
        default="difference",
        valid=lambda v: v in PICTURES,
        options=list(PICTURES),
        format_func=PICTURES.__getitem__,
        required=True,
    )
    if picture == "both":
        both = {"baseline": (here.base.trace, ()), "edited": (node.held, edit_marks.marks_of(here, node))}
        with st.container(key="effect_both"):
            places = st.columns(2)
        for place, (name, (trace, marks)) in zip(places, both.items(), strict=True):
            with place:
                st.html(f'<div class="cap">{name}</div>')
                asked = HeatmapView(trace.id, view.component)
                payload = here.payload(
                    (asked, rev, name), lambda asked=asked, marks=marks, name=name: _grid(here, asked, rev, marks, name)
                )
                components.grid(payload, key=f"grid_{name}", on_select=here.select)
        return
    offered = {c: name for c, name in COLOURS.items() if c != "kl" or np.isfinite(record.grid_kl).any()}
    colour = named(line, "Colour", "effect_colour", offered, COLOUR_HELP, next(iter(offered)), width=230)
    marks = edit_marks.marks_of(here, node)
    payload = here.payload((view, colour, rev, "map"), lambda: comparison_payload(record, colour, marks, rev))
    components.grid(payload, key="grid_difference", on_select=here.select)


def _grid(here: Workspace, asked: HeatmapView, rev: str, marks: Sequence[Mark] = (), side: str = "") -> bytes:
    assert here.base is not None
    grid = jobs.view(here.base.engine, asked, here.id, f"edit-{asked.trace}")
    return grid_payload(grid, "logit" if grid.is_update else "p_max", marks=marks, rev=rev, side=side)


def _tokens(record: Comparison) -> None:
    """Log-probability of each token of the text, before and after."""
    n = record.n_compared
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
