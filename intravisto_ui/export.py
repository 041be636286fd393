"""Taking the heatmap away: files, and the lines of Python that make the same picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import streamlit as st

from intravisto_core.request import SharesView
from intravisto_ui import python_lines, workspace
from intravisto_ui.colour_options import Dress
from intravisto_ui.heatmap_options import Options
from intravisto_ui.workspace import Shown


def popover(place: Any, shown: Shown, chosen: Options) -> None:
    """The export menu of the heatmap."""
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
                data=_file(shown, chosen, suffix),
                file_name=f"heatmap.{suffix}",
                mime=mime,
                help=why,
                on_click="ignore",
                key=f"export_{suffix}",
            )
        st.html('<div class="hint">HTML keeps these colours. PNG and SVG: the buttons under the picture.</div>')
        st.html('<div class="cap">The same in Python</div>')
        st.code(python(shown, chosen), language="python", wrap_lines=True)


def _file(shown: Shown, chosen: Options, suffix: str) -> Callable[[], bytes]:
    session = workspace.current().id

    def make() -> bytes:
        import tempfile
        from pathlib import Path

        grid = shown.engine.view(chosen.view, session=session, slot="")
        dressed = {}
        if suffix == "html":
            shares = shown.engine.view(SharesView(chosen.view.trace, chosen.measure), session=session, slot="")
            dressed = {"colour": chosen.colour, "shares": shares, **asdict(chosen.dress)}
        with tempfile.TemporaryDirectory() as folder:
            return grid.save(Path(folder) / f"heatmap.{suffix}", **dressed).read_bytes()

    return make


def python(shown: Shown, chosen: Options) -> str:
    """Lines that trace the same prompt and save the same picture as a page."""
    view = chosen.view
    drawn = [f"{n}={str(getattr(view, n))!r}" for n in ("component", "lens")]
    drawn += [f"{n}={str(getattr(view, n))!r}" for n in ("norm", "reading") if getattr(view, n) not in (None, "top")]
    drawn += [
        f"{n}={python_lines.selection(getattr(view, n))}" for n in ("rows", "positions") if getattr(view, n) is not None
    ]
    drawn += [f"watch={list(view.watch)!r}"] if view.watch else []
    plain = Dress()
    dressed = [f"colour={str(chosen.colour)!r}", f"shares=trace.shares({str(chosen.measure)!r})"]
    dressed += [f"{n}={v!r}" for n, v in asdict(chosen.dress).items() if v != getattr(plain, n)]
    return "\n".join(
        (
            *python_lines.traced(shown),
            f"grid = trace.heatmap({', '.join(drawn)})",
            f'grid.save("heatmap.html", {", ".join(dressed)})',
        )
    )
