"""What a sweep is asked for: prompts one a line, which parts are taken away, how and where."""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError, RequestError
from intravisto_core.request import SweepRequest
from intravisto_core.sites import Ablation, Site
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.kept import draw_kept, set_kept
from intravisto_ui.parts.variants import Variant, name_in_line, read_lines, write_variants
from intravisto_ui.session.question import find_asked_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

PROMPTS = "sweep_prompts"
WHAT: dict[str, tuple[str, tuple[Site, ...]]] = {
    "both": ("heads and MLPs", (Site.Z, Site.MLP_OUT)),
    "heads": ("heads", (Site.Z,)),
    "mlps": ("MLPs", (Site.MLP_OUT,)),
    "attention": ("attention layers", (Site.ATTN_OUT,)),
}
HOW = {str(Ablation.ZERO): "set to zero", str(Ablation.MEAN): "set to its mean"}
PARTS_HELP = "Which parts are taken away, one by one."
HOW_HELP = "What takes the place of the part. The mean is over the tokens of the same prompt, and breaks less."
WHERE = {"prompt": "in the whole prompt", "last": "at its last token"}
WHERE_HELP = "Where the part is taken away."
PROMPTS_HELP = (
    "One prompt a line, each run by itself. After a bar may follow the target, and after another the contrast: "
    "`The capital of Italy is | Rome | Paris`. Without them the model's own top token and its runner-up are taken."
)


def draw(workspace: Workspace, base: Shown) -> tuple[tuple[SweepRequest, ...], str, DeltaGenerator]:
    """The fields; what they ask for, or why that cannot be asked; and the line of the Run button."""
    own = _own_prompt(workspace, base)
    text = draw_kept(
        st.text_area,
        "Prompts, one a line",
        key=PROMPTS,
        default=own.write(),
        of=base.text_id,
        height=92,
        help=PROMPTS_HELP,
    )
    options = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="sweep_options")
    names = {name: label for name, (label, _) in WHAT.items()}
    what = draw_named_choice(options, "Every", "sweep_what", names, PARTS_HELP, "both", width=160)
    how = draw_named_choice(options, "Is", "sweep_how", HOW, HOW_HELP, str(Ablation.ZERO), width=150)
    where = draw_named_choice(options, "Where", "sweep_where", WHERE, WHERE_HELP, "prompt", width=180)
    options.button(
        "Add prompts like it",
        key="sweep_more",
        help="Writes prompts of the same pattern under the first: other names, countries or words of the same kind.",
        on_click=_add_prompts,
        args=(base, str(text or "")),
    )
    try:
        return build_requests(base, str(text or ""), WHAT[what][1], Ablation(how), where), "", options
    except IntravistoError as error:
        return (), str(error), options


def _own_prompt(workspace: Workspace, base: Shown) -> Variant:
    """The prompt at the left with the question's target and contrast, as a line."""
    if not isinstance(base.request.prompt, str):
        return Variant("")
    if base.engine is not base.trace.engine:
        # the question is of another model's tokens
        return Variant(base.request.prompt)
    asked = find_asked_question(workspace, base)
    if asked.position != base.trace.prompt_length - 1:
        return Variant(base.request.prompt)
    contrast = [asked.rival] if workspace.asked.contrast != "" else []
    tokens = (name_in_line(base.engine, token.id, token.shown) for token in (asked.target, *contrast))
    return Variant(base.request.prompt, *tokens)


def _add_prompts(base: Shown, text: str) -> None:
    lines = read_lines(text)
    if lines:
        first = lines[0]
        more = write_variants(base.engine, first.prompt, first.target, first.contrast)
        kept = {one.prompt for one in lines}
        listed = [*lines, *(one for one in more if one.prompt not in kept)]
        set_kept(of=base.text_id, **{PROMPTS: "\n".join(one.write() for one in listed)})


def build_requests(
    base: Shown, text: str, sites: tuple[Site, ...], how: Ablation, where: str
) -> tuple[SweepRequest, ...]:
    """One sweep for each kind of part.

    Raises:
        IntravistoError: something does not fit.
    """
    lines = read_lines(text)
    if not lines:
        raise RequestError("prompts: expected at least one; got none")
    target, contrast = (
        tuple(None if token == "" else token for token in tokens)
        for tokens in ([one.target for one in lines], [one.contrast for one in lines])
    )
    prompts = tuple(one.prompt for one in lines)
    places: Any = "prompt" if where == "prompt" else (-1,)
    return tuple(
        SweepRequest(
            prompts,
            target,
            contrast,
            site,
            how,
            positions=places,
            add_special_tokens=base.request.add_special_tokens,
            chat=base.request.chat and base.engine.model.chat,
        )
        for site in sites
    )
