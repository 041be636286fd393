"""Circuits: heads and MLPs that are kept, edited by clicks, and measured over pairs of prompts."""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError
from intravisto_core.figures.web.circuit_payload import circuit_data
from intravisto_core.records import Circuit
from intravisto_core.request import CircuitRequest
from intravisto_ui.parts import circuit_start, components, export_menu, problems, python_lines
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.patching import circuit_actions, circuit_form, experiments, pair_list
from intravisto_ui.session import grid_runs, jobs
from intravisto_ui.session.grid_runs import GridRun
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.workspace import Workspace

SLOT = "circuit"


def draw(workspace: Workspace, base: Shown, line: DeltaGenerator) -> None:
    """Everything under the headline. line: the headline's, for the menu of files."""
    run = find_run(workspace, base)
    with st.container(key="circuit_form"):
        text = pair_list.draw(workspace, base)
        options, chosen = circuit_form.draw(workspace, base)
    request, problem = None, ""
    try:
        request = circuit_form.build_request(workspace, base, chosen, pair_list.read_pairs(text))
    except IntravistoError as error:
        problem = str(error)
    if workspace.options.pop(experiments.RUN_PAIRS, False) and request is not None:
        _begin(workspace, base, request)
        run = find_run(workspace, base)
    _draw_run(workspace, base, options, text, request, problem, run)
    refused = workspace.options.get(circuit_form.REFUSED)
    if refused is not None:
        problems.draw_inline(refused)
    if run is None:
        experiments.draw_pairs(workspace, base)
        return
    st.fragment(_draw_found, run_every=jobs.POLL_S if run.running else None)(workspace, base, run, run.running)
    found = run.read_quietly()
    if found and not run.running:
        _draw_menu(workspace, base, line, run, found[0])


def find_run(workspace: Workspace, base: Shown) -> GridRun[CircuitRequest] | None:
    """The circuit that was measured last, of the model that is shown."""
    run = workspace.grids.get(SLOT)
    return run if run is not None and run.spec == base.spec else None


def _begin(workspace: Workspace, base: Shown, request: CircuitRequest) -> None:
    workspace.options[circuit_form.REFUSED] = None
    before = workspace.grids.pop(SLOT, None)
    if before is not None:
        before.cancel()
    try:
        workspace.grids[SLOT] = grid_runs.begin(base.engine, base.spec, (request,), workspace.id, SLOT)
    except IntravistoError as error:
        workspace.options[circuit_form.REFUSED] = error


def _draw_run(
    workspace: Workspace,
    base: Shown,
    line: DeltaGenerator,
    text: str,
    request: CircuitRequest | None,
    problem: str,
    run: GridRun[CircuitRequest] | None,
) -> None:
    is_shown = run is not None and request is not None and run.requests == (request,)
    words = problem
    if is_shown and run is not None:
        words = "Running." if run.running else "Done."
    elif request is not None:
        size = "" if request.parts is None else f", {plural(len(request.parts), 'part')} kept"
        words = f"{plural(len(request.prompts), 'pair')}{size}."
        words = f"Changed, not measured. {words}" if run is not None else words
    with line:
        pair_list.draw_more(base, text)
    line.html(f'<div class="hint" role="status">{escape_html(words)}</div>', width="stretch")
    pressed = draw_press(
        line.button,
        "Measure",
        key="circuit_run",
        type="secondary" if is_shown or problem else "primary",
        disabled=bool(problem) or is_shown,
    )
    if pressed and request is not None:
        _begin(workspace, base, request)
        st.rerun(scope="app")


def _draw_found(workspace: Workspace, base: Shown, run: GridRun[CircuitRequest], was_running: bool) -> None:
    with problems.guard():
        circuit_actions.follow(workspace, base, run)
        if was_running and not run.running:
            st.rerun(scope="app")
        if run.running:
            _draw_progress(run)
            return
        found: list[Circuit] = run.read()
        if not found:
            st.html('<div class="hint" role="status">Stopped, so there is nothing to see. Press Measure again.</div>')
            return
        taken = circuit_start.read_parts(workspace, base.spec)
        edited = taken if workspace.options.get(circuit_start.SOURCE) == circuit_start.OWN else None
        n = int((run.chosen or {}).get("n", 0))
        data = circuit_data(found[0], edited, links=True, rev=run.rev, n=n)
        components.draw_circuit(data, key="circuit_net", on_act=lambda act: circuit_actions.take(workspace, run, act))


def _draw_progress(run: GridRun[CircuitRequest]) -> None:
    done, total, text = run.progress()
    part = min(1.0, done / total) if total else 0.0
    with st.container(key="circuit_progress"):
        st.progress(part, text=f"{text or 'Beginning'}: {done} of {total} pairs" if total else text or "Beginning")
    st.button("Cancel", key="circuit_cancel", on_click=run.cancel)
    st.skeleton(height=300)


def _draw_menu(
    workspace: Workspace, base: Shown, line: DeltaGenerator, run: GridRun[CircuitRequest], found: Circuit
) -> None:
    asked = run.requests[0]
    options: list[str] = [f"parts={list(asked.parts)!r}"] if asked.parts is not None else []
    options.append(f"prompts={[list(pair) for pair in asked.prompts]!r}")
    for name in ("target", "contrast"):
        value: Any = getattr(asked, name)
        if value is not None:
            options.append(f"{name}={list(value) if isinstance(value, tuple) else value!r}")
    rest = export_menu.write_arguments(asked, "parts", "prompts", "target", "contrast")
    lines = [
        *python_lines.write_run(base)[:-1],
        f"found = engine.circuit({', '.join(filter(None, (*options, rest)))})",
        "print(found.own, found.cpr, found.cmd)",
        'found.save("circuit.html")',
    ]
    export_menu.draw_menu(line, base, workspace.id, asked, "circuit", lines, in_browser=True, record=found)
