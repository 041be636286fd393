"""How the text goes on after the prompt, and the run that the sidebar asks for."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.request import Generation, TraceRequest
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.session import settings
from intravisto_ui.session.text import plural
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.sidebar import chat
from intravisto_ui.sidebar.examples import DEFAULT

SAMPLING: tuple[tuple[str, str, float, dict[str, Any], str], ...] = (
    (
        "Temperature",
        "temperature",
        1.0,
        {"min_value": 0.05, "max_value": 5.0, "step": 0.1},
        "Below 1 keeps to the probable tokens, above 1 dares more.",
    ),
    ("Seed", "seed", 0, {"min_value": 0, "step": 1}, "The same seed draws the same text again."),
    ("Top-k", "top_k", 0, {"min_value": 0, "step": 1}, "Draw among the k most probable tokens only; 0 is no limit."),
    (
        "Top-p",
        "top_p",
        1.0,
        {"min_value": 0.01, "max_value": 1.0, "step": 0.05},
        "Draw among the most probable tokens that together reach this probability.",
    ),
)


def build_request(workspace: Workspace) -> TraceRequest:
    """The run that the sidebar asks for as it stands.

    Raises:
        RequestError: what is wrong with it.
    """
    get = workspace.options.get
    sampled = get("decoding") == "sample"
    return TraceRequest(
        prompt=get("prompt") or "",
        generation=Generation(
            max_new_tokens=int(get("max_new_tokens") or 0),
            temperature=float(get("temperature") or 1.0) if sampled else None,
            top_k=(int(get("top_k") or 0) or None) if sampled else None,
            top_p=_below_one(get("top_p")) if sampled else None,
            seed=int(get("seed") or 0),
            stop=_parse_stops(get("stop") or ""),
            forced=get("forced") or None,
        ),
        add_special_tokens=bool(get("add_special_tokens", True)),
        chat=chat.is_on(workspace),
        messages=chat.read_messages(workspace),
    )


def read_options(request: TraceRequest) -> dict[str, Any]:
    """The sidebar's options that ask for that run: `build_request` read backwards. Only for requests that it made."""
    asked = request.generation
    found: dict[str, Any] = {
        "prompt": request.prompt,
        "max_new_tokens": asked.max_new_tokens,
        "decoding": "greedy" if asked.temperature is None else "sample",
        "seed": asked.seed,
        "stop": "\n".join(str(text).replace("\n", "\\n") for text in asked.stop),
        "forced": asked.forced or "",
        "add_special_tokens": request.add_special_tokens,
    }
    if asked.temperature is not None:
        found |= {"temperature": asked.temperature, "top_k": asked.top_k or 0, "top_p": asked.top_p or 1.0}
    return found | chat.read_options(request)


def describe_generation(request: TraceRequest) -> str:
    """How the text was made to go on, briefly: `10 tokens, sampled`."""
    asked = request.generation
    parts = [plural(asked.max_new_tokens, "token")]
    if asked.temperature is not None:
        parts.append(f"sampled at {asked.temperature:g}, seed {asked.seed}")
    return ", ".join(parts)


def _below_one(p: object) -> float | None:
    return float(p) if isinstance(p, int | float) and p < 1 else None


def _parse_stops(text: str) -> tuple[str, ...]:
    return tuple(line.replace("\\n", "\n") for line in text.split("\n") if line)


def draw(workspace: Workspace) -> None:
    """How many tokens, and how each is chosen."""
    most = settings.read().new_tokens
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="generation")
    draw_kept(
        line.number_input,
        "Generate",
        key="max_new_tokens",
        default=min(DEFAULT.max_new_tokens, most),
        valid=lambda v: v <= most,
        min_value=0,
        max_value=most,
        step=1,
        width=128,
        help="How many tokens the model writes after the prompt. 0 looks at the prompt only.",
    )
    sampled = workspace.options.get("decoding") == "sample"
    with line.popover("Sampled" if sampled else "Greedy"):
        _draw_decoding()


def _draw_decoding() -> None:
    how = draw_kept(
        st.segmented_control,
        "How the next token is chosen",
        key="decoding",
        default="greedy",
        valid=lambda v: v in ("greedy", "sample"),
        options=["greedy", "sample"],
        required=True,
        help="Greedy always takes the most probable token. Sampling draws one by its probability.",
    )
    pair = st.columns(2)
    for i, (label, key, default, limits, help_text) in enumerate(SAMPLING):
        draw_kept(
            pair[i % 2].number_input,
            label,
            key=key,
            default=default,
            disabled=how != "sample",
            help=help_text + (" Only when sampling." if how != "sample" else ""),
            **limits,
        )
    draw_kept(
        st.text_area,
        "Stop at",
        key="stop",
        default="",
        height=68,
        placeholder="one text a line; \\n is a new line",
        help="The run ends where one of these texts appears.",
    )
    draw_kept(
        st.text_input,
        "Continue with",
        key="forced",
        default="",
        placeholder="a text that the answer begins with",
        help="The model is made to go on with this text, and you see what it thought at each of its tokens.",
    )
