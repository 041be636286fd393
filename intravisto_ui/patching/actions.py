"""What a cell of a grid leads to: its edited run on all pages, its layer, its head, a test of what it claims."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from intravisto_core.errors import RequestError
from intravisto_core.records import PatchGrid
from intravisto_core.request import Ablate, Intervention, Patch
from intravisto_core.sites import Ablation, Patching, Site
from intravisto_ui.parts import attention_start, claim_test, edit_run, layer_start
from intravisto_ui.parts.variants import Variant, name_in_line
from intravisto_ui.patching.form import Asked
from intravisto_ui.session import asked as questions
from intravisto_ui.session import jobs, question
from intravisto_ui.session.grid_runs import GridRun
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

WAYS = ("test", "open", "layer", "attention")
MADE = (
    "edited run: expected two prompts that were typed; the corrupt one was made by drawing. Type a corrupt prompt to "
    "open the run of a cell"
)


def follow(workspace: Workspace, base: Shown, run: GridRun[Asked], prompt: int | None = None) -> None:
    """Go where the last click on a button beside the grid leads; of several prompts with the one that is shown, or the
    first.

    Raises:
        IntravistoError: why it leads nowhere.
    """
    found = run.pop_act()
    if found is None:
        return
    act, asked, grid = found
    lines = list_variants(asked) if len(asked.clean) > 1 else ()
    asked, grid = choose_pair(asked, prompt or 0), grid.choose_prompt(prompt or 0)
    layer, column = int(grid.layers[int(act["layer"])]), int(act["column"])
    if act["do"] == "test":
        open_claim(workspace, base, asked, grid, layer, column, lines)
    elif act["do"] == "open":
        open_edited_run(workspace, base, asked, grid, layer, column)
    elif act["do"] == "layer":
        position = int(grid.positions[column])
        layer_start.start_layer_at(workspace, show_prompt(workspace, base, asked, grid, clean=True), layer, position)
        st.switch_page(layer_start.PAGE)
    elif act["do"] == "attention":
        show_prompt(workspace, base, asked, grid, clean=True)
        attention_start.start_attention_at(workspace, layer, column, int(grid.positions[-1]))
        st.switch_page(attention_start.PAGE)


def choose_pair(asked: Asked, number: int) -> Asked:
    """What is asked of one pair of several."""
    if len(asked.clean) == 1:
        return asked
    corrupt = asked.corrupt
    named = {"clean": asked.clean, "target": asked.target, "contrast": asked.contrast}
    own: dict[str, Any] = {name: (value[number if len(value) > 1 else 0],) for name, value in named.items()}
    return replace(asked, **own, corrupt=(corrupt[number],) if isinstance(corrupt, tuple) else corrupt)


def list_variants(asked: Asked) -> tuple[Variant, ...]:
    """The clean prompts, each once, with their tokens as they were typed."""
    found: dict[str, Variant] = {}
    for number in range(len(asked.clean)):
        one = choose_pair(asked, number)
        (clean,), tokens = one.clean, ["" if token is None else token for token in (*one.target, *one.contrast)]
        text = clean if isinstance(clean, str) else ""
        found.setdefault(text, Variant(text, *tokens))
    return tuple(found.values())


def open_claim(
    workspace: Workspace,
    base: Shown,
    asked: Asked,
    grid: PatchGrid,
    layer: int,
    column: int,
    lines: tuple[Variant, ...] = (),
) -> None:
    """The dialog that tests what a cell claims, on the clean prompt and others like it, or on those of `lines`.

    Raises:
        IntravistoError: the clean prompt cannot be run.
    """
    shown = read_prompt(workspace, base, asked, clean=True)
    claim_test.open_test(workspace, shown, write_ablation(base, grid, layer, column), *name_tokens(base, grid), lines)


def open_edited_run(workspace: Workspace, base: Shown, asked: Asked, grid: PatchGrid, layer: int, column: int) -> None:
    """The receiving prompt with this one patch, on the injection page and in the frame of all pages.

    Raises:
        IntravistoError: the prompts were not typed, or cannot be run.
    """
    if grid.made:
        raise RequestError(MADE)
    denoise = grid.direction is Patching.DENOISE
    show_prompt(workspace, base, asked, grid, clean=not denoise)
    edit_run.add_edit(workspace, write_patch(asked, grid, layer, column), run=True)


def write_patch(asked: Asked, grid: PatchGrid, layer: int, column: int) -> Intervention:
    """A cell as an edit of the receiving run; its source is the donor's prompt."""
    partner = {int(a): int(b) for a, b in grid.alignment}
    clean = [int(grid.positions[column])] if grid.heads is None else [int(p) for p in grid.positions]
    clean = [p for p in clean if p in partner]
    corrupt = [partner[p] for p in clean]
    denoise = grid.direction is Patching.DENOISE
    receiving, giving = (corrupt, clean) if denoise else (clean, corrupt)
    prompts = asked.clean if denoise else asked.corrupt
    assert isinstance(prompts, tuple)
    head = None if grid.heads is None else int(grid.heads[column])
    there = None if receiving == giving else tuple(giving)
    return Patch(grid.what, layer, tuple(receiving), head=head, source=str(prompts[0]), source_positions=there)


