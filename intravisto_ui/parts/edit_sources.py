"""What edits take from elsewhere: the values of other prompts."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from intravisto_core.engine import Trace
from intravisto_core.request import Ablate, Intervention, Patch, PromptSet, TraceRequest
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.session import jobs
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

SHORT = 48


def draw_prompt_field(key: str) -> str:
    """The prompt that values come from."""
    return draw_kept(
        st.text_area,
        "Other prompt",
        key=key,
        default="",
        height=70,
        placeholder="Q: What is the capital of France? A:",
        help="It is run unedited; its values are put in.",
    )


def draw_set_fields(key: str) -> dict[str, str]:
    """The prompts that a mean is taken over, and what they are called."""
    prompts = draw_kept(
        st.text_area,
        "Prompts, one a line",
        key=key,
        default="",
        height=110,
        placeholder="Q: What is the capital of France? A:\nQ: What is the capital of Spain? A:",
        help="Each is run unedited, as it stands. The mean is over all tokens of all of them.",
    )
    name = draw_kept(
        st.text_input,
        "Name of the set",
        key=f"{key}_name",
        default="",
        placeholder="may be empty",
        help="What the card calls it.",
    )
    return {"set": prompts or "", "set_name": name or ""}


def source_request(base: Shown, prompt: str) -> TraceRequest:
    """What is asked of the model for another prompt: nothing generated, with the same treatment as the baseline."""
    asked = base.request
    return TraceRequest(prompt, chat=asked.chat, add_special_tokens=asked.add_special_tokens)


def trace_source(workspace: Workspace, base: Shown, prompt: str) -> Trace:
    """The unedited trace of another prompt, run once and kept with the runs of this baseline."""
    if prompt not in workspace.edits.sources:
        trace = jobs.compute_trace(base.engine, source_request(base, prompt), workspace.id, "edit-source")
        trace.pin()
        workspace.edits.sources[prompt] = trace
    return workspace.edits.sources[prompt]


def resolve_source(workspace: Workspace, base: Shown, what: Intervention) -> Intervention:
    """An intervention of a card as it can be run: where it names a prompt, that prompt's trace.

    Raises:
        IntravistoError: the prompt cannot be run.
    """
    if isinstance(what, Patch | Ablate) and isinstance(what.source, str):
        return replace(what, source=trace_source(workspace, base, what.source).id)
    return what


def source_prompt(what: Intervention) -> str | None:
    """The prompt that an intervention takes values from, if it does."""
    source = what.source if isinstance(what, Patch | Ablate) else None
    return source if isinstance(source, str) else None


def describe_source(what: Intervention) -> str:
    """Which prompts an intervention takes values from, in brackets; "" where it takes none."""
    source = what.source if isinstance(what, Patch | Ablate) else None
    if isinstance(source, PromptSet):
        first, more = source.prompts[0], len(source.prompts) - 1
        return f" (of “{_shorten(first)}”{f' and {more} more' if more else ''})"
    return f" (of “{_shorten(source)}”)" if isinstance(source, str) else ""


def _shorten(text: str) -> str:
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"
