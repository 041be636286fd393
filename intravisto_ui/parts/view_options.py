"""Options that several pages have, each with one label, one help and one memory: measure, layers."""

from __future__ import annotations

from typing import Any

from streamlit.delta_generator import DeltaGenerator

from intravisto_core.records import row_label
from intravisto_core.sites import BlockKind, ShareMeasure
from intravisto_ui.parts.choices import Width, draw_choice
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.parts.theme import short_row_label
from intravisto_ui.session.shown import Shown


def offered_measures(shown: Shown) -> tuple[ShareMeasure, ...]:
    """The share measures that a model's blocks have: a pair of parts cannot be compared where three meet."""
    parallel = shown.engine.model.block == BlockKind.PARALLEL
    return tuple(m for m in ShareMeasure if not (parallel and m is ShareMeasure.KL_PAIR))


def draw_measure_box(
    container: DeltaGenerator, shown: Shown, width: Width, key: str = "measure", default: ShareMeasure | None = None
) -> ShareMeasure:
    """How parts are weighed where they join. default: the first one that there is."""
    offered = offered_measures(shown)
    left_out = ShareMeasure.KL_PAIR not in offered
    why = "KL pair compares two parts; in this model's blocks three parts meet." if left_out else ""
    return draw_choice(container, "Shares by", key, offered, width, why, default=default)


def draw_layer_slider(container: DeltaGenerator, n_layers: int, width: Width) -> tuple[int, int]:
    """The lowest and the highest row that may be drawn."""
    rows = list(range(n_layers + 2))
    return draw_kept(
        container.select_slider,
        "Layers",
        key=f"rows_{n_layers}",
        default=(0, n_layers + 1),
        options=rows,
        valid=lambda v: is_range_of(v, rows),
        format_func=lambda r: short_row_label(row_label(r, n_layers)),
        width=width,
        help="Which rows are drawn, from the embeddings (emb) to the final norm (norm). The mass of a flow always runs "
        "down to the embeddings: what is not drawn is only not shown.",
    )


def is_range_of(value: Any, choices: list[int]) -> bool:
    """Whether a widget's value is a lowest and a highest of the choices."""
    return isinstance(value, tuple | list) and len(value) == 2 and all(v in choices for v in value)
