"""Grids over many pairs of prompts: their mean, and each pair's own."""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError
from intravisto_core.records import PatchGrid
from intravisto_core.sites import Alignment
from intravisto_ui.parts import problems
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.patching import experiments, form, grid, pair_list, patches
from intravisto_ui.patching.pair import is_chat
from intravisto_ui.patching.pair_list import PairLine
from intravisto_ui.session.grid_runs import GridRun
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.tokenizing import tokenize
from intravisto_ui.session.workspace import Workspace

MEAN = "the mean"
SHOW_HELP = "The mean over the pairs, or the grid of one pair alone."


def draw(workspace: Workspace, base: Shown, line: DeltaGenerator) -> None:
    """Everything under the headline. line: the headline's, for the menu of files."""
    with st.container(key="pairs_form"):
        text = pair_list.draw(workspace, base)
        options = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="pairs_options")
        bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="patch_made")
        values = form.draw_values(options, bar, base)
    requests: tuple[form.Asked, ...] = ()
    problem = ""
    try:
        requests = build_requests(workspace, base, values, pair_list.read_pairs(text))
    except IntravistoError as error:
        problem = str(error)
    if workspace.options.pop(experiments.RUN_PAIRS, False) and requests:
        patches.begin(workspace, base, requests, grid.MANY)
    run = grid.find_run(workspace, base, grid.MANY)
    _draw_run(workspace, base, bar, text, requests, problem, run)
    refused = workspace.options.get(patches.REFUSED)
    if refused is not None:
        problems.draw_inline(refused)
    if run is None:
        experiments.draw_pairs(workspace, base)
        return
    prompt = None if run.running else _draw_choice(run)
    grid.draw(workspace, base, run, prompt)
    if not run.running:
        patches.draw_menu(workspace, base, line, run, prompt)


def _draw_run(
    workspace: Workspace,
    base: Shown,
    bar: DeltaGenerator,
    text: str,
    requests: tuple[form.Asked, ...],
    problem: str,
    run: GridRun[form.Asked] | None,
) -> None:
    is_shown = run is not None and run.requests == requests
    words = problem or describe_cost(base, requests)
    if run is not None and is_shown:
        words = patches.describe_done(run)
    elif run is not None and not problem:
        words = f"Changed, not run. {words}"
    with bar:
        pair_list.draw_more(base, text)
    bar.html(f'<div class="hint" role="status">{escape_html(words)}</div>', width="stretch")
    pressed = draw_press(
        bar.button,
        "Run grids",
        key="patch_run",
        type="secondary" if is_shown or problem else "primary",
        disabled=bool(problem) or is_shown,
    )
    if pressed:
        patches.begin(workspace, base, requests, grid.MANY)
        st.rerun(scope="app")


def build_requests(
    workspace: Workspace, base: Shown, values: form.Values, lines: tuple[PairLine, ...]
) -> tuple[form.Asked, ...]:
    """The grids over all pairs. Pairs of other lengths are paired from both ends.

    Raises:
        IntravistoError: something does not fit.
    """
    lengths = [[len(tokenize(base.engine, side)) for side in (one.clean, one.corrupt)] for one in lines]
    shared: dict[str, Any] = {
        "clean": tuple(one.clean for one in lines),
        "corrupt": tuple(one.corrupt for one in lines),
        "target": tuple(one.target or None for one in lines),
        "contrast": tuple(one.contrast or None for one in lines),
        "alignment": Alignment.SAME_LENGTH if all(a == b for a, b in lengths) else Alignment.ENDS,
        "add_special_tokens": base.request.add_special_tokens,
        "chat": is_chat(workspace, base),
    }
    return form.build_requests(values, shared)


def describe_cost(base: Shown, requests: tuple[form.Asked, ...]) -> str:
    """How many cells are to be run at most."""
    cells = 0
    for asked in requests:
        lengths = [len(tokenize(base.engine, str(text))) for text in asked.clean]
        cells += sum(form.count_cells(base, asked, length) for length in lengths)
    return f"{plural(len(requests[0].clean), 'pair')}, at most {plural(cells, 'cell')} to run."


def _draw_choice(run: GridRun[form.Asked]) -> int | None:
    """Which pair is shown; None is the mean, and where there is one pair."""
    grids: list[PatchGrid] = run.read_quietly()
    n = min((len(each.prompts) for each in grids), default=0)
    if n < 2:
        return None
    names = {"": MEAN}
    for i, each in enumerate(grids[0].prompts[:n]):
        tokens = "".join(token.text for token in each.clean_tokens if not token.is_special)
        names[str(i)] = f"{i + 1}: {tokens}"
    place = st.container(width=420, key="patch_show")
    chosen = draw_named_choice(place, "Show", f"patch_pair_{run.rev}", names, SHOW_HELP, "")
    return int(chosen) if chosen else None
