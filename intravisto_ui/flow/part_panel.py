"""The panel of the selected head or MLP: what it adds, what the score is without it, and what can be done with it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from intravisto_core.figures.numbers import change, significant
from intravisto_core.figures.web.lines import Line, Lines, largest_part, lines_data, part_line
from intravisto_core.records import Attribution, LinkCheck
from intravisto_core.request import Ablate, Link, PatternView
from intravisto_core.request.flow import AttributionView
from intravisto_core.sites import Capability, Component, Part, Refinement, Site
from intravisto_ui.flow import link_check, lists
from intravisto_ui.parts import components, edit_actions, head_actions, layer_start, problems
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.session.question import find_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.workspace import Workspace

MEASURED_AT_ONCE = 1_000_000_000  # parameters of the largest model that is run at a click on a head
MEASURE = "Measure the score without it"
MEASURE_HELP = "Takes its output away here and runs the model on. In a large model this takes a while."
SOURCES = 4
NEURONS = 8
NEURON_PARTS = (Part.NEURON, Part.OTHER_NEURONS, Part.MLP_BIAS)
LEAST = 1e-4
NOTHING = (
    '<div class="hint">Click a head or an MLP, in the map or in the list: here you then see what it looks at, and what '
    "the score is without it.</div>"
)


def draw(workspace: Workspace, shown: Shown, found: Attribution) -> None:
    """The selected head or MLP of this attribution; a sentence where none is selected."""
    selection = workspace.selection
    kind, row, position = _read_part(selection.part)
    layer = row - 1
    if position != found.position or not 0 <= layer < found.n_layers:
        st.html(NOTHING)
    elif kind == Component.MLP:
        _draw_mlp(workspace, shown, found, layer)
    elif kind == Component.ATTENTION and selection.head is not None:
        _draw_head(workspace, shown, found, layer, selection.head)
    else:
        st.html(NOTHING)


def _read_part(part: str) -> tuple[str, int, int]:
    return lists.parse_node(part) if part.count(".") == 2 and ">" not in part else ("", 0, -1)


def _draw_head(workspace: Workspace, shown: Shown, found: Attribution, layer: int, head: int) -> None:
    at = np.flatnonzero((found.kind == Part.HEAD) & (found.layer == layer) & (found.index == head))
    if not len(at):
        st.html(NOTHING)
        return
    sizes = np.abs(found.value[found.kind == Part.HEAD])
    place = 1 + int((sizes > abs(found.value[at[0]])).sum())
    where = f"number {place:,} of {len(sizes):,} heads by size"
    _draw_title(f"layer {layer} · head {head}", float(found.value[at[0]]), found, where)
    _draw_without(workspace, shown, found, Link(Component.ATTENTION, layer, found.position, head=head))
    source = _draw_sources(workspace, shown, found, layer, head)
    line = st.container(horizontal=True, gap="small", key="head_actions")
    head_actions.draw(line, workspace, shown, layer, head, found.position, source)


def _draw_mlp(workspace: Workspace, shown: Shown, found: Attribution, layer: int) -> None:
    _draw_title(f"layer {layer} · MLP", float(found.mlp_values[layer]), found, "")
    _draw_without(workspace, shown, found, Link(Component.MLP, layer, found.position))
    line = st.container(horizontal=True, gap="small", key="mlp_actions")
    edit_actions.draw_test(line, workspace, Ablate(Site.MLP_OUT, layer, (found.position,)), "mlp_test")
    if not shown.engine.model.capabilities[Capability.NEURONS].ok:
        return
    help = "What this MLP's neurons and the heads of its layer wrote here."
    if draw_press(line.button, "Layer", key="mlp_layer", help=help):
        layer_start.start_layer_at(workspace, shown, layer, found.position)
        st.switch_page(layer_start.PAGE)
    asked = find_question(workspace, shown, found.position)
    contrast = None if asked.contrast is None else asked.contrast.typed
    view = AttributionView(
        found.trace, asked.target.typed, contrast, found.position, Refinement.NEURONS, layer=layer, n=NEURONS
    )
    finer = workspace.read_view(shown.engine, view, "flow-part")
    own = [i for i in range(len(finer.value)) if finer.layer[i] == layer and finer.kind[i] in NEURON_PARTS]
    own.sort(key=lambda i: (finer.kind[i] != Part.NEURON, -abs(float(finer.value[i]))))
    size = max((abs(float(finer.value[i])) for i in own), default=0.0) or largest_part(finer)
    table = Lines("Its neurons", [part_line(finer, i, size) for i in own], ("change",))
    components.draw_links(
        lines_data(found.trace, [table]) | {"signed": True}, key="flow_part_neurons", on_select=workspace.select
    )


def _draw_title(name: str, value: float, found: Attribution, more: str) -> None:
    words = f"adds <b>{change(value)}</b> to {significant(found.logit)}"
    st.html(
        f'<div class="title"><b>{escape_html(name)}</b></div>'
        f'<div class="under">{words}{", " + escape_html(more) if more else ""}</div>'
    )


def _draw_without(workspace: Workspace, shown: Shown, found: Attribution, link: Link) -> None:
    """What the lead is when the part's output is taken away and the model runs on."""
    if link_check.is_edited(workspace, shown):
        st.html('<div class="hint">What the score is without it is measured on the baseline.</div>')
        return
    view = link_check.ask_of(workspace, shown, (link,), found.position)
    small = shown.engine.model.n_parameters <= MEASURED_AT_ONCE
    waits = not small and view not in workspace.kept
    if waits and not draw_press(st.button, MEASURE, key="part_measure", help=MEASURE_HELP):
        return
    with problems.guard():
        _draw_measured(link_check.check_links(workspace, shown, view))


def _draw_measured(check: LinkCheck) -> None:
    lead = link_check.describe_lead(check)
    without = significant(float(check.metric + check.measured[0]))
    st.html(
        f'<div class="why">Without it, {lead} goes from {significant(check.metric)} to <b>{without}</b>: its output '
        "was taken away here, and the model was run on. What a part adds and what is missed without it need not agree."
        "</div>"
    )


def _draw_sources(workspace: Workspace, shown: Shown, found: Attribution, layer: int, head: int) -> int | None:
    """Where the head looks from here; the others as one line. Gives the position that it looks at most."""
    if not shown.engine.model.capabilities[Capability.PATTERN].ok:
        return None
    pattern = workspace.read_view(shown.engine, PatternView(found.trace, layer, head), "flow-pattern")
    weights = pattern.values[found.position, : found.position + 1]
    order = [int(j) for j in np.argsort(-weights, kind="stable")[:SOURCES] if weights[j] > 0]
    lines = [_source_line(f"position {j}", lists.glyphs_at(found.tokens, j), float(weights[j])) for j in order]
    others = len(weights) - len(order)
    if others:
        lines.append(_source_line(plural(others, "other position"), "", float(weights.sum() - weights[order].sum())))
    unseen = 1.0 - float(weights.sum())
    if unseen > LEAST:
        lines.append(_source_line("the learned sink", "", unseen))
    data = lines_data(found.trace, [Lines("Looks at", lines, ("share",))])
    components.draw_links(data, key="flow_part_sources", on_select=workspace.select)
    return order[0] if order else None


def _source_line(name: str, glyphs: str, weight: float) -> Line:
    return Line("attention", name, glyphs, weight, lists.brief_share(max(0.0, weight)))
