"""The card itself: at once without its tests, which then stream in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from intravisto_core.errors import Cancelled, IntravistoError
from intravisto_core.figures.web.explain_payload import explain_data
from intravisto_core.records import Explanation
from intravisto_core.request import Ablate, ExplainView
from intravisto_core.sites import Component, Part, Site
from intravisto_ui.parts import attention_start, claim_test, components, edit_run, flow_start, problems
from intravisto_ui.parts.flow_start import FlowTab
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.session import jobs
from intravisto_ui.session.selection import Report
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

if TYPE_CHECKING:
    from intravisto_core.engine import Job

SLOT = "explain"
HEATMAP = "pages/heatmap.py"
GOING = "explain_going"


@dataclass
class Tests:
    """The tests of one card under way. stopped: by the user."""

    job: Job
    stopped: bool = False

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return not self.stopped and not self.job.state.ended

    def read(self) -> Explanation | None:
        """What is known by now; None where nothing is.

        Raises:
            IntravistoError: why there will be nothing.
        """
        if self.job.state.ended and not self.stopped:
            found: Explanation = self.job.result(timeout=0)
            return found
        partial = self.job.progress.partial
        return partial if isinstance(partial, Explanation) else None


def draw(workspace: Workspace, shown: Shown, view: ExplainView) -> None:
    """The card of a view; while tests are under way it is drawn again as they come."""
    found = workspace.read_view(shown.engine, replace(view, tests=False), SLOT)
    _open_test(workspace)
    tests = _find_tests(workspace, shown, view)
    fragment = st.fragment(_draw_card, run_every=jobs.POLL_S if tests.running else None)
    fragment(workspace, shown, view, found, tests.running)


def _find_tests(workspace: Workspace, shown: Shown, view: ExplainView) -> Tests:
    """The tests of a view, begun where they were not, or where a newer card had taken their place."""
    key = (SLOT, "tests", view)
    tests = workspace.keep(key, lambda: _begin_tests(workspace, shown, view))
    if not tests.stopped and isinstance(tests.job.error, Cancelled):
        workspace.kept[key] = tests = _begin_tests(workspace, shown, view)
    return tests


def _begin_tests(workspace: Workspace, shown: Shown, view: ExplainView) -> Tests:
    return Tests(shown.engine.submit(view, session=workspace.id, slot=f"{SLOT}-tests"))


def _draw_card(workspace: Workspace, shown: Shown, view: ExplainView, plain: Explanation, was_running: bool) -> None:
    with problems.guard():
        if (workspace.options.get(GOING) or {}).get("do") == "test":
            st.rerun(scope="app")
        _go_on(workspace)
        tests = _find_tests(workspace, shown, view)
        if was_running and not tests.running:
            st.rerun(scope="app")
        found, failure = plain, None
        try:
            found = tests.read() or plain
        except IntravistoError as error:
            failure = error
        data = explain_data(found, links=True, rev=view.trace) | {"progress": _describe_progress(tests)}
        components.draw_explain(data, key="explain_card", on_act=lambda act: _take_act(workspace, shown, view, act))
        if failure is not None:
            problems.draw_inline(failure)


def _describe_progress(tests: Tests) -> dict[str, Any] | None:
    """How far the tests are; None when they are done."""
    if not tests.running and not tests.stopped:
        return None
    step = tests.job.progress
    return {"done": step.done, "total": step.total, "stopped": tests.stopped}


def _take_act(workspace: Workspace, shown: Shown, view: ExplainView, act: Report) -> None:
    """Take what the user did on the card; what leads to another page is followed when the card is drawn again."""
    if not act or act.get("rev") != view.trace:
        return
    tests = _find_tests(workspace, shown, view)
    if act.get("do") == "stop":
        tests.stopped = True
        tests.job.cancel()
    elif act.get("do") == "test":
        # a card that is drawn again as its tests come in would close the dialog
        if tests.running:
            tests.stopped = True
            tests.job.cancel()
        workspace.options[GOING] = dict(act)
    elif act.get("do") == "resume":
        workspace.kept.pop((SLOT, "tests", view), None)
    else:
        workspace.options[GOING] = dict(act)


def _open_test(workspace: Workspace) -> None:
    """Open the dialog that tests a part, where its button was pressed."""
    act = workspace.options.get(GOING)
    if act and act["do"] == "test":
        del workspace.options[GOING]
        claim_test.open_test_here(workspace, _write_ablation(act))


def _write_ablation(act: dict[str, Any]) -> Ablate:
    """A part of the card taken away at its position."""
    layer, head, places = int(act["layer"]), int(act["head"]), (int(act["position"]),)
    if act["kind"] == Part.HEAD:
        return Ablate(Site.Z, layer, places, head=head)
    return Ablate(Site.MLP_OUT, layer, places)


def _go_on(workspace: Workspace) -> None:
    """Go where a click on the card leads."""
    act = workspace.options.pop(GOING, None)
    if act is None:
        return
    position = int(act["position"])
    if act["do"] == "ablate":
        edit_run.add_edit(workspace, _write_ablation(act), run=False)
    if act["to"] == "patching":
        st.switch_page(claim_test.PATCHING)
    if act["to"] == "attention":
        key = act.get("key")
        layer, head = int(act["layer"]), int(act["head"])
        attention_start.start_attention_at(workspace, layer, head, position, None if key is None else int(key))
        st.switch_page(attention_start.PAGE)
    top = workspace.base.engine.model.n_layers + 1 if workspace.base is not None else 0
    row = int(act.get("row") or top)
    if act["to"] in ("flow", "attribution"):
        flow_start.start_flow_at(workspace, top, position)
        set_kept(flow_tab=FlowTab.FLOW if act["to"] == "flow" else FlowTab.ATTRIBUTION)
        st.switch_page(flow_start.PAGE)
    set_kept(component=Component.MLP if act["to"] == "part" else Component.BLOCK)
    workspace.select_cell(
        row, position, workspace.selection.target if position == workspace.selection.position else None
    )
    st.switch_page(HEATMAP)
