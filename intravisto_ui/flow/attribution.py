"""Direct logit attribution as bars: components, then heads, then neurons; target and contrast can be typed."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.figures.numbers import change, significant
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.lines import KINDS, Line, Lines, largest_part, part_line, remainder_line
from intravisto_core.figures.web.lines import lines_data as packed
from intravisto_core.figures.words import score_in_words as measured
from intravisto_core.figures.words import score_sums
from intravisto_core.records import Attribution, NextTokens, row_label
from intravisto_core.request import NextTokensView
from intravisto_core.request.flow import AttributionView
from intravisto_core.sites import Part, Refinement
from intravisto_ui.parts import components, export_menu, token_field
from intravisto_ui.parts.choices import named
from intravisto_ui.parts.theme import INK, LINES, short_row, theme
from intravisto_ui.session import jobs
from intravisto_ui.session.text import escaped, token
from intravisto_ui.session.workspace import Shown, Workspace

RUNNER_UP, MEAN, TYPED = "runner-up", "mean", "typed"
CONTRASTS = {RUNNER_UP: "the runner-up", MEAN: "the mean of all tokens", TYPED: "another token"}
ORDERS = {"layer": "by layer", "size": "by size"}
NEURONS = 20
OPENS = {Part.ATTENTION: Refinement.HEADS, Part.MLP: Refinement.NEURONS}
CONTRAST_HELP = (
    "What the target is compared with. The difference of two scores says why this token and not that one. Against the "
    "mean: why this token rather than any."
)


def draw(here: Workspace, line: Any) -> None:
    """The whole tab."""
    shown = here.shown
    assert shown is not None
    order = _options(shown)
    asked = view(here)
    found = record(here, asked)
    call = f"parts = trace.attribution({export_menu.arguments(asked)})"
    export_menu.menu(line, here, asked, "attribution", dict, [call, 'parts.save("attribution.html")'])
    room = st.container(horizontal=True, gap="small", key="stage")
    with room.container(width="stretch", key="picture"):
        _bars(here, asked, found, order)
    with room.container(width=340, key="detail", border=True):
        _sums(found)
        with st.container(key="flow_more_of_it"):
            st.plotly_chart(
                accumulated(found, theme()), key="flow_accumulated", theme=None, config={"displayModeBar": False}
            )
            st.html(
                '<div class="hint">The stream after each row, read by the final norm at its scale in this run. The '
                "last point is the model's own.</div>"
            )


def _options(shown: Shown) -> str:
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="options")
    token_field.draw(
        line.container(width=230, key="flow_target_slot"),
        shown.engine,
        "Target",
        key="flow_target",
        placeholder="what the text goes on with",
        help="The token whose score is taken apart. Empty: the token that the text goes on with, else the model's own "
        "top token.",
    )
    how = named(line, "Against", "flow_contrast_kind", CONTRASTS, CONTRAST_HELP, RUNNER_UP, width=190)
    if how == TYPED:
        token_field.draw(
            line.container(width=230, key="flow_contrast_slot"),
            shown.engine,
            "Contrast",
            key="flow_contrast",
            placeholder="a token",
            help="The token that the target is compared with. Empty: the mean of all tokens.",
        )
    return named(
        line, "Order", "flow_order", ORDERS, "Bottom to top of the model, or the largest first.", "layer", width=120
    )


def position_of(here: Workspace) -> int:
    """The position whose next token is spoken of: the selected one, else the last of the prompt."""
    assert here.shown is not None
    place = here.place.position
    return here.shown.trace.prompt_length - 1 if place is None else place


def chosen_tokens(here: Workspace, position: int | None = None) -> tuple[str | int | None, str | int | None]:
    """Target and contrast, as `AttributionView` takes them."""
    assert here.shown is not None
    at = position_of(here) if position is None else position
    tokens, asked = here.shown.trace.tokens, here.options
    typed = (
        (asked.get("flow_target") or "") if token_field.read(here.shown.engine, asked.get("flow_target") or "") else ""
    )
    generated = at + 1 < len(tokens) and at + 1 >= here.shown.trace.prompt_length
    target: str | int | None = typed or (tokens[at + 1].id if generated else None)
    how = asked.get("flow_contrast_kind", RUNNER_UP)
    if how == TYPED:
        text = asked.get("flow_contrast") or ""
        return target, text if token_field.read(here.shown.engine, text) else None
    return target, _runner_up(here, at, target) if how == RUNNER_UP else None


def _runner_up(here: Workspace, position: int, target: str | int | None) -> int | None:
    """The most probable token at a position that is not the target."""
    shown = here.shown
    assert shown is not None
    asked = NextTokensView(shown.trace.id, position, n=2)
    odds: NextTokens = here.payload(asked, lambda: jobs.view(shown.engine, asked, here.id, "flow-odds"))
    own = token_field.read(shown.engine, target)[0].id if isinstance(target, str) else target
    first = int(odds.token_ids[0]) if own is None else own
    return next((int(i) for i in odds.token_ids if int(i) != first), None)


def view(here: Workspace, **changes: Any) -> AttributionView:
    """What is asked for; `changes`: how finely, and of which layer."""
    assert here.shown is not None
    target, contrast = chosen_tokens(here)
    return AttributionView(here.shown.trace.id, target, contrast, position_of(here), **changes)


def record(here: Workspace, asked: AttributionView) -> Attribution:
    """The attribution, asked for once."""
    shown = here.shown
    assert shown is not None
    return here.payload(asked, lambda: jobs.view(shown.engine, asked, here.id, "flow-attribution"))


def opened(here: Workspace) -> set[str]:
    """Ids of the bars that are unfolded."""
    found: set[str] = here.options.setdefault("flow_open", set())
    return found


def toggle(here: Workspace, id: str) -> None:
    """Unfold a bar, or fold it."""
    opened(here).symmetric_difference_update({id})


def _bars(here: Workspace, asked: AttributionView, found: Attribution, order: str) -> None:
    size = largest_part(found)
    picks = list(range(len(found.value)))
    if order == "size":
        picks.sort(key=lambda i: -abs(float(found.value[i])))
    lines: list[Line] = []
    for i in picks:
        kind, layer = Part(str(found.kind[i])), int(found.layer[i])
        id = f"{kind}.{layer}" if kind in OPENS else None
        is_open = id is not None and id in opened(here)
        lines.append(part_line(found, i, size, id=id, open=is_open))
        if is_open:
            finer = view(here, by=OPENS[kind], layer=layer, n=NEURONS)
            lines += _inside(record(here, finer), kind, layer, size)
    lines.append(remainder_line(found, size))
    heading = f"What each part adds to the {measured(found)}"
    data = packed(asked.trace, [Lines(heading, lines, ("change",))]) | {"signed": True, "narrow": True}
    components.links(data, key="flow_bars", on_select=here.select, on_open=lambda id: toggle(here, id))
    st.html(
        '<div class="hint">Exact: the parts and the remainder add up to the score. Direct effects only, at the final '
        "norm's scale in this run; what a part prepares for later layers is not counted.</div>"
    )
    for note in found.notes:
        st.html(f'<div class="hint">{escaped(note)}</div>')


def _inside(finer: Attribution, kind: Part, layer: int, size: float) -> list[Line]:
    """The heads of an attention, or the neurons of an MLP, the largest first."""
    colour = "attention" if kind is Part.ATTENTION else "mlp"
    own = [
        i for i in range(len(finer.value)) if finer.layer[i] == layer and KINDS.get(Part(str(finer.kind[i]))) == colour
    ]
    own.sort(key=lambda i: -abs(float(finer.value[i])))
    return [part_line(finer, i, size, level=1) for i in own]


def _sums(found: Attribution) -> None:
    target = printable(found.target)
    rival = f" over {token(printable(found.contrast))}" if found.contrast_id >= 0 else " over the mean of all tokens"
    cells = "".join(
        f'<tr><th scope="row">{name}</th><td class="num">{change(v)}</td></tr>' for name, v in score_sums(found)
    )
    st.html(
        f'<div class="title"><b>{token(target)}</b>{rival}</div>'
        f'<div class="under">after position {found.position}</div><table class="facts">{cells}</table>'
    )


def accumulated(found: Attribution, mode: str) -> Any:
    """The score as it is reached row by row."""
    import plotly.graph_objects as go

    ink, muted, rule = INK[mode]
    labels = [row_label(r, found.n_layers) for r in range(found.n_layers + 2)]
    values = [float(v) for v in found.accumulated]
    line = go.Scatter(
        x=list(range(len(labels))),
        y=values,
        mode="lines+markers" if len(labels) <= 18 else "lines",
        line={"color": LINES[mode][0], "width": 2},
        marker={"size": 5},
        customdata=[(name, significant(v)) for name, v in zip(labels, values, strict=True)],
        hovertemplate="%{customdata[0]}: %{customdata[1]}<extra></extra>",
    )
    every = max(1, -(-len(labels) // 9))
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True, "linecolor": rule, "tickangle": 0}
    return go.Figure(line).update_layout(
        height=220,
        margin={"l": 38, "r": 8, "t": 26, "b": 24},
        dragmode=False,
        title={"text": "Score over the layers (logit)", "font": {"size": 12, "color": ink}, "x": 0, "y": 0.98},
        font={"size": 11, "color": muted, "family": '"Source Sans", sans-serif'},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        xaxis={
            "tickvals": list(range(0, len(labels), every)),
            "ticktext": [short_row(label) for label in labels[::every]],
            **axis,
        },
        yaxis={"fixedrange": True, "gridcolor": rule, "zerolinecolor": muted, "zerolinewidth": 1},
    )
