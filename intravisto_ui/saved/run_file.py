"""What of a run goes into its file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from intravisto_core.engine import Trace
from intravisto_core.engine.saving import NAMED_VIEWS
from intravisto_core.errors import IntravistoError
from intravisto_core.records import DecodedGrid
from intravisto_core.request import (
    ExplainView,
    HeatmapView,
    LogitsView,
    NextTokensView,
    View,
)
from intravisto_core.sites import Component
from intravisto_core.storage.bundle import SUFFIX
from intravisto_ui.session import jobs
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

NAMED = ("heatmap", "shares", "sinks", "flow", "graph", "attribution", "logits")
LISTED = 8
COLUMNS = 40


def save_run(
    workspace: Workspace, shown: Shown, path: Path, report: Callable[[int, int], object] = lambda done, total: None
) -> Path:
    """Write the run that is shown to a file: whole grids, the usual pictures, and what was looked at last.

    report: is told how many of the pictures are made, and of how many.

    Raises:
        IntravistoError: it cannot be written.
    """
    wanted = list(dict.fromkeys((*_usual_views(shown.trace), *_seen_views(workspace, shown.trace))))
    held = []
    for done, view in enumerate(wanted):
        report(done, len(wanted))
        if _is_shown(shown.trace, view):
            held.append(view)
    report(len(wanted), len(wanted))
    return shown.trace.save(path, held)


def pack_run(workspace: Workspace, shown: Shown) -> bytes:
    """The content of such a file.

    Raises:
        IntravistoError: as `save_run`.
    """
    with tempfile.TemporaryDirectory() as folder:
        return save_run(workspace, shown, Path(folder) / f"run{SUFFIX}").read_bytes()


def _usual_views(trace: Trace) -> tuple[View[Any], ...]:
    """What a first look at every page asks for. A cell's panel is cut from the grids and columns."""
    id, last = trace.id, trace.prompt_length - 1
    return (
        *(NAMED_VIEWS[name](id) for name in NAMED),
        HeatmapView(id, Component.ATTENTION, top_k=LISTED),
        HeatmapView(id, Component.MLP, top_k=LISTED),
        *_column_views(trace, trace.view(NAMED_VIEWS["heatmap"](id))),
        ExplainView(id, tests=False),
        *(LogitsView(id, last), NextTokensView(id, last, n=1), NextTokensView(id, last, n=2)),
    )


def _column_views(trace: Trace, grid: DecodedGrid) -> Iterator[View[Any]]:
    """For each column, how its cells' top tokens and the text's next one fare over the layers."""
    for position in range(max(0, trace.prompt_length - COLUMNS), min(len(trace.tokens), trace.prompt_length + COLUMNS)):
        top = grid.token_ids[:, position, :2].ravel().tolist()
        following = [trace.tokens[position + 1].id] if position + 1 < len(trace.tokens) else []
        watched = tuple(dict.fromkeys(i for i in (*following, *top) if i >= 0))
        yield HeatmapView(trace.id, positions=(position,), top_k=1, watch=watched)


def _seen_views(workspace: Workspace, trace: Trace) -> tuple[View[Any], ...]:
    """What the pages asked for last."""
    return tuple(view for view in jobs.seen_views(workspace.id) if getattr(view, "trace", None) == trace.id)


def _is_shown(trace: Trace, view: View[Any]) -> bool:
    """Whether the model shows that view."""
    try:
        trace.view(view)
    except IntravistoError:
        return False
    return True
