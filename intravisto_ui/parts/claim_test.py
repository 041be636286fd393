"""“Test this”: a claim about a cell, a head, a neuron or a link, filled in and tested over prompts beside controls."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import streamlit as st

from intravisto_core.errors import IntravistoError, RequestError
from intravisto_core.figures.web.evidence_payload import evidence_data
from intravisto_core.records import Evidence
from intravisto_core.request import Claim, EvidenceView, Intervention, in_words
from intravisto_core.request.interventions import Written
from intravisto_core.sites import Effect
from intravisto_core.storage.bundle import SUFFIX
from intravisto_ui.parts import components, edit_python, export_menu, problems, python_lines
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.parts.variants import Variant, name_in_line, read_lines, write_variants
from intravisto_ui.session import grid_runs, jobs
from intravisto_ui.session.grid_runs import GridRun
from intravisto_ui.session.question import find_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html
from intravisto_ui.session.workspace import Workspace

SLOT = "claim"
AS_FOUND = "as in this prompt"
PATCHING = "pages/patching.py"
HELP = "Asks whether this part matters so on other prompts too, and more than chance does."
PLACES = ("positions", "queries", "keys")
ENOUGH = 8
PROMPTS_HELP = (
    "One prompt a line. After a bar may follow the token that is looked for, and after another the one that it is held "
    "against: `The capital of Italy is | Rome | Paris` with a space before each token as the model writes it, or "
    "`id 17` for the token of that id. Without them the model's own top token and its runner-up are taken. From 8 "
    "prompts on the claim can be supported."
)
CONTROLS = (
    "Beside it, in every prompt: the same edit at another place, of another head or neuron, with a random direction as "
    "long, and in the prompt with its tokens shuffled; those that can apply."
)
STOPPED = "Stopped. A test that was stopped has no verdict."
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Draft:
    """A claim as it is filled in. edits: places count from the end of the prompt. shown: whose prompt it is of."""

    shown: Shown
    edits: tuple[Intervention, ...]
    prompts: tuple[Variant, ...]
    number: int = field(default_factory=lambda: next(_numbers))


def open_test(
    workspace: Workspace,
    shown: Shown,
    edits: Sequence[Intervention],
    target: str | int | None = None,
    contrast: str | int = "",
    prompts: tuple[Variant, ...] = (),
) -> None:
    """Open the dialog with a claim about these edits of an unedited run.

    target, contrast: as a line names them; None: the question's. prompts: that it is tested on at first; none: the
    run's own, and others like it.

    Raises:
        RequestError: an edit is about a generated token, or about a prompt that is no text.
    """
    if not isinstance(shown.request.prompt, str):
        raise RequestError("test: expected a prompt that was typed; this one was given as token ids")
    question = find_question(workspace, shown) if target is None else None
    if question is not None:
        target = name_in_line(shown.engine, question.target.id, question.target.shown)
        # a runner-up is this prompt's own: others have theirs
        if workspace.asked.contrast != "":
            contrast = name_in_line(shown.engine, question.rival.id, question.rival.shown)
    aimed = tuple(count_from_end(edit, shown.trace.prompt_length) for edit in edits)
    prompts = prompts or write_variants(shown.engine, shown.request.prompt, "" if target is None else target, contrast)
    before = workspace.grids.pop(SLOT, None)
    if before is not None:
        before.cancel()
    workspace.claim = Draft(shown, aimed, prompts)
    _open_dialog(workspace)


def open_test_here(workspace: Workspace, edit: Intervention) -> None:
    """Open the dialog with a claim about the run that is shown, without its edits.

    Raises:
        RequestError: as `open_test`.
    """
    if workspace.base is not None:
        open_test(workspace, workspace.base, [edit])


def count_from_end(edit: Intervention, prompt_length: int) -> Intervention:
    """The edit with its places counted from the end of the prompt, so that they mean the same in longer ones.

    Raises:
        RequestError: one of them is a generated token's.
    """
    changed: dict[str, Any] = {}
    for name in PLACES:
        spots = getattr(edit, name, None)
        if not isinstance(spots, tuple):
            continue
        if any(p >= prompt_length for p in spots):
            raise RequestError(
                "test: expected a place in the prompt; this one is of a generated token, which other prompts do not "
                "have. Put what was generated into the prompt, and run it"
            )
        changed[name] = tuple(p - prompt_length if p >= 0 else p for p in spots)
    return replace(edit, **changed) if changed else edit


@st.dialog("Test a claim", width="large")
def _open_dialog(workspace: Workspace) -> None:
    draft = workspace.claim
    if not isinstance(draft, Draft):
        return
    with problems.guard():
        asked = _draw_claim(draft)
        view = None
        try:
            view = build_view(draft, *asked)
        except IntravistoError as error:
            problems.draw_inline(error)
        run = workspace.grids.get(SLOT)
        line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="claim_line")
        kind = "primary" if view is not None else "secondary"
        pressed = draw_press(line.button, "Test", type=kind, key="claim_run", disabled=view is None)
        if pressed and view is not None:
            run = _begin(workspace, draft, view)
        n = 0 if view is None or view.prompts is None else len(view.prompts)
        line.html(f'<div class="hint">{escape_html(_describe_size(n))}</div>', width="stretch")
        if run is not None:
            st.fragment(_draw_found, run_every=jobs.POLL_S if run.running else None)(workspace, draft, run)


def _describe_size(n: int) -> str:
    if n < ENOUGH:
        return f"{n} prompts: fewer than {ENOUGH} cannot support a claim. One alone is an anecdote."
    return f"{n} prompts, 5 draws of each kind of control in each."


def _draw_claim(draft: Draft) -> tuple[str, str]:
    """The claim in words, and what can be changed of it: which way the edit moves the lead, and the prompts."""
    words = "; ".join(in_words(edit) for edit in draft.edits)
    st.html(
        f'<div class="title"><b>{escape_html(words)}</b></div>'
        '<div class="under">The claim: this edit moves the lead of the target over the contrast, after the last token '
        f"of the prompt, by more than such edits do anyway. {escape_html(CONTROLS)}</div>"
    )
    effect = st.segmented_control(
        "It moves the lead",
        [AS_FOUND, *(str(e) for e in Effect)],
        default=AS_FOUND,
        key=f"claim_effect_{draft.number}",
        required=True,
        help="“As in this prompt” takes the way that the edit moves the lead in the prompt where it was found.",
    )
    text = st.text_area(
        "Prompts",
        value="\n".join(one.write() for one in draft.prompts),
        key=f"claim_prompts_{draft.number}",
        height=168,
        help=PROMPTS_HELP,
    )
    return str(effect), str(text or "")


def build_view(draft: Draft, effect: str, text: str) -> EvidenceView:
    """The test that is asked for.

    Raises:
        IntravistoError: something does not fit.
    """
    lines = read_lines(text)
    if not lines:
        raise RequestError("prompts: expected at least one; got none")
    target, contrast = (_join_tokens([getattr(one, side) for one in lines]) for side in ("target", "contrast"))
    claim = Claim(
        cast(tuple[Written, ...], draft.edits), target, contrast, None if effect == AS_FOUND else Effect(effect)
    )
    return EvidenceView(draft.shown.trace.id, claim, tuple(one.prompt for one in lines))


def _join_tokens(typed: list[str | int]) -> str | int | tuple[str | int | None, ...] | None:
    named = tuple(None if token == "" else token for token in typed)
    return named[0] if len(set(named)) == 1 else named


def _begin(workspace: Workspace, draft: Draft, view: EvidenceView) -> GridRun[EvidenceView]:
    run = grid_runs.begin(draft.shown.engine, draft.shown.spec, (view,), workspace.id, SLOT)
    workspace.grids[SLOT] = run
    return run


def _draw_found(workspace: Workspace, draft: Draft, run: GridRun[EvidenceView]) -> None:
    with problems.guard():
        found = run.read()
        if run.running:
            _draw_progress(run)
        elif found:
            _draw_menu(workspace, draft, run)
        if found and isinstance(found[0], Evidence):
            components.draw_evidence(evidence_data(found[0], run.rev, run.describe_progress()), key="claim_found")
        elif not run.running and run.failure is None:
            st.html(f'<div class="hint" role="status">{STOPPED}</div>')
        if run.failure is not None and found:
            problems.draw_inline(run.failure)


def _draw_progress(run: GridRun[EvidenceView]) -> None:
    done, total, text = run.progress()
    part = min(1.0, done / total) if total else 0.0
    st.progress(part, text=f"{done} of {total} prompts" if total else text or "Beginning")
    st.button("Cancel", key="claim_cancel", on_click=run.cancel)


def _draw_menu(workspace: Workspace, draft: Draft, run: GridRun[EvidenceView]) -> None:
    view = run.requests[0]
    assert isinstance(view, EvidenceView)
    claim = view.claim
    edits = ", ".join(edit_python.write_intervention(edit, {}) for edit in claim.edit)
    rest = [f"{name}={value!r}" for name in ("target", "contrast") if (value := getattr(claim, name)) is not None]
    rest += [] if claim.effect is None else [f"effect={str(claim.effect)!r}"]
    lines = [
        *python_lines.write_run(draft.shown),
        f"claim = iv.Claim({', '.join((f'[{edits}]', *rest))})",
        f"found = trace.test(claim, prompts={list(view.prompts or ())!r})",
        "print(found.sentence)",
        'found.save("evidence.html")',
    ]
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="claim_export")
    export_menu.draw_menu(line, draft.shown, workspace.id, view, "evidence", lines)
    line.download_button(
        "Publish",
        data=partial(pack_finding, draft, view),
        file_name=f"claim{SUFFIX}",
        key="claim_publish",
        on_click="ignore",
        help="One file that holds the run, the claim and its test. It opens without the model, and `intravisto test` "
        "runs it again, here or on another model.",
    )


def pack_finding(draft: Draft, view: EvidenceView) -> bytes:
    """The file of a finding: the run that the claim was found in, with its test.

    Raises:
        IntravistoError: it cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        return draft.shown.trace.save(Path(folder) / f"claim{SUFFIX}", views=[view]).read_bytes()
