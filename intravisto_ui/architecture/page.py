"""The architecture page: outline, picture and detail of the model's modules, and what is measured at them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from intravisto_core.errors import RequestError
from intravisto_core.figures.architecture import QUESTION
from intravisto_core.figures.web.architecture_payload import architecture_data, output_data
from intravisto_core.records import Architecture
from intravisto_core.request import ArchitectureView, ModuleBlock
from intravisto_core.sites import ModuleSide, ModuleStatistic
from intravisto_ui.architecture import blocks
from intravisto_ui.parts import components, edit_python, export_menu, problems
from intravisto_ui.parts.frame import Headline, draw_strip
from intravisto_ui.session import jobs
from intravisto_ui.session.module_blocks import AXES, read_blocks
from intravisto_ui.session.selection import Report
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

PAGES = {"heatmap": "pages/heatmap.py", "attention": "pages/attention.py"}
GOING = "architecture_going"
SLOT = "architecture"


def draw_body(workspace: Workspace, shown: Shown, headline: Headline) -> None:
    """Everything under the frame."""
    _go_on(workspace)
    draw_strip(workspace, shown)
    line = headline.draw("", QUESTION)
    view = ArchitectureView(shown.trace.id, blocks=read_blocks(workspace.options))
    lines = [
        *edit_python.write_shown_run(workspace, shown),
        f"found = trace.architecture({blocks.write_arguments(view.blocks)})",
        "print(found.flow.frame())",
        'found.save("architecture.html")',
    ]
    export_menu.draw_menu(line, shown, workspace.id, view, "architecture", lines, in_browser=True)
    try:
        found = workspace.read_view(shown.engine, view, SLOT)
    except RequestError as error:
        # of another model, or a text too short for it: the picture stays without them
        problems.draw_inline(error)
        found = workspace.read_view(shown.engine, ArchitectureView(shown.trace.id), SLOT)
    card = shown.engine.model
    data = architecture_data(
        found, engine=True, attached=_places(view.blocks), reads=(card.d_model, card.d_vocab), rev=shown.trace.id
    )
    components.draw_architecture(data, key="architecture", on_act=lambda act: _take_act(workspace, shown, found, act))
    blocks.draw_list(workspace)
    if workspace.run is not None and view.blocks:
        _draw_measured_now(workspace)


@st.fragment(run_every=jobs.POLL_S)
def _draw_measured_now(workspace: Workspace) -> None:
    """What is measured in the run that goes on, token by token."""
    watches = () if workspace.run is None else workspace.run.watches
    calls = max((watch.calls for watch in watches), default=0)
    if calls:
        places = _places(read_blocks(workspace.options))
        outputs = [output_data(each, places) for watch in watches for each in watch.outputs]
        components.draw_measured_now({"calls": calls, "outputs": outputs}, key="architecture_now")


def _places(found: Sequence[ModuleBlock]) -> set[tuple[str, str, str]]:
    return {(block.path, str(block.what), str(block.statistic)) for block in found}


def _take_act(workspace: Workspace, shown: Shown, found: Architecture, act: Report) -> None:
    """Take what the user did on the picture; what leads elsewhere is followed when the page is drawn again."""
    if not act or act.get("rev") != shown.trace.id:
        return
    paths = tuple(str(path) for path in act.get("paths") or ())
    known = all(path in found.tree.by_path for path in paths)
    path, statistic, what = (str(act.get(name, "")) for name in ("path", "statistic", "what"))
    if act.get("do") == "attach" and all(paths) and known:
        kind, side = ModuleStatistic.parse(statistic), ModuleSide.parse(what or "output")
        blocks.add(workspace, str(act.get("label")), paths, kind, side)
    elif act.get("do") == "axes":
        blocks.turn_axes(workspace, path, what, {axis: _whole(act.get(axis)) for axis in AXES})
    elif act.get("do") == "detach":
        blocks.remove_at(workspace, path, statistic, what)
    elif act.get("do") == "open" and act.get("path") in found.says:
        page = "attention" if act.get("page") == "attention" else "heatmap"
        workspace.options[GOING] = (page, list(found.says).index(str(act["path"])))


def _whole(value: object) -> int | None:
    return None if value is None else int(str(value))


def _go_on(workspace: Workspace) -> None:
    """To a layer on another page, where a click leads there."""
    going: tuple[str, int] | None = workspace.options.pop(GOING, None)
    if going is None or workspace.base is None:
        return
    page, layer = going
    position = workspace.selection.position
    last = workspace.base.trace.prompt_length - 1
    workspace.select_cell(layer + 1, last if position is None else position)
    st.switch_page(PAGES[page])
