"""Which model: the demo model or a local folder, with its badges."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.errors import IntravistoError, ModelError
from intravisto_core.request import DEVICES, DTYPES, ModelSpec
from intravisto_core.sites import Capability
from intravisto_ui import settings, workspace
from intravisto_ui.text import count, escaped
from intravisto_ui.workspace import Workspace, kept

DEMO, FOLDER = "demo", "a folder on this machine"


def spec(here: Workspace) -> ModelSpec:
    """The model that the sidebar asks for.

    Raises:
        ModelError: a folder is asked for and none is named.
    """
    get = here.options.get
    offered = settings.read().models
    if offered is not None:
        return ModelSpec(get("model") if get("model") in offered else offered[0])
    source = DEMO
    if get("model") == FOLDER:
        source = (get("folder") or "").strip()
        if not source:
            raise ModelError(
                "folder: expected the path of a folder with config.json and safetensors; got nothing. Type one."
            )
    return ModelSpec(source, dtype=get("dtype") or "auto", device_map=get("device_map") or "auto")


def options(spec: ModelSpec) -> dict[str, Any]:
    """The sidebar's options that ask for that model: `spec` read backwards."""
    if settings.read().models is not None:
        return {"model": spec.source}
    if spec.source == DEMO:
        return {"model": DEMO}
    return {"model": FOLDER, "folder": spec.source, "dtype": spec.dtype, "device_map": spec.device_map}


def draw() -> None:
    """The choice, and what the opened model is."""
    here = workspace.current()
    offered = settings.read().models or (DEMO, FOLDER)
    chosen = kept(
        st.selectbox,
        "Model",
        key="model",
        default=offered[0],
        valid=lambda v: v in offered,
        options=list(offered),
        format_func=_named,
        on_change=_changed,
        help="The demo model is small and comes with the program. "
        + (
            "A folder holds a Hugging Face model: config.json, a tokenizer and safetensors."
            if FOLDER in offered
            else ""
        ),
    )
    if chosen == FOLDER:
        kept(st.text_input, "Folder", key="folder", default="", placeholder="/path/to/model", on_change=_changed)
        pair = st.columns(2)
        kept(
            pair[0].selectbox,
            "Precision",
            key="dtype",
            default="auto",
            options=list(DTYPES),
            on_change=_changed,
            valid=lambda v: v in DTYPES,
            help="auto keeps the precision that the model was saved in.",
        )
        kept(
            pair[1].selectbox,
            "Device",
            key="device_map",
            default="auto",
            options=list(DEVICES),
            on_change=_changed,
            valid=lambda v: v in DEVICES,
            help="auto takes a GPU where there is one.",
        )
    if here.engine is not None:
        st.html(_badges(here))


def _named(value: str) -> str:
    return value + " …" if value == FOLDER else settings.name(value)


def _changed() -> None:
    """Open the newly chosen model at once, so that the prompt shows its tokens; nothing is run yet."""
    here = workspace.current()
    workspace.copy_widgets()
    if here.options.get("model") == FOLDER and not (here.options.get("folder") or "").strip():
        return
    try:
        wanted = spec(here)
        if wanted != here.spec:
            here.start(wanted, None)
    except IntravistoError as error:
        here.problem = error


def _badges(here: Workspace) -> str:
    card = here.engine.model
    said = [
        (card.family, "model family"),
        (f"{count(card.n_parameters)} parameters", "numbers that were learned"),
        (f"{card.n_layers} layers", "blocks, one after the other"),
        (f"{card.n_heads} heads", "attention heads in every layer"),
        (f"width {card.d_model}", "numbers in the stream at each position (d_model)"),
        (card.dtype, "precision of the numbers"),
    ]
    badges = "".join(f'<span title="{escaped(why)}">{escaped(str(what))}</span>' for what, why in said)
    for capability in Capability:
        check = card.capabilities.get(capability)
        if check is not None and not check.ok:
            why = f"{check.reason or 'check failed'}"
            badges += f'<span class="lacks" title="{escaped(why)}">not: {escaped(capability.label)}</span>'
    return f'<div class="badges">{badges}</div>'
