"""Taking the heatmap away: files, and the lines of Python that make the same picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import streamlit as st

from intravisto_core.request import HeatmapView, SharesView, Span
from intravisto_core.sites import Reading
from intravisto_ui.heatmap import picture
from intravisto_ui.heatmap.colours import Dress
from intravisto_ui.heatmap.options import Options
from intravisto_ui.parts import edit_python, python_lines
from intravisto_ui.session import edit_marks
from intravisto_ui.session.workspace import Workspace


def popover(place: Any, here: Workspace, chosen: Options) -> None:
    """The export menu of the heatmap."""
    name = "difference" if edit_marks.is_difference(here) else "heatmap"
    with place.popover("Export"):
        st.html('<div class="cap">This picture</div>')
        line = st.container(horizontal=True, gap="small")
        for suffix, mime, why in (
            ("html", "text/html", "One page that works without network, to click and scroll"),
            ("csv", "text/csv", "A table, one line a cell"),
            ("json", "application/json", "All numbers, with what was asked for"),
        ):
            line.download_button(
                suffix.upper(),
                data=_file(here, chosen, f"{name}.{suffix}"),
                file_name=f"{name}.{suffix}",
                mime=mime,
                help=why,
                on_click="ignore",
                key=f"export_{suffix}",
            )
        st.html('<div class="hint">HTML keeps colours and marks. PNG and SVG: the buttons under the picture.</div>')
        st.html('<div class="cap">The same in Python</div>')
        st.code(python(here, chosen), language="python", wrap_lines=True)


def _file(here: Workspace, chosen: Options, name: str) -> Callable[[], bytes]:
    assert here.shown is not None
    engine, session, view = here.shown.engine, here.id, chosen.view
    difference, marks = edit_marks.is_difference(here), picture.marks(here)
    asked = picture.comparison(here, chosen) if difference else view

    def make() -> bytes:
        import tempfile
        from pathlib import Path

        record = engine.view(asked, session=session, slot="")
        dressed: dict[str, Any] = {}
        if name.endswith(".html"):
            dressed["marks"] = marks
            if not difference:
                shares = engine.view(SharesView(view.trace, chosen.measure), session=session, slot="")
                dressed |= {"colour": chosen.colour, "shares": shares, **asdict(chosen.dress)}
        with tempfile.TemporaryDirectory() as folder:
            return record.save(Path(folder) / name, **dressed).read_bytes()

    return make


def python(here: Workspace, chosen: Options) -> str:
    """Lines that run what is shown again, edits and all, and save the same picture as a page."""
    view, shown = chosen.view, here.shown
    assert shown is not None
    node = here.edits.node()
    cells = _cells(view, shown.engine.model.n_layers + 2, len(shown.trace.tokens))
    if node is not None and edit_marks.is_difference(here):
        return edit_python.python(here, node.cards, ", ".join([*_read(view), *cells]))
    drawn = [*_read(view), *cells]
    drawn += [f"reading={str(view.reading)!r}"] if view.reading is not Reading.TOP else []
    drawn += [f"watch={list(view.watch)!r}"] if view.watch else []
    plain = Dress()
    dressed = [f"colour={str(chosen.colour)!r}", f"shares=trace.shares({str(chosen.measure)!r})"]
    dressed += [f"{n}={v!r}" for n, v in asdict(chosen.dress).items() if v != getattr(plain, n)]
    return "\n".join(
        (
            *edit_python.shown_lines(here),
            f"grid = trace.heatmap({', '.join(drawn)})",
            f'grid.save("heatmap.html", {", ".join(dressed)})',
        )
    )


def _read(view: HeatmapView) -> list[str]:
    """Component, lens and norm of a view as arguments, where they are not what a call takes by itself."""
    plain = HeatmapView(view.trace)
    return [f"{n}={str(v)!r}" for n in ("component", "lens", "norm") if (v := getattr(view, n)) != getattr(plain, n)]


def _cells(view: HeatmapView, n_rows: int, n_positions: int) -> list[str]:
    """Rows and positions as arguments; nothing where all are shown."""
    asked = (("rows", view.rows, n_rows), ("positions", view.positions, n_positions))
    return [f"{n}={python_lines.selection(v)}" for n, v, whole in asked if v not in (None, Span(0, whole))]
