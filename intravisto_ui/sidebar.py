"""The sidebar: what is run. Model, prompt, generation, Run and Cancel, status."""

from __future__ import annotations

import streamlit as st

from intravisto_core.errors import IntravistoError
from intravisto_core.request import MAX_NEW_TOKENS, Generation, ModelSpec, TraceRequest
from intravisto_ui import jobs, model_choice, workspace
from intravisto_ui.examples import DEFAULT, EXAMPLES
from intravisto_ui.prompt import prompt_field
from intravisto_ui.text import escaped, plural
from intravisto_ui.workspace import Workspace, kept

QUICK_S = 0.4


def begin() -> None:
    """At a workspace's first page: open the demo model and trace the default prompt, so that there is a picture."""
    here = workspace.current()
    if here.started:
        return
    here.options.setdefault("prompt", DEFAULT.prompt)
    here.options.setdefault("max_new_tokens", DEFAULT.max_new_tokens)
    here.start(ModelSpec(), request(here))


def draw() -> None:
    """Draw the whole sidebar."""
    here = workspace.current()
    st.html('<div class="brand">InTraVisTo<small>what a language model thinks, layer by layer</small></div>')
    model_choice.draw()
    prompt_field()
    _examples()
    _generation()
    _run(here)
    _recent(here)


def request(here: Workspace) -> TraceRequest:
    """The run that the sidebar asks for as it stands.

    Raises:
        RequestError: what is wrong with it.
    """
    get = here.options.get
    sampled = get("decoding") == "sample"
    return TraceRequest(
        prompt=get("prompt") or "",
        generation=Generation(
            max_new_tokens=int(get("max_new_tokens") or 0),
            temperature=float(get("temperature") or 1.0) if sampled else None,
            top_k=(int(get("top_k") or 0) or None) if sampled else None,
            top_p=_below_one(get("top_p")) if sampled else None,
            seed=int(get("seed") or 0),
            stop=_stops(get("stop") or ""),
            forced=get("forced") or None,
        ),
        add_special_tokens=bool(get("add_special_tokens", True)),
    )


def _below_one(p: object) -> float | None:
    return float(p) if isinstance(p, int | float) and p < 1 else None


def _stops(text: str) -> tuple[str, ...]:
    return tuple(line.replace("\\n", "\n") for line in text.split("\n") if line)


def is_stale(here: Workspace) -> bool:
    """Whether the page shows something else than what the sidebar asks for."""
    if here.shown is None:
        return False
    try:
        return here.shown.request != request(here) or here.shown.spec != model_choice.spec(here)
    except IntravistoError:
        return True


def _take_example() -> None:
    name = st.session_state.get("example")
    chosen = next((e for e in EXAMPLES if e.name == name), None)
    if chosen is not None:
        workspace.put(prompt=chosen.prompt, max_new_tokens=chosen.max_new_tokens)
        run()
    st.session_state["example"] = None


def _examples() -> None:
    st.pills(
        "Examples", [e.name for e in EXAMPLES], key="example", on_change=_take_example, label_visibility="collapsed"
    )
    shown = next((e for e in EXAMPLES if e.prompt == workspace.current().options.get("prompt")), None)
    if shown is not None:
        st.html(f'<div class="hint">{escaped(shown.look)}</div>')


def _generation() -> None:
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="generation")
    kept(
        line.number_input,
        "Generate",
        key="max_new_tokens",
        default=DEFAULT.max_new_tokens,
        min_value=0,
        max_value=MAX_NEW_TOKENS,
        step=1,
        width=128,
        help="How many tokens the model writes after the prompt. 0 looks at the prompt only.",
    )
    sampled = workspace.current().options.get("decoding") == "sample"
    with line.popover("Sampled" if sampled else "Greedy", help="How the next token is chosen"):
        _decoding()


def _decoding() -> None:
    how = kept(
        st.segmented_control,
        "How the next token is chosen",
        key="decoding",
        default="greedy",
        valid=lambda v: v in ("greedy", "sample"),
        options=["greedy", "sample"],
        required=True,
        help="Greedy always takes the most probable token. Sampling draws one by its probability.",
    )
    off = how != "sample"
    why = " Only when sampling." if off else ""
    pair = st.columns(2)
    kept(
        pair[0].number_input,
        "Temperature",
        key="temperature",
        default=1.0,
        min_value=0.05,
        max_value=5.0,
        step=0.1,
        disabled=off,
        help="Below 1 keeps to the probable tokens, above 1 dares more." + why,
    )
    kept(
        pair[1].number_input,
        "Seed",
        key="seed",
        default=0,
        min_value=0,
        step=1,
        disabled=off,
        help="The same seed draws the same text again." + why,
    )
    kept(
        pair[0].number_input,
        "Top-k",
        key="top_k",
        default=0,
        min_value=0,
        step=1,
        disabled=off,
        help="Draw among the k most probable tokens only; 0 is no limit." + why,
    )
    kept(
        pair[1].number_input,
        "Top-p",
        key="top_p",
        default=1.0,
        min_value=0.01,
        max_value=1.0,
        step=0.05,
        disabled=off,
        help="Draw among the most probable tokens that together reach this probability." + why,
    )
    kept(
        st.text_area,
        "Stop at",
        key="stop",
        default="",
        height=68,
        placeholder="one text a line; \\n is a new line",
        help="The run ends where one of these texts appears.",
    )
    kept(
        st.text_input,
        "Continue with",
        key="forced",
        default="",
        placeholder="a text that the answer begins with",
        help="The model is made to go on with this text, and you see what it thought at each of its tokens.",
    )


def run() -> None:
    """Start what the sidebar asks for; a wrong request goes to the error box, and what was shown stays."""
    here = workspace.current()
    try:
        asked = request(here)
        here.start(model_choice.spec(here), asked)
    except IntravistoError as error:
        here.problem = error


def _run(here: Workspace) -> None:
    if here.run is not None and here.engine is not None:
        # a short run ends before the page would show that it runs
        here.run.wait(QUICK_S)
        here.collect()
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
        help="Run the model on this prompt (Ctrl+Enter)",
    )
    st.html(_status(here))


@st.fragment(run_every=jobs.POLL_S)
def _running() -> None:
    here = workspace.current()
    active = here.run
    if active is None or active.ended:
        here.collect()
        st.rerun(scope="app")
    part, words = active.progress()
    st.button(
        "Cancel", width="stretch", key="cancel", on_click=active.cancel, help="Stop this run; what there is stays"
    )
    st.html(
        f'<div class="progress" role="progressbar" aria-valuenow="{part:.2f}"><i style="width:{100 * part:.1f}%"></i></div>'
        f'<div class="status busy"><i></i>{escaped(words)}</div>'
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


def _recent(here: Workspace) -> None:
    if len(here.prompts) < 2:
        return
    with st.popover("Earlier prompts", width="stretch"):
        for i, text in enumerate(here.prompts):
            line = " ".join(text.split())
            st.button(
                line if len(line) < 60 else line[:58] + "…",
                key=f"recent{i}",
                type="tertiary",
                on_click=workspace.put,
                kwargs={"prompt": text},
            )
