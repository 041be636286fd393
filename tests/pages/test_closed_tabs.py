"""A browser tab that is closed lets go of its pins; who comes back finds everything as it was."""

from __future__ import annotations

from collections.abc import Callable

from intravisto_ui.session.workspace import Workspace
from intravisto_ui.session.workspaces import Workspaces, workspaces
from tests.pages.conftest import App


def resting(workspace: Workspace) -> bool:
    assert workspace.base is not None
    return workspace.id in workspace.base.engine.kept_traces.store._resting


def test_pins_are_let_go_when_a_tab_closes(open_app: Callable[..., App]) -> None:
    closed, open_ = open_app().workspace, open_app().workspace
    closed.session, open_.session = "closed", "open"
    assert closed.base.engine.kept_traces.store.pinned(("trace", closed.base.trace.id))
    for _ in range(2):
        workspaces().rest_unseen(lambda session: session != "closed")
        assert (resting(closed), resting(open_)) == (True, False)
    closed.resume()
    assert not resting(closed)
    assert closed.base.trace.heatmap().token_ids.size


def test_a_visit_wakes_its_workspace(app: App) -> None:
    app.workspace.rest()
    assert resting(app.workspace)
    app.tester.run()
    app.settle().assert_calm()
    assert not resting(app.workspace)


def test_a_workspace_that_is_closed_leaves_nothing_behind(app: App) -> None:
    here = app.workspace
    store, trace = here.base.engine.kept_traces.store, here.base.trace
    here.rest()
    here.close()
    assert here.id not in store._resting
    assert not store.pinned(("trace", trace.id))


def test_a_workspace_without_a_run_or_a_tab_is_left_alone() -> None:
    kept = Workspaces()
    empty, new = kept.new(), kept.new()
    empty.session = "closed"
    kept.rest_unseen(lambda _: False)
    assert (empty.resting, new.resting) == (False, False)
