"""What the run that the sidebar asks for will take, beside the button that starts it."""

from __future__ import annotations

import streamlit as st

from intravisto_core.engine import Engine
from intravisto_core.errors import IntravistoError
from intravisto_core.models.dtype_speed import compare_dtypes, is_measured
from intravisto_core.records import MemoryEstimate
from intravisto_core.records.memory import size
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.sidebar import model_choice, model_list, prompt

INSTANT_S = 0.1
# of the parameters of a model that is worth it, and of the time that the other dtype takes
SMALL, WORTH = 50_000_000, 0.8


def draw_cost(workspace: Workspace, engine: Engine) -> None:
    """Memory and time expected, learnt from the last runs of the open model."""
    tokens, _ = prompt.read_tokens(workspace, engine, workspace.options.get("prompt") or "")
    if not tokens:
        return
    new_tokens = int(workspace.options.get("max_new_tokens") or 0)
    estimate = engine.estimate(len(tokens), new_tokens)
    seconds = engine.expected_seconds(len(tokens), new_tokens)
    short = "" if estimate.verdict == "fits" else " short"
    st.html(f'<div class="cost{short}">{escape_html(describe_cost(estimate, seconds))}</div>')
    _draw_dtypes(workspace, engine, len(tokens), new_tokens, seconds)


def _draw_dtypes(
    workspace: Workspace, engine: Engine, prompt_tokens: int, new_tokens: int, seconds: float | None
) -> None:
    """That this machine would be quicker in the other dtype, and a button that opens the model in it."""
    card, spec = engine.model, workspace.spec
    if card.device != "cpu" or card.n_parameters < SMALL or spec is None or spec.quantisation:
        return
    if model_list.read_models().closed or not is_measured():
        return
    found = compare_dtypes(card.dtype, prompt_tokens, new_tokens, card.n_parameters, seconds)
    if found is None or found[1] > WORTH:
        return
    other, ratio = found
    why = f"Measured here: {describe_run(prompt_tokens, new_tokens)} is about {1 / ratio:.1f} times as fast in {other}."
    st.html(f'<div class="hint">{escape_html(why)}</div>')
    st.button(
        f"Open in {other}",
        key="other_dtype",
        on_click=_open_in,
        args=(workspace, other),
        help="The numbers change a little: a model rounds otherwise in another precision. “auto” under How it is "
        "loaded is the checkpoint's own.",
    )


def _open_in(workspace: Workspace, dtype: str) -> None:
    set_kept(dtype=dtype)
    try:
        workspace.start(model_choice.build_spec(workspace), None)
    except IntravistoError as error:
        workspace.problem = error


def describe_run(prompt_tokens: int, new_tokens: int) -> str:
    """`a run of 300 tokens and 10 new ones`."""
    return f"a run of {plural(prompt_tokens, 'token')}" + (f" and {new_tokens} new ones" if new_tokens else "")


def describe_cost(estimate: MemoryEstimate, seconds: float | None) -> str:
    """`This run: about 12 s, 35 MB`, and where that is much, what is free and what would be less."""
    time = "" if seconds is None else f"{describe_seconds(seconds)}, "
    said = f"This run: {time}{size(estimate.run)}"
    if estimate.verdict == "fits":
        return said
    room = f"{said}; {size(estimate.available)} are free on {estimate.device}. "
    refused = "It is too large" if estimate.verdict == "too large" else "Hardly anything would be left"
    return room + refused + (f": try {' or '.join(estimate.remedies)}." if estimate.remedies else ".")


def describe_seconds(seconds: float) -> str:
    """A duration to expect."""
    if seconds < INSTANT_S:
        return "under 0.1 s"
    if seconds < 1:
        return f"about {seconds:.1f} s"
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"
