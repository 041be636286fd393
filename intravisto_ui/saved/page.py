"""The page of saved runs: keep the one that is shown, find, open, rename, take away and bring in others."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import streamlit as st

from intravisto_core.errors import IntravistoError
from intravisto_core.records.memory import size
from intravisto_core.storage.bundle import SUFFIX
from intravisto_ui.parts import problems
from intravisto_ui.parts.frame import Headline
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.saved import run_file
from intravisto_ui.session import restart
from intravisto_ui.session.kept_runs import MOST_IMPORTED, KeptRun, KeptRuns
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.workspace import Workspace

SNIPPET = 160
MOST_AT_ONCE = 25
PICTURE = "pages/heatmap.py"
OPENED, DELETED = "@saved_opened", "@saved_deleted"
IMPORTED, SHOWN = "@saved_imported", "@saved_shown"


def draw_body(workspace: Workspace, shelf: KeptRuns, headline: Headline) -> None:
    """Everything under the frame."""
    if workspace.options.pop(OPENED, False):
        st.switch_page(PICTURE)
    headline.draw()
    left, right = st.columns([1, 2], gap="medium")
    with left:
        with problems.guard():
            _draw_keep(workspace, shelf)
        with problems.guard():
            _draw_import(workspace, shelf)
        _draw_forget(workspace)
    with right, problems.guard():
        _draw_list(workspace, shelf)


def _draw_keep(workspace: Workspace, shelf: KeptRuns) -> None:
    shown = workspace.shown
    st.html('<div class="cap">The run that is shown</div>')
    if shown is None or workspace.shows_saved:
        words = "It is a saved one already." if shown is not None else "Nothing was run yet: press Run at the left."
        st.html(f'<div class="hint">{words}</div>')
        return
    prompt = " ".join(shown.trace.text.split())
    with st.form("saved_keep", clear_on_submit=True):
        name = st.text_input("Name", placeholder=prompt[:60], key="saved_name")
        note = st.text_area("Note", height=68, key="saved_note", placeholder="What is to be seen in it?")
        tags = st.text_input(
            "Tags", key="saved_tags", placeholder="capitals, layer 4", help="Words, with commas between"
        )
        if draw_press(st.form_submit_button, "Keep this run", key="saved_keep_it"):
            kept = _keep(workspace, shown, shelf, name or prompt[:60], note, tuple(tags.split(",")))
            st.toast(f"Kept as “{kept.name}” ({size(kept.nbytes)})")
    st.download_button(
        "Download it",
        data=partial(run_file.pack_run, workspace, shown),
        file_name=f"run{SUFFIX}",
        mime="application/octet-stream",
        key="saved_download",
        on_click="ignore",
        help="The same file, without keeping it here",
    )


def _keep(workspace: Workspace, shown: Shown, shelf: KeptRuns, name: str, note: str, tags: tuple[str, ...]) -> KeptRun:
    """Write the file, and show how far it is: all its pictures are made first, which takes long on a large model."""
    bar = st.progress(0.0, f"Keeping “{name}”")

    def report(done: int, total: int) -> None:
        bar.progress(done / total, f"Keeping “{name}”: picture {min(done + 1, total)} of {total}")

    try:
        return shelf.keep(name, partial(run_file.save_run, workspace, shown, report=report), note, tags)
    finally:
        bar.empty()


def _draw_import(workspace: Workspace, shelf: KeptRuns) -> None:
    taken = workspace.options.get(IMPORTED)
    file = st.file_uploader(
        "Import a run",
        type=SUFFIX.removeprefix("."),
        key="saved_import",
        max_upload_size=MOST_IMPORTED >> 20,
        help="A file that was downloaded here, or saved by the library or the command line",
    )
    if file is None or file.file_id == taken:
        return
    workspace.options[IMPORTED] = file.file_id
    kept = shelf.take_in(file.getvalue(), file.name)
    st.toast(f"Imported “{kept.name}”")


def _draw_forget(workspace: Workspace) -> None:
    st.html('<div class="cap">What this address remembers</div>')
    st.html(
        '<div class="hint">Your prompts, edits and options are written down on this machine, so that this address '
        "brings them back after a restart. Numbers inside the model and tokens of the Hub are not.</div>"
    )
    if draw_press(st.button, "Forget it", key="saved_forget"):
        restart.forget(workspace)
        st.toast("Forgotten. What you run from now on is written down again.")


def _draw_list(workspace: Workspace, shelf: KeptRuns) -> None:
    sought = st.text_input(
        "Search",
        key="saved_search",
        placeholder="Search names, notes, tags, models and texts",
        label_visibility="collapsed",
    )
    _draw_undo(workspace, shelf)
    runs = shelf.list_runs(sought)
    if not runs:
        words = f"No saved run holds “{sought}”." if sought else "No run is kept yet."
        st.html(f'<div class="nothing"><b>{escape_html(words)}</b></div>')
        return
    st.html(f'<div class="hint">{plural(len(runs), "run")}, {size(sum(run.nbytes for run in runs))} together</div>')
    shown = workspace.options.get(SHOWN, MOST_AT_ONCE)
    for run in runs[:shown]:
        with st.container(border=True, key=f"saved_{run.id}"):
            _draw_run(workspace, shelf, run)
    if len(runs) > shown:
        st.button(
            f"Show more: {len(runs) - shown} are older",
            key="saved_more",
            on_click=lambda: workspace.options.update({SHOWN: shown + MOST_AT_ONCE}),
        )


def _draw_run(workspace: Workspace, shelf: KeptRuns, run: KeptRun) -> None:
    text = run.text if len(run.text) <= SNIPPET else run.text[: SNIPPET - 1] + "…"
    facts = (run.model, plural(run.n_tokens, "token"), "edited" if run.edited else "", size(run.nbytes))
    when = f"{datetime.fromtimestamp(run.saved):%Y-%m-%d %H:%M}"
    under = escape_html(" · ".join(part for part in (*facts, when) if part))
    tags = "".join(f'<span class="chip">{escape_html(tag)}</span>' for tag in run.tags)
    note = f'<div class="hint">{escape_html(run.note)}</div>' if run.note else ""
    st.html(
        f'<div class="title"><b>{escape_html(run.name)}</b> {tags}</div><div class="under">{under}</div>'
        f'<div class="saved-text">{escape_html(text)}</div>{note}'
    )
    line = st.container(horizontal=True, gap="small")
    line.button("Open", key=f"saved_open_{run.id}", on_click=_open, args=(workspace, shelf, run.id))
    with line.popover("Rename"):
        _draw_rename(shelf, run)
    line.download_button(
        "Download",
        data=partial(shelf.read_file, run.id),
        file_name=f"{_file_name(run.name)}{SUFFIX}",
        mime="application/octet-stream",
        key=f"saved_file_{run.id}",
        on_click="ignore",
    )
    line.button("Delete", key=f"saved_delete_{run.id}", on_click=_delete, args=(workspace, shelf, run))


def _draw_rename(shelf: KeptRuns, run: KeptRun) -> None:
    with st.form(f"saved_rename_{run.id}", border=False):
        name = st.text_input("Name", run.name)
        note = st.text_area("Note", run.note, height=68)
        tags = st.text_input("Tags", ", ".join(run.tags))
        if draw_press(st.form_submit_button, "Save", key=f"saved_rename_it_{run.id}"):
            shelf.change(run, name, note, tuple(tags.split(",")))
            st.rerun()


def _draw_undo(workspace: Workspace, shelf: KeptRuns) -> None:
    gone: KeptRun | None = workspace.options.get(DELETED)
    if gone is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="saved_undo"):
        st.html(f'<div class="hint">“{escape_html(gone.name)}” was deleted.</div>', width="content")
        if draw_press(st.button, "Undo", key="saved_undo_it"):
            workspace.options.pop(DELETED)
            shelf.restore(gone.id)
            st.rerun()


def _open(workspace: Workspace, shelf: KeptRuns, id: str) -> None:
    try:
        workspace.show_saved(shelf.open(id))
        workspace.options[OPENED] = True
    except IntravistoError as error:
        workspace.problem = error


def _delete(workspace: Workspace, shelf: KeptRuns, run: KeptRun) -> None:
    try:
        shelf.delete(run.id)
        workspace.options[DELETED] = run
    except IntravistoError as error:
        workspace.problem = error


def _file_name(name: str) -> str:
    plain = "".join(c if c.isalnum() or c in "-_ " else "" for c in name).strip().replace(" ", "-")
    return plain[:60] or "run"
