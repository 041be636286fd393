"""Taking the heatmap away: files, and the lines of Python that make the same picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from streamlit.delta_generator import DeltaGenerator

from intravisto_core.request import HeatmapView, SharesView, Span
from intravisto_core.request.views import default_norm
from intravisto_core.sites import NormPolicy, Reading, TokenOrder
from intravisto_ui.heatmap import find, picture
from intravisto_ui.heatmap.colours import GridStyle
from intravisto_ui.heatmap.options import Options
from intravisto_ui.parts import edit_python, export_menu, python_lines
from intravisto_ui.session import edit_marks
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

HINT = "PNG, SVG and HTML keep colours and marks."


def draw_menu(container: DeltaGenerator, workspace: Workspace, shown: Shown, chosen: Options) -> None:
    """The export menu of the heatmap, or of the difference that it shows."""
    lines, base = write_python(workspace, shown, chosen), workspace.base
    if base is not None and edit_marks.is_difference(workspace):
        view, name = picture.comparison_view(base, chosen), "difference"
        export_menu.draw_menu(
            container, base, workspace.id, view, name, lines, lambda: _marks(workspace, shown), HINT, in_browser=True
        )
        return

    def draw_options() -> Mapping[str, Any]:
        shares = shown.engine.view(SharesView(shown.trace.id, chosen.measure), session=workspace.id)
        return {"colour": chosen.colour, "shares": shares, **_marks(workspace, shown), **asdict(chosen.style)}

    export_menu.draw_menu(
        container, shown, workspace.id, chosen.view, "heatmap", lines, draw_options, HINT, in_browser=True
    )


def _marks(workspace: Workspace, shown: Shown) -> Mapping[str, Any]:
    """The outlines of the whole picture, asked for when a file is."""
    return {"marks": (*find.find_marks(workspace, shown), *edit_marks.find_marks(workspace))}


def write_python(workspace: Workspace, shown: Shown, chosen: Options) -> list[str]:
    """Lines that run what is shown again, edits and all, and save the same picture as a page."""
    view, node, base = chosen.view, workspace.edits.current_node(), workspace.base
    cells = [
        *_lens_arguments(view),
        *_cell_arguments(view, shown.engine.model.n_layers + 2, len(shown.trace.tokens)),
    ]
    if base is not None and node is not None and edit_marks.is_difference(workspace):
        return [*edit_python.write_edited_run(base, node.cards), *edit_python.write_comparison(", ".join(cells))]
    cells += [f"reading={str(view.reading)!r}"] if view.reading is not Reading.TOP else []
    cells += [f"order={str(view.order)!r}"] if _lists_updates(view) and view.order is not TokenOrder.LOGIT else []
    cells += [f"watch={list(view.watch)!r}"] if view.watch else []
    drawn = [f"colour={str(chosen.colour)!r}", f"shares=trace.shares({str(chosen.measure)!r})"]
    drawn += [f"{n}={v!r}" for n, v in export_menu.changed_fields(chosen.style, GridStyle()).items()]
    return [
        *edit_python.write_shown_run(workspace, shown),
        f"grid = trace.heatmap({', '.join(cells)})",
        f'grid.save("heatmap.html", {", ".join(drawn)})',
    ]


def _lists_updates(view: HeatmapView) -> bool:
    return (view.norm or default_norm(view.component, view.lens, view.reading)) is NormPolicy.STREAM


def _lens_arguments(view: HeatmapView) -> list[str]:
    """Component, lens and norm of a view as arguments, where they are not what a call takes by itself."""
    plain = HeatmapView(view.trace)
    return [f"{n}={str(v)!r}" for n in ("component", "lens", "norm") if (v := getattr(view, n)) != getattr(plain, n)]


def _cell_arguments(view: HeatmapView, n_rows: int, n_positions: int) -> list[str]:
    """Rows and positions as arguments; nothing where all are shown."""
    asked = (("rows", view.rows, n_rows), ("positions", view.positions, n_positions))
    return [f"{n}={python_lines.write_selection(v)}" for n, v, whole in asked if v not in (None, Span(0, whole))]
