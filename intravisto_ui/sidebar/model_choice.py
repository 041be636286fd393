"""Which model: one of a list, or any that is typed into the same box; how it is loaded, and what it will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from intravisto_core.errors import IntravistoError, ModelError
from intravisto_core.models.source import on_hub
from intravisto_core.request import DEVICES, DTYPES, QUANTISATIONS, ModelSpec
from intravisto_ui.parts.kept import copy_widgets, draw_kept, set_kept
from intravisto_ui.session import settings
from intravisto_ui.session.estimates import Answer
from intravisto_ui.session.pool import pool
from intravisto_ui.session.settings import DEMO
from intravisto_ui.session.text import escape_html, link_html
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.sidebar import hub_token, model_badges, model_list

TYPED, MOST_TYPED = "typed_models", 8
ASKING_S = 0.5
CHARACTERS_PER_TOKEN = 4
NOT_PACKED = "none"
RELEASE = "Free the memory of this model and of what is shown of it. Run opens it again."
WHAT_TO_TYPE = (
    "The demo model is small and comes with the program. Type over it to open any other: a folder of this machine "
    "with config.json, a tokenizer and safetensors; a GGUF file (/path/x.gguf, or owner/name:x.gguf); a model on the "
    "Hugging Face Hub (owner/name, owner/name@revision); a model of Ollama (ollama:name); or a LoRA adapter."
)
LOADING = {
    "dtype": ("Precision", DTYPES, "auto", "auto keeps the precision that the model was saved in."),
    "quantisation": (
        "Quantisation",
        (NOT_PACKED, *(q for q in QUANTISATIONS if q)),
        NOT_PACKED,
        "int8 takes 8 bits a weight, nf4 about 4: a large model fits, and its numbers change a little.",
    ),
    "device_map": (
        "Device",
        DEVICES,
        "auto",
        "auto takes a GPU where there is one. offload keeps the weights on disk: slow, and nearly any size fits.",
    ),
}


def build_spec(workspace: Workspace) -> ModelSpec:
    """The model that the sidebar asks for.

    Raises:
        IntravistoError: it cannot be loaded in that way.
    """
    get, offered = workspace.options.get, model_list.read_models()
    chosen = (get("model") or "").strip()
    given = offered.specs.get(chosen)
    if given is None and (offered.closed or not chosen):
        given = next(iter(offered.specs.values()))
    if given is None:
        source, revision = _parse_source(chosen)
    elif offered.closed or given.source == DEMO:
        return given
    else:
        source, revision = given.source, given.revision
    packed = get("quantisation")
    return ModelSpec(
        source,
        revision=revision,
        dtype=get("dtype") or "auto",
        quantisation=packed if packed in QUANTISATIONS else None,
        device_map=get("device_map") or "auto",
    )


def _parse_source(text: str) -> tuple[str, str | None]:
    """Source and revision of what was typed: a path, `owner/name` or `owner/name@revision`."""
    source, _, revision = text.partition("@")
    if revision and not Path(text).expanduser().exists() and on_hub(ModelSpec(source)):
        return source, revision
    return text, None


def read_options(spec: ModelSpec) -> dict[str, Any]:
    """The sidebar's options that ask for that model: `build_spec` read backwards."""
    loading = {name: getattr(spec, name) or NOT_PACKED for name in LOADING}
    listed = model_list.read_models().specs
    for exact in (True, False):
        for key, given in listed.items():
            if given == spec or (not exact and (given.source, given.revision) == (spec.source, spec.revision)):
                return {"model": key, **loading}
    return {"model": "@".join(part for part in (spec.source, spec.revision) if part), **loading}


def draw(workspace: Workspace) -> None:
    """The choice; what loading it takes, or what the opened one is."""
    offered = model_list.read_models()
    listed = list(offered.specs)
    # second, as the list is long and only its head is seen at once
    names = listed if offered.closed else [*listed[:1], *_list_typed(workspace, listed), *listed[1:]]
    labels = _label(names, offered.words)
    now = workspace.options.get("model")
    where = f"\n\nNow: `{now}`" if isinstance(now, str) and labels.get(now, now) == _short(now) != now else ""
    draw_kept(
        st.selectbox,
        "Model" if offered.closed else "Model: choose or type",
        key="model",
        default=names[0],
        valid=lambda v: v in names,
        options=names,
        format_func=lambda v: labels.get(v, v),
        on_change=_on_choice,
        args=(workspace,),
        accept_new_options=not offered.closed,
        help="The models that this server offers." if offered.closed else WHAT_TO_TYPE + where,
    )
    wanted = _try_spec(workspace)
    if workspace.engine is not None and workspace.spec == wanted:
        model_badges.draw(workspace, workspace.engine)
    if not settings.read().public:
        _draw_loading(workspace, wanted)


def _label(names: list[str], words: Mapping[str, str]) -> dict[str, str]:
    """How models are listed: the box is narrow, so a path is its last part, where no other name is the same."""
    short = {name: words.get(name) or _short(name) for name in names}
    often = Counter(short.values())
    return {name: label if often[label] == 1 else words.get(name, name) for name, label in short.items()}


def _short(typed: str) -> str:
    """The last part of a path, as the model is called when it is open; anything else as it is."""
    path = Path(typed)
    if not (path.is_absolute() or typed.startswith(("~", "."))):
        return typed
    return path.stem if path.suffix == ".gguf" else path.name or typed


