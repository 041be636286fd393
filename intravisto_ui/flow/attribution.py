"""Direct logit attribution of the question in the frame: by heads, or by layers as bars that unfold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.figures.head_list import HeadOrder
from intravisto_core.figures.numbers import change, significant
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.lines import KINDS, Line, Lines, largest_part, lines_data, part_line, remainder_line
from intravisto_core.figures.words import score_in_words, score_sums
from intravisto_core.records import Attribution, row_label
from intravisto_core.request.flow import AttributionView
from intravisto_core.sites import Capability, Part, Refinement
from intravisto_ui.flow import heads, part_panel
from intravisto_ui.parts import circuit_start, components, edit_python, export_menu, problems, stage
from intravisto_ui.parts.choices import draw_named_choice, draw_segments
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.parts.theme import INK, LINES, read_theme, short_row_label
from intravisto_ui.session.question import find_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import hint_html, token_html
from intravisto_ui.session.workspace import Workspace

if TYPE_CHECKING:
    import plotly.graph_objects as go


CUTS = {Refinement.HEADS: "heads", Refinement.COMPONENTS: "layers"}
CUT_HELP = (
    "**heads**: what each head of every layer adds, as a map and as one list.  \n**layers**: what attention and MLP of "
    "each layer add, and how the score grows from layer to layer; a line unfolds into heads or neurons."
)
ORDERS = {"layer": "by layer", "size": "by size"}
NEURONS = 20
OPENS = {Part.ATTENTION: Refinement.HEADS, Part.MLP: Refinement.NEURONS}
DIRECT = (
    "The lines add up to the score exactly. Only direct effects count: what a part prepares for later layers is not in "
    "its number. The scale of the final norm is held as it was in this run."
)


def draw(workspace: Workspace, shown: Shown, line: DeltaGenerator) -> None:
    """The whole view. line: the headline, for the export menu."""
    cut, options = _draw_cut(shown)
    heads_order = heads.draw_options(options) if cut is Refinement.HEADS else HeadOrder.SIZE
    order = _draw_order(options) if cut is Refinement.COMPONENTS else ""
    view = replace(build_view(workspace, shown), by=cut)
    found = read_record(workspace, shown, view)
    lines = [
        *edit_python.write_shown_run(workspace, shown),
        f"parts = trace.attribution({export_menu.write_arguments(view)})",
        'parts.save("attribution.html")',
    ]
    # the map of heads saves itself; bars and curve are drawn by the record
    mapped = cut is Refinement.HEADS
    export_menu.draw_menu(line, shown, workspace.id, view, "attribution", lines, in_browser=mapped)
    picture_side, panel_side = stage.draw_stage()
    with picture_side:
        if cut is Refinement.HEADS:
            heads.draw(workspace, shown, found, heads_order)
            _draw_circuit(workspace, shown, found)
        else:
            _draw_bars(workspace, shown, view, found, order)
        st.html(hint_html((DIRECT, *found.notes)))
    with panel_side, problems.guard():
        part_panel.draw(workspace, shown, found)
        _draw_sums(found)
        with stage.draw_lower_half():
            figure = build_chart(found, read_theme())
            st.plotly_chart(figure, key="flow_accumulated", theme=None, config={"displayModeBar": False})
            st.html(
                '<div class="hint">The state after each row, read with the scale that the final norm had in this '
                "run. The last point is the model's own score.</div>"
            )


def _draw_circuit(workspace: Workspace, shown: Shown, found: Attribution) -> None:
    """A way on: the largest parts as a circuit."""
    if draw_press(st.button, "Make a circuit of the largest", key="flow_circuit", help=circuit_start.HELP):
        circuit_start.start_circuit(workspace, shown.spec, circuit_start.list_largest(found))
        st.switch_page(circuit_start.PAGE)


def _draw_cut(shown: Shown) -> tuple[Refinement, DeltaGenerator]:
    """How finely the score is cut; heads only where the model's heads are exact."""
    line, check = stage.draw_option_line(), shown.engine.model.capabilities[Capability.HEADS]
    offered = {c: name for c, name in CUTS.items() if check.ok or c is not Refinement.HEADS}
    with line:
        # a choice of its own where heads are not offered, as while a model is checked: "layers" was not chosen then
        key = "flow_cut" if check.ok else "flow_cut_alone"
        cut = draw_segments("Parts", key, offered, next(iter(offered)), help=CUT_HELP)
    return cut, line


def _draw_order(line: DeltaGenerator) -> str:
    help = "Bottom to top of the model, or the largest first."
    return draw_named_choice(line, "Order", "flow_order", ORDERS, help, "layer", width=150)


def build_view(workspace: Workspace, shown: Shown) -> AttributionView:
    """What is asked for: all parts, unrefined."""
    asked = find_question(workspace, shown)
    contrast = None if asked.contrast is None else asked.contrast.typed
    return AttributionView(shown.trace.id, asked.target.typed, contrast, asked.position)


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
