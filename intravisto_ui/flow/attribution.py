"""Direct logit attribution as bars: components, then heads, then neurons; target and contrast can be typed."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.figures.numbers import change, significant
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.lines import KINDS, Line, Lines, largest_part, lines_data, part_line, remainder_line
from intravisto_core.figures.words import score_in_words, score_sums
from intravisto_core.records import Attribution, row_label
from intravisto_core.request import NextTokensView
from intravisto_core.request.flow import AttributionView
from intravisto_core.sites import Part, Refinement
from intravisto_ui.parts import components, edit_python, export_menu, stage, token_field
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.theme import INK, LINES, read_theme, short_row_label
from intravisto_ui.session.text import escape_html, token_html
from intravisto_ui.session.workspace import Shown, Workspace

if TYPE_CHECKING:
    import plotly.graph_objects as go


class Against(StrEnum):
    """What the target is compared with."""

    RUNNER_UP = "runner-up"
    MEAN = "mean"
    TYPED = "typed"


CONTRASTS = {
    Against.RUNNER_UP: "the runner-up",
    Against.MEAN: "the mean of all tokens",
    Against.TYPED: "another token",
}
ORDERS = {"layer": "by layer", "size": "by size"}
NEURONS = 20
OPENS = {Part.ATTENTION: Refinement.HEADS, Part.MLP: Refinement.NEURONS}
CONTRAST_HELP = (
    "What the target is compared with. The difference of two scores says why this token and not that one. Against the "
    "mean: why this token rather than any."
)


def draw(workspace: Workspace, shown: Shown, line: DeltaGenerator) -> None:
    """The whole view. line: the headline, for the export menu."""
    order = _draw_options(shown)
    view = build_view(workspace, shown)
    found = read_record(workspace, shown, view)
    lines = [
        *edit_python.write_shown_run(workspace, shown),
        f"parts = trace.attribution({export_menu.write_arguments(view)})",
        'parts.save("attribution.html")',
    ]
    export_menu.draw_menu(line, shown, workspace.id, view, "attribution", lines)
    picture_side, panel_side = stage.draw_stage()
    with picture_side:
        _draw_bars(workspace, shown, view, found, order)
    with panel_side:
        _draw_sums(found)
        with stage.draw_lower_half():
            figure = build_chart(found, read_theme())
            st.plotly_chart(figure, key="flow_accumulated", theme=None, config={"displayModeBar": False})
            st.html(
                '<div class="hint">The stream after each row, read by the final norm at its scale in this run. The '
                "last point is the model's own.</div>"
            )


def _draw_options(shown: Shown) -> str:
    line = stage.draw_option_line()
    token_field.draw(
        line.container(width=230, key="flow_target_slot"),
        shown.engine,
        "Target",
        key="flow_target",
        placeholder="what the text goes on with",
        help="The token whose score is taken apart. Empty: the token that the text goes on with, else the model's own "
        "top token.",
    )
    against = draw_named_choice(
        line, "Against", "flow_contrast_kind", CONTRASTS, CONTRAST_HELP, Against.RUNNER_UP, width=190
    )
    if against == Against.TYPED:
        token_field.draw(
            line.container(width=230, key="flow_contrast_slot"),
            shown.engine,
            "Contrast",
            key="flow_contrast",
            placeholder="a token",
            help="The token that the target is compared with. Empty: the mean of all tokens.",
        )
    return draw_named_choice(
        line, "Order", "flow_order", ORDERS, "Bottom to top of the model, or the largest first.", "layer", width=120
    )


def choose_position(workspace: Workspace, shown: Shown) -> int:
    """The position whose next token is spoken of: the selected one, else the last of the prompt."""
    selected = workspace.selection.position
    return shown.trace.prompt_length - 1 if selected is None else selected


def choose_tokens(workspace: Workspace, shown: Shown, position: int) -> tuple[str | int | None, str | int | None]:
    """Target and contrast at a position, as `AttributionView` takes them."""
    tokens, options, following = shown.trace.tokens, workspace.options, position + 1
    target: str | int | None = _readable(shown, options.get("flow_target"))
    if target is None and shown.trace.prompt_length <= following < len(tokens):
        target = tokens[following].id
    against = options.get("flow_contrast_kind", Against.RUNNER_UP)
    if against == Against.TYPED:
        return target, _readable(shown, options.get("flow_contrast"))
    return target, _find_runner_up(workspace, shown, position, target) if against == Against.RUNNER_UP else None


def _readable(shown: Shown, typed: str | None) -> str | None:
    """A typed text, where the model can read it."""
    return typed if typed and token_field.read_tokens(shown.engine, typed) else None


def _find_runner_up(workspace: Workspace, shown: Shown, position: int, target: str | int | None) -> int | None:
    """The most probable token at a position that is not the target."""
    odds = workspace.read_view(shown.engine, NextTokensView(shown.trace.id, position, n=2), "flow-odds")
    own = token_field.read_tokens(shown.engine, target)[0].id if isinstance(target, str) else target
    first = int(odds.token_ids[0]) if own is None else own
    return next((int(i) for i in odds.token_ids if int(i) != first), None)


def build_view(workspace: Workspace, shown: Shown) -> AttributionView:
    """What is asked for: all parts, unrefined."""
    position = choose_position(workspace, shown)
    target, contrast = choose_tokens(workspace, shown, position)
    return AttributionView(shown.trace.id, target, contrast, position)


def read_record(workspace: Workspace, shown: Shown, view: AttributionView) -> Attribution:
    """The attribution, asked for once."""
    return workspace.read_view(shown.engine, view, "flow-attribution")


def open_bars(workspace: Workspace) -> set[str]:
    """Ids of the bars that are unfolded."""
    found: set[str] = workspace.options.setdefault("flow_open", set())
    return found


def toggle_bar(workspace: Workspace, id: str) -> None:
    """Unfold a bar, or fold it."""
    open_bars(workspace).symmetric_difference_update({id})


def _draw_bars(workspace: Workspace, shown: Shown, view: AttributionView, found: Attribution, order: str) -> None:
    size = largest_part(found)
    picks = list(range(len(found.value)))
    if order == "size":
        picks.sort(key=lambda i: -abs(float(found.value[i])))
    lines: list[Line] = []
    for i in picks:
        kind, layer = Part(str(found.kind[i])), int(found.layer[i])
        id = f"{kind}.{layer}" if kind in OPENS else None
        is_open = id is not None and id in open_bars(workspace)
        lines.append(part_line(found, i, size, id=id, open=is_open))
        if is_open:
            finer = replace(view, by=OPENS[kind], layer=layer, n=NEURONS)
            lines += _finer_lines(read_record(workspace, shown, finer), kind, layer, size)
    lines.append(remainder_line(found, size))
    heading = f"What each part adds to the {score_in_words(found)}"
    data = lines_data(view.trace, [Lines(heading, lines, ("change",))]) | {"signed": True, "narrow": True}
    components.draw_links(
        data, key="flow_bars", on_select=workspace.select, on_open=lambda id: toggle_bar(workspace, id)
    )
    st.html(
        '<div class="hint">Exact: the parts and the remainder add up to the score. Direct effects only, at the final '
        "norm's scale in this run; what a part prepares for later layers is not counted.</div>"
    )
    for note in found.notes:
        st.html(f'<div class="hint">{escape_html(note)}</div>')


def _finer_lines(finer: Attribution, kind: Part, layer: int, size: float) -> list[Line]:
    """The heads of an attention, or the neurons of an MLP, the largest first."""
    colour = "attention" if kind is Part.ATTENTION else "mlp"
    own = [
        i for i in range(len(finer.value)) if finer.layer[i] == layer and KINDS.get(Part(str(finer.kind[i]))) == colour
    ]
    own.sort(key=lambda i: -abs(float(finer.value[i])))
    return [part_line(finer, i, size, level=1) for i in own]


def _draw_sums(found: Attribution) -> None:
    target = printable(found.target)
    rival = (
        f" over {token_html(printable(found.contrast))}" if found.contrast_id >= 0 else " over the mean of all tokens"
    )
    cells = "".join(
        f'<tr><th scope="row">{name}</th><td class="num">{change(v)}</td></tr>' for name, v in score_sums(found)
    )
    st.html(
        f'<div class="title"><b>{token_html(target)}</b>{rival}</div>'
        f'<div class="under">after position {found.position}</div><table class="facts">{cells}</table>'
    )


def build_chart(found: Attribution, mode: str) -> go.Figure:
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
            "ticktext": [short_row_label(label) for label in labels[::every]],
            **axis,
        },
        yaxis={"fixedrange": True, "gridcolor": rule, "zerolinecolor": muted, "zerolinewidth": 1},
    )
