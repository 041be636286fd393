"""Options that several pages have: the share measure, what is hidden, the range of layers."""

from __future__ import annotations

from typing import Any

from intravisto_core.sites import BlockKind, ShareMeasure
from intravisto_ui.parts.choices import choice
from intravisto_ui.parts.kept import kept
from intravisto_ui.session.workspace import Shown

CELL, LAST, ALL = "selected cell", "last position", "all generated"


def measure_box(place: Any, shown: Shown) -> ShareMeasure:
    """How parts are weighed where they join; shared with the heatmap."""
    parallel = shown.engine.model.block == BlockKind.PARALLEL
    offered = tuple(m for m in ShareMeasure if not (parallel and m is ShareMeasure.KL_PAIR))
    why = "KL pair compares two parts; in this model's blocks three parts meet." if parallel else ""
    return choice(place, "Shares by", "measure", offered, 124, why)


def hiding(place: Any) -> dict[str, bool]:
    """Whether position 0 is left out (one switch for all pages), and whether the rest then makes up for it."""
    hide = kept(
        place.toggle,
        "Ignore position 0 (attention sink)",
        key="hide_first",
        default=False,
        help="Heads look at the first position when they have nothing to do. What goes there ends in a terminal of its "
        "own, unless it is reweighed.",
    )
    reweigh = kept(
        place.toggle,
        "Reweigh without position 0",
        key="flow_reweigh",
        default=False,
        disabled=not hide,
        help="What attention reads elsewhere is scaled up so that it makes up for position 0."
        + ("" if hide else " Only where position 0 is ignored."),
    )
    return {"hide_start": hide, "reweigh": hide and reweigh}


def rows_slider(place: Any, n_layers: int) -> tuple[int, int]:
    """The lowest and the highest row that may be drawn."""
    short = {0: "emb", n_layers + 1: "norm"}
    every = list(range(n_layers + 2))
    return kept(
        place.select_slider,
        "Layers",
        key=f"flow_rows_{n_layers}",
        default=(0, n_layers + 1),
        options=every,
        valid=lambda v: isinstance(v, tuple | list) and len(v) == 2 and all(r in every for r in v),
        format_func=lambda r: short.get(r, str(r - 1)),
        width=168,
        help="Which rows are drawn, from the embeddings (emb) to the final norm (norm). The mass always runs down to "
        "the embeddings: what is not drawn is only not shown.",
    )
