"""A workspace over a restart of the server: it is written down as it changes, and brought back by its address."""

from __future__ import annotations

from intravisto_ui.session import journal
from intravisto_ui.session.journal import Entry
from intravisto_ui.session.selection import Selection
from intravisto_ui.session.workspace import Workspace

NOTICE = (
    "The server was started anew. Your prompts, edits and options are back; runs are made again when you look at them."
)


def write_down(workspace: Workspace) -> None:
    """Keep what the workspace needs to come back, where it has changed since the last time."""
    now = workspace.base
    if now is None or workspace.shows_saved or not workspace.past:
        return
    listed = (now, *workspace.past)
    ran = dict.fromkeys((*((run.spec, run.request) for run in listed), *workspace.remembered))
    cell = (workspace.selection.row, workspace.selection.position)
    text = journal.describe(tuple(ran), workspace.edits.cards, workspace.options, workspace.asked, cell)
    if text != workspace.written:
        workspace.written = text
        journal.write(workspace.id, text)


def bring_back(workspace: Workspace, entry: Entry) -> None:
    """Put what was written down into a new workspace. Its first run is that of the last prompt."""
    workspace.options.update(entry.options)
    workspace.edits.load(entry.cards)
    workspace.edits.past.clear()
    workspace.remembered, workspace.asked = entry.ran, entry.asked
    workspace.opens_at = Selection(*entry.cell) if None not in entry.cell else None
    workspace.notice = NOTICE


def forget(workspace: Workspace) -> None:
    """Drop what is written down of the workspace, and the list of its earlier runs; what is shown stays."""
    journal.forget(workspace.id)
    workspace.remembered, workspace.past = (), [run for run in workspace.past if run is workspace.base]
    workspace.written = ""
