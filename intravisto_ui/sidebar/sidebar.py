"""The sidebar: what is run. Model, prompt, generation, Run and Cancel, status."""

from __future__ import annotations

import streamlit as st

from intravisto_core.errors import IntravistoError
from intravisto_core.request import ModelSpec
from intravisto_ui.parts.kept import copy_widgets, set_kept
from intravisto_ui.session import jobs, workspace
from intravisto_ui.session.text import escaped, escaped_markdown, plural
from intravisto_ui.session.workspace import Shown, Workspace
from intravisto_ui.sidebar import cost, generation, model_choice
from intravisto_ui.sidebar.examples import DEFAULT, EXAMPLES
from intravisto_ui.sidebar.prompt import prompt_field


def begin() -> None:
    """At a workspace's first page: open the demo model and trace the default prompt, so that there is a picture."""
    here = workspace.current()
    if here.started:
        return
    here.options.setdefault("prompt", DEFAULT.prompt)
    here.options.setdefault("max_new_tokens", DEFAULT.max_new_tokens)
    here.start(model_choice.spec(here), generation.request(here))


def draw() -> None:
    """Draw the whole sidebar."""
    copy_widgets()  # chips, warnings and cost stand above some of the widgets that they depend on
    st.html('<div class="brand">InTraVisTo<small>a language model, layer by layer</small></div>')
    # a container each, so that what comes and goes in one does not move the widgets of the next
    for part in (model_choice.draw, prompt_field, _examples, generation.draw, _run, _recent):
        with st.container():
            part()


def is_stale(here: Workspace) -> bool:
    """Whether the page shows something else than what the sidebar asks for."""
    if here.shown is None:
        return False
    try:
        return here.shown.request != generation.request(here) or here.shown.spec != model_choice.spec(here)
    except IntravistoError:
        return True


def _take_example() -> None:
    name = st.session_state.get("example")
    chosen = next((e for e in EXAMPLES if e.name == name), None)
    if chosen is not None:
        set_kept(prompt=chosen.prompt, max_new_tokens=chosen.max_new_tokens)
        run()
    st.session_state["example"] = None


def _examples() -> None:
    st.pills(
        "Examples", [e.name for e in EXAMPLES], key="example", on_change=_take_example, label_visibility="collapsed"
    )
    here = workspace.current()
    shown = next((e for e in EXAMPLES if e.prompt == here.options.get("prompt")), None)
    if shown is not None and here.spec == ModelSpec(model_choice.DEMO):
        st.html(f'<div class="hint">{escaped(shown.look)}</div>')


def run() -> None:
    """Start what the sidebar asks for; a wrong request goes to the error box, and what was shown stays."""
    here = workspace.current()
    copy_widgets()
    try:
        asked = generation.request(here)
        here.start(model_choice.spec(here), asked)
    except IntravistoError as error:
        here.problem = error


def _run() -> None:
    here = workspace.current()
    if here.run is not None:
        _running()
        return
    st.button(
        "Run",
        type="primary",
        width="stretch",
        key="run",
        on_click=run,
        shortcut="Ctrl+Enter",
    )
    st.html(_status(here))
    if here.engine is not None and here.spec == _chosen(here):
        cost.line(here)


def _chosen(here: Workspace) -> ModelSpec | None:
    try:
        return model_choice.spec(here)
    except IntravistoError:
        return None


@st.fragment(run_every=jobs.POLL_S)
def _running() -> None:
    here = workspace.current()
    active = here.run
    if active is None or active.ended:
        here.collect()
        st.rerun(scope="app")
    part, words = active.progress()
    st.button("Cancel", width="stretch", key="cancel", on_click=active.cancel)
    bar = f'<div class="progress" role="progressbar" aria-valuenow="{part:.2f}">'
    st.html(
        f'{bar}<i style="width:{100 * part:.1f}%"></i></div>'
        f'<div class="status busy" role="status"><i></i>{escaped(words)}</div>'
    )


def _status(here: Workspace) -> str:
    if here.shown is None:
        kind, text = "none", "Nothing was run yet."
    elif is_stale(here):
        kind, text = "stale", "Changed, not run: the page shows the previous prompt."
    else:
        trace = here.shown.trace
        made = len(trace.tokens) - trace.prompt_length
        asked = here.shown.request.generation.max_new_tokens
        short = f"Cancelled after {made} of {asked} tokens" if trace.cancelled else "Done"
        kind, text = "done", f"{short}: {plural(len(trace.tokens), 'position')} in {_seconds(here.shown.seconds)}."
    return f'<div class="status {kind}" role="status"><i></i>{text}</div>'


def _seconds(s: float) -> str:
    return f"{1000 * s:.0f} ms" if s < 1 else f"{s:.1f} s"


def _recent() -> None:
    here = workspace.current()
    if len(here.past) < 2:
        return
    with st.popover("Earlier runs", width="stretch"):
        for i, past in enumerate(here.past):
            line = " ".join(str(past.request.prompt).split())
            st.button(
                escaped_markdown(
                    f"{line if len(line) < 60 else line[:58] + '…'} · {generation.in_words(past.request)}"
                ),
                key=f"recent{i}",
                type="tertiary",
                on_click=_again,
                args=(past,),
                help="Shown at once while its model is loaded; its settings are put back too.",
            )


def _again(past: Shown) -> None:
    here = workspace.current()
    set_kept(**model_choice.options(past.spec), **generation.options(past.request))
    if not here.show_again(past):
        run()
