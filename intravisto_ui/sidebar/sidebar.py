"""The sidebar: what is run. Model, prompt, generation, Run and Cancel, status."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from intravisto_core.errors import IntravistoError
from intravisto_core.request import ModelSpec, TraceRequest
from intravisto_ui.parts.kept import copy_widgets, set_kept
from intravisto_ui.session import jobs, settings
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, escape_markdown, plural
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.sidebar import cost, generation, model_choice
from intravisto_ui.sidebar.examples import DEFAULT, Example, list_examples
from intravisto_ui.sidebar.prompt import draw_prompt

SHOWN = "Shown at once while its model is loaded; its model and settings are put back too."
RUN_ANEW = "From before the server was started anew: it is run again, with its settings."


def start_first_run(workspace: Workspace) -> None:
    """At a workspace's first page: open the demo model and trace the default prompt, so that there is a picture."""
    if workspace.started:
        return
    workspace.options.setdefault("prompt", DEFAULT.prompt)
    workspace.options.setdefault("max_new_tokens", DEFAULT.max_new_tokens)
    workspace.start(model_choice.build_spec(workspace), generation.build_request(workspace))


def draw(workspace: Workspace, leads: bool = True) -> None:
    """Draw the whole sidebar. leads: whether Run is the page's primary button, or the page has one of its own."""
    _take_over_shown(workspace)
    copy_widgets()  # chips, warnings and cost stand above some of the widgets that they depend on
    st.html('<div class="brand">InTraVisTo<small>a language model, layer by layer</small></div>')
    # a container each, so that what comes and goes in one does not move the widgets of the next
    run_part = partial(_draw_run, leads=leads)
    for part in (model_choice.draw, draw_prompt, _draw_examples, generation.draw, run_part, _draw_recent):
        with st.container(key="run_part" if part is run_part else None):
            part(workspace)


def is_stale(workspace: Workspace) -> bool:
    """Whether the page shows something else than what the sidebar asks for."""
    if workspace.shown is None:
        return False
    try:
        asked = (model_choice.build_spec(workspace), generation.build_request(workspace))
        return (workspace.shown.spec, workspace.shown.request) != asked
    except IntravistoError:
        return True


def _examples(workspace: Workspace) -> tuple[Example, ...]:
    """Those for the chosen model; of one that is not open it is not known yet whether it chats."""
    wanted = _chosen_model(workspace)
    engine = workspace.engine if workspace.spec == wanted else None
    return list_examples(wanted, engine is not None and engine.model.chat)


def _take_example(workspace: Workspace) -> None:
    name = st.session_state.get("example")
    chosen = next((e for e in _examples(workspace) if e.name == name), None)
    if chosen is not None:
        set_kept(prompt=chosen.prompt, max_new_tokens=chosen.max_new_tokens)
        if workspace.engine is not None and workspace.engine.model.chat:
            set_kept(chat=chosen.chat)
        run(workspace)
    st.session_state["example"] = None


def _draw_examples(workspace: Workspace) -> None:
    examples = _examples(workspace)
    st.pills(
        "Examples",
        [e.name for e in examples],
        key="example",
        on_change=_take_example,
        args=(workspace,),
        label_visibility="collapsed",
    )
    shown = next((e for e in examples if e.prompt == workspace.options.get("prompt")), None)
    if shown is not None:
        st.html(f'<div class="hint">{escape_html(shown.look)}</div>')


def run(workspace: Workspace) -> None:
    """Start what the sidebar asks for; a wrong request goes to the error box, and what was shown stays."""
    copy_widgets()
    try:
        asked = generation.build_request(workspace)
        workspace.start(model_choice.build_spec(workspace), asked)
    except IntravistoError as error:
        workspace.problem = error


def _draw_run(workspace: Workspace, leads: bool) -> None:
    if workspace.run is not None:
        _draw_running(workspace)
        return
    st.button(
        "Run",
        type="primary" if leads else "secondary",
        width="stretch",
        key="run",
        on_click=run,
        args=(workspace,),
        shortcut="Ctrl+Enter",
    )
    st.html(_status_html(workspace))
    if workspace.engine is not None and workspace.spec == _chosen_model(workspace):
        cost.draw_cost(workspace, workspace.engine)


