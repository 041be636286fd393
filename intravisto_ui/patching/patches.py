"""Patching proper: the form, the prompts under each other, the grids, and what can be taken away."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError
from intravisto_core.request import PatchingRequest
from intravisto_core.sites import Alignment
from intravisto_ui.parts import export_menu, problems, python_lines
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.patching import experiments, form, grid
from intravisto_ui.session.grid_runs import GridRun
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html
from intravisto_ui.session.workspace import Workspace

REFUSED = "patch_refused"


def draw(workspace: Workspace, base: Shown, line: DeltaGenerator) -> None:
    """Everything under the headline. line: the headline's, for the menu of files."""
    asked = form.draw_form(workspace, base)
    if workspace.options.pop(experiments.RUN, False):
        begin(workspace, base, asked.requests, grid.TWO)
    run = grid.find_run(workspace, base, grid.TWO)
    is_shown = run is not None and run.requests == asked.requests
    _draw_run(workspace, base, asked, run, is_shown)
    if not is_shown:
        form.draw_prompts(workspace, base, asked)
    refused = workspace.options.get(REFUSED)
    if refused is not None:
        problems.draw_inline(refused)
    if run is None:
        experiments.draw(workspace, base)
        return
    grid.draw(workspace, base, run)
    if not run.running:
        draw_menu(workspace, base, line, run)


def _draw_run(
    workspace: Workspace, base: Shown, asked: form.Form, run: GridRun[form.Asked] | None, is_shown: bool
) -> None:
    """The Run button at the end of the line under the prompts; before it what it would do, or why it cannot."""
    words = asked.problem or (describe_done(run) if run is not None and is_shown else form.describe_cost(base, asked))
    if run is not None and not is_shown and not asked.problem:
        words = f"Changed, not run. {words}"
    asked.line.html(f'<div class="hint" role="status">{escape_html(words)}</div>', width="stretch")
    pressed = draw_press(
        asked.line.button,
        "Run grid",
        key="patch_run",
        type="secondary" if is_shown or asked.problem else "primary",
        disabled=bool(asked.problem) or is_shown,
    )
    if pressed:
        begin(workspace, base, asked.requests, grid.TWO)
        st.rerun(scope="app")


def begin(workspace: Workspace, base: Shown, requests: tuple[form.Asked, ...], slot: str) -> None:
    """Run grids; what they are refused for is said on the page."""
    workspace.options[REFUSED] = None
    try:
        grid.begin(workspace, base, requests, slot)
    except IntravistoError as error:
        workspace.options[REFUSED] = error


def describe_done(run: GridRun[form.Asked]) -> str:
    """How far the grids are, in words."""
    if run.running:
        return "Running."
    grids = run.read_quietly()
    cells = " + ".join(f"{one.n_run - int(one.skipped.sum()):,}" for one in grids)
    skipped = sum(int(one.skipped.sum()) for one in grids)
    words = "Stopped" if any(one.cancelled for one in grids) else "Done"
    spared = f"; {skipped:,} skipped, equal in both" if skipped else ""
    return f"{words}: {cells or 'no'} cells{spared}."


def draw_menu(
    workspace: Workspace, base: Shown, line: DeltaGenerator, run: GridRun[form.Asked], prompt: int | None = None
) -> None:
    """What can be taken away of the grids. prompt: the one of several that is shown alone."""
    grids = run.read_quietly()
    if not grids:
        return
    first = run.requests[0]
    method = "patching" if isinstance(first, PatchingRequest) else "path_patching"
    lines = [
        *python_lines.write_run(base)[:-1],
        f"grid = engine.{method}({write_call(first)})",
        "print(grid.frame())",
        'grid.save("patching.html")',
    ]
    beside = {"beside": tuple(grids[1:]), "prompt": prompt}
    export_menu.draw_menu(
        line, base, workspace.id, first, "patching", lines, lambda: beside, in_browser=True, record=grids[0]
    )


def write_call(asked: form.Asked) -> str:
    """The arguments of the call that asks for a grid."""
    named = {name: getattr(asked, name) for name in ("clean", "corrupt", "target", "contrast")}
    texts = []
    for name, value in named.items():
        if not (isinstance(value, tuple) and set(value) == {None}):
            plain = value if not isinstance(value, tuple) else value[0] if len(value) == 1 else list(value)
            texts.append(f"{name}={plain!r}")
    rest = export_menu.write_arguments(asked, "clean", "corrupt", "target", "contrast", "alignment")
    if asked.alignment is not Alignment.SAME_LENGTH:
        pairs = repr(list(asked.alignment)) if isinstance(asked.alignment, tuple) else repr(str(asked.alignment))
        rest = ", ".join(filter(None, (rest, f"alignment={pairs}")))
    return ", ".join(filter(None, (*texts, rest)))
