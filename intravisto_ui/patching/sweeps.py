"""Sweeps: every head or MLP taken away by itself, over one prompt or several, in one click."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.figures.web.sweep_payload import sweep_data
from intravisto_core.records import SweepGrid
from intravisto_core.request import Ablate, SweepRequest
from intravisto_core.sites import Site
from intravisto_ui.parts import (
    attention_start,
    claim_test,
    components,
    edit_run,
    export_menu,
    layer_start,
    problems,
    python_lines,
)
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.parts.variants import Variant, name_in_line
from intravisto_ui.patching import actions, sweep_form
from intravisto_ui.session import grid_runs, jobs
from intravisto_ui.session.grid_runs import GridRun
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.workspace import Workspace

SLOT = "sweep"
MEAN = "the mean"


def draw(workspace: Workspace, base: Shown, line: DeltaGenerator) -> None:
    """Everything under the headline."""
    requests, problem, options = sweep_form.draw(workspace, base)
    run = find_run(workspace, base)
    is_shown = run is not None and run.requests == requests
    _draw_run(options, workspace, base, requests, problem, run, is_shown)
    if run is None:
        return
    grids: list[SweepGrid] = run.read_quietly()
    prompt = _draw_choice(grids)
    fragment = st.fragment(_draw_sweep, run_every=jobs.POLL_S if run.running else None)
    fragment(workspace, base, run, prompt, run.running)
    if grids and not run.running:
        _draw_menu(workspace, base, line, run, grids, prompt)


def find_run(workspace: Workspace, base: Shown) -> GridRun[SweepRequest] | None:
    """The sweep that was asked for last, of the model that is shown."""
    run = workspace.grids.get(SLOT)
    return run if run is not None and run.spec == base.spec else None


def _draw_run(
    line: DeltaGenerator,
    workspace: Workspace,
    base: Shown,
    requests: tuple[SweepRequest, ...],
    problem: str,
    run: GridRun[SweepRequest] | None,
    is_shown: bool,
) -> None:
    words = problem or _describe_cost(base, requests)
    if run is not None and is_shown:
        words = "Running." if run.running else "Done."
    elif run is not None and not problem:
        words = f"Changed, not run. {words}"
    line.html(f'<div class="hint" role="status">{escape_html(words)}</div>', width="stretch")
    pressed = draw_press(
        line.button,
        "Run sweep",
        key="sweep_run",
        type="secondary" if is_shown or problem else "primary",
        disabled=bool(problem) or is_shown,
    )
    if pressed:
        before = workspace.grids.pop(SLOT, None)
        if before is not None:
            before.cancel()
        workspace.grids[SLOT] = grid_runs.begin(base.engine, base.spec, requests, workspace.id, SLOT)
        st.rerun(scope="app")


def _describe_cost(base: Shown, requests: tuple[SweepRequest, ...]) -> str:
    model = base.engine.model
    parts = sum(model.n_layers * (model.n_heads if asked.what is Site.Z else 1) for asked in requests)
    n = len(requests[0].prompts) if requests else 0
    return f"{plural(parts * n, 'cell')} to run: {plural(parts, 'part')} in {plural(n, 'prompt')}."


def _draw_choice(grids: list[SweepGrid]) -> int | None:
    """Which prompt is shown; None is the mean of all."""
    if not grids or len(grids[0].prompts) < 2:
        return None
    prompts = grids[0].prompts
    names = {"": f"{MEAN} of {len(prompts)} prompts"} | {str(i): f"{i + 1}: {text}" for i, text in enumerate(prompts)}
    place, help = st.container(width=420, key="sweep_show"), "One prompt alone, or the mean of all."
    chosen = draw_named_choice(place, "Show", f"sweep_prompt_{len(prompts)}", names, help, "")
    return int(chosen) if chosen else None


def _draw_sweep(
    workspace: Workspace, base: Shown, run: GridRun[SweepRequest], prompt: int | None, was_running: bool
) -> None:
    with problems.guard():
        follow(workspace, base, run, prompt)
        if was_running and not run.running:
            st.rerun(scope="app")
        grids: list[SweepGrid] = run.read()
        if not grids:
            st.html('<div class="status busy" role="status"><i></i>The prompts are run first.</div>')
            st.button("Cancel", key="sweep_cancel", on_click=run.cancel)
            st.skeleton(height=240)
            return
        data = sweep_data(grids, prompt, links=True, rev=run.rev, chosen=run.chosen, progress=run.describe_progress())
        with st.container(key="patch_picture"):
            components.draw_patching(data, key="sweep_grids", on_act=lambda act: run.take_act(act, actions.WAYS))
        if run.failure is not None:
            problems.draw_inline(run.failure)


def follow(workspace: Workspace, base: Shown, run: GridRun[SweepRequest], prompt: int | None) -> None:
    """Go where the last click on a button beside the sweep leads; of several prompts, with the one that is shown.

    Raises:
        IntravistoError: why it leads nowhere.
    """
    found = run.pop_act()
    if found is None:
        return
    act, asked, grid = found
    layer, head = int(grid.layers[int(act["layer"])]), None if grid.heads is None else int(act["column"])
    what = Ablate(grid.what, layer, asked.positions, head=head, how=grid.how)
    shown = actions.run_prompt(workspace, base, asked.prompts[prompt or 0], asked.chat)
    if act["do"] == "test":
        ids = zip(grid.targets, grid.contrasts, strict=True)
        lines = tuple(
            Variant(text, *(name_in_line(base.engine, id, grid.shown[id]) for id in pair))
            for text, pair in zip(grid.prompts, ids, strict=True)
        )
        one = lines[prompt or 0]
        claim_test.open_test(workspace, shown, [what], one.target, one.contrast, lines if len(lines) > 1 else ())
        return
    if shown is not base:
        workspace.show_run(shown)
    if act["do"] == "open":
        edit_run.add_edit(workspace, what, run=True)
    last = shown.trace.prompt_length - 1
    if act["do"] == "attention" and head is not None:
        attention_start.start_attention_at(workspace, layer, head, last)
        st.switch_page(attention_start.PAGE)
    layer_start.start_layer_at(workspace, shown, layer, last, head)
    st.switch_page(layer_start.PAGE)


def _draw_menu(
    workspace: Workspace,
    base: Shown,
    line: DeltaGenerator,
    run: GridRun[SweepRequest],
    grids: list[SweepGrid],
    prompt: int | None,
) -> None:
    asked = run.requests[0]
    assert isinstance(asked, SweepRequest)
    options = ", ".join(
        f"{name}={list(value)!r}" for name in ("target", "contrast") if any(value := getattr(asked, name))
    )
    rest = export_menu.write_arguments(asked, "prompts", "target", "contrast")
    call = ", ".join(filter(None, (repr(list(asked.prompts)), options, rest)))
    lines = [
        *python_lines.write_run(base)[:-1],
        f"grid = engine.sweep({call})",
        "print(grid.frame())",
        'grid.save("sweep.html")',
    ]
    export_menu.draw_menu(
        line,
        base,
        workspace.id,
        asked,
        "sweep",
        lines,
        lambda: {"beside": tuple(grids[1:]), "prompt": prompt},
        in_browser=True,
        record=grids[0],
    )
