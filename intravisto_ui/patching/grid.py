"""The grids themselves: as they grow, and when they are there; a click tells of a cell, and leads on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from intravisto_core.figures.text import printable
from intravisto_core.figures.web.patching_payload import patching_data
from intravisto_core.records import PatchGrid
from intravisto_core.sites import Site
from intravisto_ui.parts import components, problems
from intravisto_ui.patching import actions
from intravisto_ui.patching.form import Asked
from intravisto_ui.session import grid_runs, jobs
from intravisto_ui.session.grid_runs import GridRun
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

TWO, MANY = "patching", "patching-pairs"
BEGINNING = "The two prompts are run first."


def find_run(workspace: Workspace, base: Shown, slot: str) -> GridRun[Asked] | None:
    """The grids that were asked for last in a slot, of the model that is shown."""
    run = workspace.grids.get(slot)
    return run if run is not None and run.spec == base.spec else None


def begin(workspace: Workspace, base: Shown, requests: tuple[Asked, ...], slot: str) -> None:
    """Run grids; those before them end.

    Raises:
        IntravistoError: why they cannot be run.
    """
    before = workspace.grids.pop(slot, None)
    if before is not None:
        before.cancel()
    workspace.grids[slot] = grid_runs.begin(base.engine, base.spec, requests, workspace.id, slot)


def draw(workspace: Workspace, base: Shown, run: GridRun[Asked], prompt: int | None = None) -> None:
    """The grids; while cells come in they are drawn again and again. prompt: the one of several that is shown alone."""
    fragment = st.fragment(_draw_grids, run_every=jobs.POLL_S if run.running else None)
    fragment(workspace, base, run, prompt, run.running)


def _draw_grids(workspace: Workspace, base: Shown, run: GridRun[Asked], prompt: int | None, was_running: bool) -> None:
    with problems.guard():
        actions.follow(workspace, base, run, prompt)
        if was_running and not run.running:
            st.rerun(scope="app")
        grids = run.read()
        if not grids:
            _draw_beginning(run)
            return
        if prompt is not None:
            grids = [grid.choose_prompt(prompt) for grid in grids]
        data = patching_data(
            fill_up(base, run, grids), links=True, rev=run.rev, chosen=run.chosen, progress=run.describe_progress()
        )
        with st.container(key="patch_picture"):
            components.draw_patching(data, key="patch_grids", on_act=lambda act: run.take_act(act, actions.WAYS))
        if run.failure is not None:
            problems.draw_inline(run.failure)


def _draw_beginning(run: GridRun[Asked]) -> None:
    _, _, text = run.progress()
    st.html(f'<div class="status busy" role="status"><i></i>{printable(text) or BEGINNING}</div>')
    st.button("Cancel", key="patch_cancel", on_click=run.cancel)
    st.skeleton(height=300)


def fill_up(base: Shown, run: GridRun[Asked], grids: list[PatchGrid]) -> list[PatchGrid]:
    """The grids that are there, and empty ones in the place of those that have not begun."""
    known = {one.what for one in grids}
    waiting = [asked for asked, job in zip(run.requests, run.jobs, strict=True) if not job.state.ended]
    return [*grids, *(expect_grid(base, asked, grids[0]) for asked in waiting if asked.what not in known)]


def expect_grid(base: Shown, asked: Asked, first: PatchGrid) -> PatchGrid:
    """A grid by head of the same prompts, none of whose cells was run."""
    model = base.engine.model
    n_heads = model.n_kv_heads if asked.what in (Site.K, Site.V) else model.n_heads
    shape = (len(first.layers), n_heads)
    last = len(first.clean_tokens) - 1
    positions = np.array([last]) if asked.positions else first.positions[first.positions >= first.first_difference]
    return replace(
        first,
        what=asked.what,
        heads=np.arange(n_heads),
        positions=positions,
        effects=np.full((len(first.cleans), *shape), np.nan),
        skipped=np.zeros(shape, bool),
        estimates=None,
        interval=None,
        prompts=(),
        notes=(),
    )
