"""What of a layer is looked at: which layer, by which measure, how many rows; and one head and one neuron."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from intravisto_core.records import LayerGraph
from intravisto_core.request import HeatmapView, LayerView
from intravisto_core.sites import LayerPart, LayerWidth, RankPalette, TokenOrder
from intravisto_ui.layer import dictionaries, settings_menu
from intravisto_ui.parts import layer_start
from intravisto_ui.parts.choices import draw_choice, draw_segments
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.session.question import Question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_markdown
from intravisto_ui.session.workspace import Workspace

SLOT = "layer"
MOST_NEURONS = 40


@dataclass(frozen=True, slots=True)
class Options:
    """How rows are chosen and told."""

    width: LayerWidth
    neurons: int
    heads: int | None
    order: TokenOrder
    sources: int
    palette: RankPalette


def draw_options(workspace: Workspace, shown: Shown, question: Question) -> Options:
    """The line above the picture."""
    n_heads = shown.engine.model.n_heads
    settings_menu.take_over(workspace, n_heads, MOST_NEURONS)
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="options")
    names = {
        LayerWidth.SIZE: "size",
        LayerWidth.PULL: f"pull on {escape_markdown(question.target.shown)}",
        LayerWidth.VERSUS: f"against {escape_markdown(question.rival.shown)}",
    }
    help = "  \n".join(f"**{w.label}**: {w.help}" for w in LayerWidth)
    with line.container(width="content", key="layer_width_box"):
        width = draw_segments("Width", "layer_width", names, LayerWidth.SIZE, help=help)
    neurons = draw_kept(
        line.number_input,
        "Neurons",
        key="layer_neurons",
        default=10,
        valid=lambda v: isinstance(v, int) and 0 <= v <= MOST_NEURONS,
        min_value=0,
        max_value=MOST_NEURONS,
        step=5,
        width=120,
        help="How many neurons have a row of their own. All others together have one.",
    )
    heads = draw_kept(
        line.number_input,
        "Heads",
        key=f"layer_heads_{n_heads}",
        default=n_heads if n_heads <= 12 else 10,
        valid=lambda v: isinstance(v, int) and 0 <= v <= n_heads,
        min_value=0,
        max_value=n_heads,
        step=1,
        width=120,
        help="How many heads have a row of their own. All others together have one.",
    )
    order = draw_choice(line, "Tokens by", "layer_order", (TokenOrder.ANGLE, TokenOrder.LOGIT), 150)
    dictionaries.draw_menu(line, workspace, shown)
    sources, palette = settings_menu.draw(line, workspace, width, int(heads), int(neurons), order)
    return Options(width, int(neurons), int(heads), order, sources, palette)


def read_ranks(workspace: Workspace, shown: Shown, question: Question) -> list[int]:
    """The target's rank after every layer, at rows 0 to L."""
    rows = tuple(range(shown.engine.model.n_layers + 1))
    view = HeatmapView(
        shown.trace.id, rows=rows, positions=(question.position,), top_k=1, watch=(question.target.typed,), ranks=True
    )
    found = workspace.read_view(shown.engine, view, f"{SLOT}-ranks")
    return [int(r) for r in found.watch[0].rank[:, 0]]


def choose_layer(workspace: Workspace, shown: Shown, ranks: list[int]) -> int:
    """The layer that was chosen for this text, else the one where the target's rank falls most."""
    chosen = workspace.options.get(layer_start.CHOSEN)
    if chosen and chosen[0] == shown.text_id and 0 <= chosen[1] < shown.engine.model.n_layers:
        return int(chosen[1])
    falls = np.log(np.array(ranks[:-1], float)) - np.log(np.array(ranks[1:], float))
    return int(falls.argmax()) if len(falls) else 0


def find_strongest(graph: LayerGraph) -> dict[str, tuple[int, int]]:
    """The head and the neuron with a row that pull most on the target: index and expert of each, by kind."""
    found = {}
    for kind in (LayerPart.HEAD, LayerPart.NEURON):
        rows = np.flatnonzero(graph.part_kind == kind)
        if len(rows):
            best = rows[int(graph.part_pull[rows].argmax())]
            found[str(kind)] = (int(graph.part_index[best]), int(graph.part_expert[best]))
    return found


def choose_parts(workspace: Workspace, graph: LayerGraph) -> dict[str, tuple[int, int]]:
    """One head and one neuron: those that were chosen, else those that pull most."""
    return find_strongest(graph) | layer_start.find_parts(workspace, (graph.trace, graph.layer, graph.position))


def build_view(shown: Shown, question: Question, layer: int, options: Options) -> LayerView:
    """What is asked for."""
    return LayerView(
        shown.trace.id,
        layer,
        question.position,
        question.target.typed,
        question.rival.typed,
        options.width,
        options.heads,
        options.neurons,
        options.sources,
        order=options.order,
    )
