"""The picture of a module: nested boxes in the order of running, joined by what was really handed on."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.module_run import run_frame
from intravisto_core.figures.module_tree import tree_figure, tree_frame
from intravisto_core.figures.page import component_page
from intravisto_core.figures.web.architecture_payload import architecture_data
from intravisto_core.records import Architecture

QUESTION = "What is this model made of, and what runs after what?"
LINES = (
    "Data goes from top to bottom. Lines are what was really handed on in one run, found by the tensors themselves; "
    "dashed ones bring something from the side. Blue bar: parameters. Yellow bar: time, what a module calls included.",
    "Double click opens and closes a box, the wheel zooms, a drag moves. Keys: arrows go from box to box, Enter opens, "
    "+ and − zoom, 0 fits, / searches. Equal numbered modules are folded; a click in the strip at their side chooses.",
)


@draws(Architecture, "page")
def architecture_page(found: Architecture, live: bool = False) -> str:
    """Outline, picture and detail, as on the page of the app. live: it asks the server that it came from for news."""
    about = f"{found.model} · {found.tree.root.n_parameters:,} parameters · {len(found.tree.nodes):,} modules"
    return component_page(QUESTION, about, {"architecture": architecture_data(found, live=live)}, LINES)


@draws(Architecture, "frame")
def architecture_frame(found: Architecture) -> pd.DataFrame:
    """One row a module, with what it did in the run."""
    table = tree_frame(found.tree)
    return table if found.run is None else table.merge(run_frame(found.run), on="path", how="left")


@draws(Architecture, "figure")
def architecture_figure(found: Architecture, dark: bool = False) -> go.Figure:
    """Parameters as nested areas; the picture itself is the page."""
    return tree_figure(found.tree, dark)