def show_prompt(workspace: Workspace, base: Shown, asked: Asked, grid: PatchGrid, clean: bool) -> Shown:
    """Show one of the two prompts on all pages, with the grid's tokens as their question; it is run where it was not.

    Raises:
        IntravistoError: it cannot be run.
    """
    shown = read_prompt(workspace, base, asked, clean)
    if shown is not base:
        workspace.show_run(shown)
    last, tokens = shown.trace.prompt_length - 1, name_tokens(base, grid)
    question.ask(workspace, lambda _: questions.Asked(*tokens, position=last))
    return shown


def name_tokens(base: Shown, grid: PatchGrid) -> tuple[str | int, str | int]:
    """Target and contrast of a grid as a line names them; "" for none."""
    ids = [int(tokens[0]) for tokens in (grid.targets, grid.contrasts)]
    target, contrast = (name_in_line(base.engine, i, grid.shown[i]) if i in grid.shown else "" for i in ids)
    return target, contrast


def read_prompt(workspace: Workspace, base: Shown, asked: Asked, clean: bool) -> Shown:
    """The run of one of the two prompts, with the settings of the run that is shown.

    Raises:
        IntravistoError: it cannot be run.
    """
    prompts = asked.clean if clean else asked.corrupt
    if not isinstance(prompts, tuple):
        raise RequestError(MADE)
    return run_prompt(workspace, base, prompts[0], asked.chat)


def run_prompt(workspace: Workspace, base: Shown, prompt: str | tuple[int, ...], chat: bool) -> Shown:
    """The run of a prompt, with the settings of the run that is shown, which may be the one.

    Raises:
        IntravistoError: it cannot be run.
    """
    before = base.request
    wanted = replace(before, prompt=prompt, chat=chat, messages=before.messages if chat else (), interventions=())
    if wanted == before:
        return base
    trace = jobs.compute_trace(base.engine, wanted, workspace.id, "patch-shown")
    return Shown(trace, base.engine, base.spec, wanted)


def write_ablation(base: Shown, grid: PatchGrid, layer: int, column: int) -> tuple[Intervention, ...]:
    """What a cell claims, as edits that need no second prompt: places count from the end of the prompt."""
    n = len(grid.clean_tokens)
    if grid.heads is None:
        place = (int(grid.positions[column]) - n,)
        how = Ablation.ZERO if grid.what.is_update else Ablation.MEAN
        return (Ablate(grid.what, layer, place, how=how),)
    places = tuple(int(p) - n for p in grid.positions)
    model, head = base.engine.model, int(grid.heads[column])
    group = model.n_heads // model.n_kv_heads if grid.what in (Site.K, Site.V) else 1
    return tuple(Ablate(Site.Z, layer, places, head=h) for h in range(head * group, (head + 1) * group))