def _list_typed(workspace: Workspace, listed: list[str]) -> list[str]:
    """What was typed into the box, the newest first; the workspace remembers it."""
    now = st.session_state.get("model", workspace.options.get("model"))
    typed = list(workspace.options.get(TYPED, ()))
    if isinstance(now, str) and now.strip() and now not in listed:
        typed = [now, *(text for text in typed if text != now)][:MOST_TYPED]
        workspace.options[TYPED] = typed
    return typed


def _try_spec(workspace: Workspace) -> ModelSpec | None:
    try:
        return build_spec(workspace)
    except IntravistoError:
        return None


def _draw_loading(workspace: Workspace, wanted: ModelSpec | None) -> None:
    """Load it, after what that takes was told; or release what is loaded."""
    is_here = workspace.engine is not None and workspace.spec == wanted
    answer = None
    if wanted is not None and not is_here and workspace.run is None and _on_hub(wanted):
        answer = workspace.estimates.ask(wanted, *_guess_lengths(workspace), workspace.token)
        if answer is None:
            _draw_asking(workspace, wanted)
        else:
            _draw_estimate(answer)
    wants_token = hub_token.is_wanted(workspace.problem) or (answer is not None and hub_token.is_wanted(answer.error))
    if wants_token:
        hub_token.draw(workspace, st.container())
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="loading")
    if wanted is not None and not is_here:
        fits = answer is None or answer.estimate is None or answer.estimate.fits
        why = "" if fits else "It does not fit into the memory that is free: see above what would."
        label = "Load" if answer is None or answer.error is None else "Try again"
        line.button(
            label,
            key="load",
            on_click=_load,
            args=(workspace,),
            disabled=workspace.run is not None or not fits,
            help=why or None,
        )
    if not model_list.read_models().closed and (wanted is None or wanted.source != DEMO):
        with line.popover("How it is loaded"):
            _draw_how(workspace, with_token=not wants_token)
    if is_here and workspace.run is None and wanted is not None and wanted.source != DEMO:
        line.button("Release", key="release", on_click=_release, args=(workspace,), help=RELEASE)


def _draw_how(workspace: Workspace, with_token: bool) -> None:
    device = workspace.options.get("device_map")
    for key, (label, choices, usual, help_text) in LOADING.items():
        barred = key == "quantisation" and device == "offload"
        offered = [NOT_PACKED] if barred else list(choices)
        draw_kept(
            st.selectbox,
            label,
            key=key,
            default=usual,
            valid=offered.__contains__,
            options=list(choices),
            on_change=_on_change,
            args=(workspace,),
            disabled=barred,
            help=help_text + (" Not with weights on disk." if barred else ""),
        )
    if with_token:
        hub_token.draw(workspace, st.container())


def _guess_lengths(workspace: Workspace) -> tuple[int, int]:
    """Tokens of the prompt, by its characters as no tokenizer is there yet, and tokens to generate."""
    text = workspace.options.get("prompt") or ""
    return len(text) // CHARACTERS_PER_TOKEN + 1, int(workspace.options.get("max_new_tokens") or 0)


@st.fragment(run_every=ASKING_S)
def _draw_asking(workspace: Workspace, wanted: ModelSpec) -> None:
    if workspace.estimates.ask(wanted, *_guess_lengths(workspace), workspace.token) is not None:
        st.rerun(scope="app")
    st.html('<div class="hint" role="status">Reading how large it is …</div>')


def _draw_estimate(answer: Answer) -> None:
    if answer.estimate is None:
        st.html(f'<div class="hint short">{link_html(str(answer.error))}</div>')
        return
    short = "" if answer.estimate.fits else " short"
    st.html(f'<div class="hint{short}">Needs {escape_html(answer.estimate.text())}</div>')


def _on_choice(workspace: Workspace) -> None:
    """Take over how the chosen model is offered: some in 4 bit, say."""
    # so that the browser hears of it, and shows the name of a path that was typed
    set_kept(model=st.session_state["model"])
    given = model_list.read_models().specs.get(st.session_state["model"])
    if given is not None:
        set_kept(dtype=given.dtype, quantisation=given.quantisation or NOT_PACKED, device_map=given.device_map)
    _on_change(workspace)


def _on_change(workspace: Workspace) -> None:
    """Open what is on this machine at once, so that the prompt shows its tokens; the Hub waits for a click."""
    copy_widgets()
    if isinstance(workspace.problem, ModelError):
        # it was about the one that was chosen before
        workspace.problem = None
    try:
        wanted = build_spec(workspace)
        at_once = model_list.read_models().closed or not _on_hub(wanted) or wanted in pool().specs
        if wanted != workspace.spec and at_once:
            workspace.start(wanted, None)
    except IntravistoError as error:
        workspace.problem = error


def _on_hub(wanted: ModelSpec) -> bool:
    return settings.read_engine() is None and on_hub(wanted)


def _load(workspace: Workspace) -> None:
    copy_widgets()
    try:
        wanted = build_spec(workspace)
        workspace.estimates.forget(wanted)
        workspace.start(wanted, None)
    except IntravistoError as error:
        workspace.problem = error


def _release(workspace: Workspace) -> None:
    workspace.close()
    freed = pool().drop_idle()
    workspace.notice = (
        "The model was released." if freed else "This workspace let go of the model; others still use it."
    )
