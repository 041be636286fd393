"""The sidebar: what is run. Model, prompt, generation, Run and Cancel, status."""

from __future__ import annotations

import streamlit as st

from intravisto_core.errors import IntravistoError
from intravisto_core.request import ModelSpec
from intravisto_ui.parts.kept import copy_widgets, set_kept
from intravisto_ui.session import jobs
from intravisto_ui.session.text import escape_html, escape_markdown, plural
from intravisto_ui.session.workspace import Shown, Workspace
from intravisto_ui.sidebar import cost, generation, model_choice
from intravisto_ui.sidebar.examples import DEFAULT, EXAMPLES
from intravisto_ui.sidebar.prompt import draw_prompt


def start_first_run(workspace: Workspace) -> None:
    """At a workspace's first page: open the demo model and trace the default prompt, so that there is a picture."""
    if workspace.started:
        return
    workspace.options.setdefault("prompt", DEFAULT.prompt)
    workspace.options.setdefault("max_new_tokens", DEFAULT.max_new_tokens)
    workspace.start(model_choice.build_spec(workspace), generation.build_request(workspace))


def draw(workspace: Workspace) -> None:
    """Draw the whole sidebar."""
    copy_widgets()  # chips, warnings and cost stand above some of the widgets that they depend on
    st.html('<div class="brand">InTraVisTo<small>a language model, layer by layer</small></div>')
    # a container each, so that what comes and goes in one does not move the widgets of the next
    for part in (model_choice.draw, draw_prompt, _draw_examples, generation.draw, _draw_run, _draw_recent):
        with st.container():
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


def _take_example(workspace: Workspace) -> None:
    name = st.session_state.get("example")
    chosen = next((e for e in EXAMPLES if e.name == name), None)
    if chosen is not None:
        set_kept(prompt=chosen.prompt, max_new_tokens=chosen.max_new_tokens)
        run(workspace)
    st.session_state["example"] = None


def _draw_examples(workspace: Workspace) -> None:
    st.pills(
        "Examples",
        [e.name for e in EXAMPLES],
        key="example",
        on_change=_take_example,
        args=(workspace,),
        label_visibility="collapsed",
    )
    shown = next((e for e in EXAMPLES if e.prompt == workspace.options.get("prompt")), None)
    if shown is not None and workspace.spec == ModelSpec(model_choice.DEMO):
        st.html(f'<div class="hint">{escape_html(shown.look)}</div>')


def run(workspace: Workspace) -> None:
    """Start what the sidebar asks for; a wrong request goes to the error box, and what was shown stays."""
    copy_widgets()
    try:
        asked = generation.build_request(workspace)
        workspace.start(model_choice.build_spec(workspace), asked)
    except IntravistoError as error:
        workspace.problem = error


def _draw_run(workspace: Workspace) -> None:
    if workspace.run is not None:
        _draw_running(workspace)
        return
    st.button(
        "Run",
        type="primary",
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
    elif is_stale(workspace):
        kind, text = "stale", "Changed, not run: the page shows the previous prompt."
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


def _describe_seconds(s: float) -> str:
    return f"{1000 * s:.0f} ms" if s < 1 else f"{s:.1f} s"


def _draw_recent(workspace: Workspace) -> None:
    if len(workspace.past) < 2:
        return
    with st.popover("Earlier runs", width="stretch"):
        for i, past in enumerate(workspace.past):
            line = " ".join(str(past.request.prompt).split())
            st.button(
                escape_markdown(
                    f"{line if len(line) < 60 else line[:58] + '…'} · {generation.describe_generation(past.request)}"
                ),
                key=f"recent{i}",
                type="tertiary",
                on_click=_show_again,
                args=(workspace, past),
                help="Shown at once while its model is loaded; its settings are put back too.",
            )


def _show_again(workspace: Workspace, past: Shown) -> None:
    set_kept(**model_choice.read_options(past.spec), **generation.read_options(past.request))
    if not workspace.show_again(past):
        run(workspace)
