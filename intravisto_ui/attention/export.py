"""Taking the attention page away: files of the head in sight, the page of all heads, and Python that makes the same."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError
from intravisto_core.figures.attention_page import open_book, write_attention_pages
from intravisto_core.figures.web.attention_payload import LEAST, fits_cube
from intravisto_core.request import SparseAttentionView
from intravisto_core.sites import AttentionDivision, SinkHandling
from intravisto_ui.attention.packets import HEAD, find_types
from intravisto_ui.attention.sight import Sight
from intravisto_ui.parts import edit_python, export_menu
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

HINT = "The files above hold the head, or the mean, that is chosen."
WHOLE = "The page with all heads, to be opened without network and without the model."
FOLDER = (
    "The page with all heads is too large for one file: a ZIP with an index and a page for every eight heads. It takes "
    "a while to be made."
)


def draw_menu(container: DeltaGenerator, workspace: Workspace, shown: Shown, sight: Sight) -> None:
    """The export menu: the head in sight, or the mean; and the page of all heads."""
    view = build_view(shown, sight)
    lines = [
        *edit_python.write_shown_run(workspace, shown),
        f"found = trace.sparse_attention({export_menu.write_arguments(view)})",
        'found.save("attention.html")',
    ]
    whole = partial(_draw_whole, workspace, shown)
    export_menu.draw_menu(container, shown, workspace.id, view, "attention", lines, hint=HINT, more=whole)


def build_view(shown: Shown, sight: Sight) -> SparseAttentionView:
    """What is asked for: the rows of the head or of the mean in sight."""
    match = HEAD.fullmatch(str(sight.state.get("heads", "all")))
    return SparseAttentionView(
        shown.trace.id,
        "mean" if match is None else int(match[1]),
        "mean" if match is None or match[2] is None else int(match[2]),
        LEAST,
        AttentionDivision(str(sight.state.get("strength", "weights"))),
        SinkHandling(str(sight.state["sinks"])),
        sight.shown_sinks,
    )


def _draw_whole(workspace: Workspace, shown: Shown) -> None:
    """A button for the page of all heads: one file where it stays small, else a folder as a ZIP."""
    card = shown.engine.model
    one = fits_cube(card.n_layers, card.n_heads, len(shown.trace.tokens))
    st.html('<div class="cap">All heads</div>')
    st.download_button(
        "Page" if one else "Pages",
        data=partial(render_pages, workspace, shown, one),
        file_name="attention.html" if one else "attention.zip",
        mime="text/html" if one else "application/zip",
        help=WHOLE if one else FOLDER,
        on_click="ignore",
        key="export_attention_whole",
    )
    st.html(f'<div class="hint">{WHOLE if one else FOLDER}</div>')


def render_pages(workspace: Workspace, shown: Shown, one: bool) -> bytes:
    """The pages as one file.

    Raises:
        IntravistoError: why there are none.
    """
    engine = shown.engine
    types = None
    with suppress(IntravistoError):  # a saved run may lack them: the page says what heads do on its own text
        types = find_types(workspace, shown)
    book = open_book(lambda view: engine.view(view, session=workspace.id), shown.trace.id, types=types)
    pages = write_attention_pages(book)
    if one:
        ((_, page),) = pages
        return page.encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, page in pages:
            file.writestr(name, page)
    return packed.getvalue()