def _chosen_model(workspace: Workspace) -> ModelSpec | None:
    try:
        return model_choice.build_spec(workspace)
    except IntravistoError:
        return None


@st.fragment(run_every=jobs.POLL_S)
def _draw_running(workspace: Workspace) -> None:
    active = workspace.run
    if active is None or active.ended:
        workspace.collect_run()
        st.rerun(scope="app")
    part, words = active.progress()
    st.button("Cancel", width="stretch", key="cancel", on_click=active.cancel)
    bar = f'<div class="progress" role="progressbar" aria-valuenow="{part:.2f}">'
    st.html(
        f'{bar}<i style="width:{100 * part:.1f}%"></i></div>'
        f'<div class="status busy" role="status"><i></i>{escape_html(words)}</div>'
    )


def _status_html(workspace: Workspace) -> str:
    if workspace.shown is None:
        kind, text = "none", "Nothing was run yet."
    elif workspace.shows_saved:
        kind, text = "done", "A saved run, without its model. Run loads the model and runs it again."
    elif is_stale(workspace):
        kind, text = "stale", f"Changed, not run: the page shows {_describe_old(workspace, workspace.shown)}."
    else:
        trace = workspace.shown.trace
        made = len(trace.tokens) - trace.prompt_length
        asked = workspace.shown.request.generation.max_new_tokens
        short = f"Cancelled after {made} of {asked} tokens" if trace.cancelled else "Done"
        kind, text = (
            "done",
            f"{short}: {plural(len(trace.tokens), 'position')} in {_describe_seconds(workspace.shown.seconds)}.",
        )
    return f'<div class="status {kind}" role="status"><i></i>{text}</div>'


def _describe_old(workspace: Workspace, shown: Shown) -> str:
    if _chosen_model(workspace) == shown.spec:
        return "the previous prompt"
    return f"what {escape_html(shown.engine.model.name)} made of its prompt"


def _describe_seconds(s: float) -> str:
    return f"{1000 * s:.0f} ms" if s < 1 else f"{s:.1f} s"


def _draw_recent(workspace: Workspace) -> None:
    ran = [(past.spec, past.request) for past in workspace.past]
    before = [each for each in workspace.remembered if each not in ran]
    if len(ran) + len(before) < 2:
        return
    with st.popover("Earlier runs", width="stretch"):
        for i, past in enumerate(workspace.past):
            name = past.engine.model.name + (" · shown now" if past is workspace.base else "")
            _draw_earlier(name, past.request, f"recent{i}", _show_again, (workspace, past), SHOWN)
        for i, (spec, request) in enumerate(before):
            name = settings.name(spec.source)
            _draw_earlier(name, request, f"before{i}", _run_again, (workspace, spec, request), RUN_ANEW)


def _draw_earlier(
    model: str, request: TraceRequest, key: str, act: Callable[..., None], given: tuple[Any, ...], help: str
) -> None:
    """One earlier run: its prompt, how it went on, and on which model."""
    line = " ".join(str(request.prompt).split())
    short = line if len(line) < 60 else line[:58] + "…"
    words = " · ".join((short, generation.describe_generation(request), model))
    st.button(escape_markdown(words), key=key, type="tertiary", on_click=act, args=given, help=help)


def _take_over_shown(workspace: Workspace) -> None:
    """A run that a page shows, or that was opened from a file, brings its prompt and its settings, once."""
    base = workspace.base
    if base is not None and workspace.brought == base.trace.id:
        workspace.brought = ""
        _take_over(base.spec, base.request)


def _take_over(spec: ModelSpec, request: TraceRequest) -> None:
    """Ask for that run: its model, its prompt and how it goes on."""
    set_kept(**model_choice.read_options(spec), **generation.read_options(request))


def _run_again(workspace: Workspace, spec: ModelSpec, request: TraceRequest) -> None:
    _take_over(spec, request)
    run(workspace)


def _show_again(workspace: Workspace, past: Shown) -> None:
    _take_over(past.spec, past.request)
    if not workspace.show_again(past):
        run(workspace)
