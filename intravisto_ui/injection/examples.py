"""First experiments, for whoever has never made one: each is one click, an edit of the prompt that is base."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st

from intravisto_core.errors import IntravistoError, RequestError
from intravisto_core.request import Ablate, AttributionView, HeatmapView, Intervention, KnockOut, Replace
from intravisto_core.request.flow import HeadSharesView
from intravisto_core.sites import Part, Site
from intravisto_ui.parts import edit_run
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.parts.variants import name_in_line
from intravisto_ui.session import jobs
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html
from intravisto_ui.session.workspace import Workspace

Experiment = tuple[Intervention, str]
LISTED = 8


def draw(workspace: Workspace, base: Shown) -> None:
    """The experiments beside each other; a click makes the edit and runs it."""
    st.html(
        '<div class="title"><b>Try one of these</b></div><div class="under">Each makes one edit of this prompt, runs '
        "it, and shows what followed. You find the edit as a card at the left, to change it or take it back.</div>"
    )
    for column, (name, (title, words, make)) in zip(st.columns(len(EXAMPLES)), EXAMPLES.items(), strict=True):
        with column.container(border=True, key=f"example_{name}", height="stretch"):
            st.html(
                f'<div class="title"><b>{escape_html(title)}</b></div><div class="under">{escape_html(words)}</div>'
            )
            if draw_press(st.button, "Try it", key=f"try_{name}", width="stretch"):
                _run_experiment(workspace, base, make)


def _run_experiment(workspace: Workspace, base: Shown, make: Callable[[Workspace, Shown], Experiment]) -> None:
    workspace.edits.refusal = None
    try:
        what, story = make(workspace, base)
    except IntravistoError as error:
        workspace.edits.refusal = error
    else:
        workspace.edits.add(what)
        edit_run.run_edits(workspace, base, story)
    st.rerun()


def _last_position(base: Shown) -> int:
    return base.trace.prompt_length - 1


def _find_answers(workspace: Workspace, base: Shown) -> list[tuple[int, str]]:
    """What the model would say at the end of the prompt, the likeliest first: ids, and texts that read as them."""
    row, engine = base.engine.model.n_layers + 1, base.engine
    asked = HeatmapView(base.trace.id, rows=(row,), positions=(_last_position(base),), top_k=LISTED)
    grid = workspace.read_view(base.engine, asked, "example")
    listed = [(int(i), name_in_line(engine, int(i), grid.shown[int(i)])) for i in grid.token_ids[0, 0]]
    typed = [(i, text) for i, text in listed if isinstance(text, str)]
    if len(typed) < 2:
        raise RequestError("example: expected answers that can be typed as one token; this prompt's cannot")
    return typed


def _find_strongest(workspace: Workspace, base: Shown) -> int:
    """The layer whose attention adds most to the answer's lead over the next."""
    (target, _), (contrast, _), *_ = _find_answers(workspace, base)
    asked = AttributionView(base.trace.id, target, contrast, _last_position(base))
    found = workspace.read_view(base.engine, asked, "example")
    ours = [i for i, kind in enumerate(found.kind) if Part(str(kind)) is Part.ATTENTION]
    return int(found.layer[max(ours, key=lambda i: float(found.value[i]))])


def inject_other_answer(workspace: Workspace, base: Shown) -> Experiment:
    """The vector of the runner-up instead of the last layer's own, where the model says its answer."""
    (_, answer), (_, other), *_ = _find_answers(workspace, base)
    what = Replace(Site.RESID_POST, base.engine.model.n_layers - 1, (_last_position(base),), token=other)
    return what, (
        f"The last layer's vector at the end of the prompt gave way to the one that stands for {_quote(other)}, the "
        f"model's second choice after {_quote(answer)}. Nothing comes after that layer, so the answer follows it. "
        "Move the edit to a lower layer and see whether the layers above bring the old answer back."
    )


def ablate_attention(workspace: Workspace, base: Shown) -> Experiment:
    """The attention that adds most to the answer, set to zero at the end of the prompt."""
    layer, (_, answer) = _find_strongest(workspace, base), _find_answers(workspace, base)[0]
    return Ablate(Site.ATTN_OUT, layer, (_last_position(base),)), (
        f"Layer {layer}'s attention adds more to {_quote(answer)} than that of any other layer, by direct "
        "attribution. That is book-keeping; here it was really taken away. If the lead in the table drops, it mattered "
        "for this prompt; if not, other parts made good for it."
    )


def hide_word(workspace: Workspace, base: Shown) -> Experiment:
    """The token that this attention looks at most, hidden from the end of the prompt."""
    layer, last = _find_strongest(workspace, base), _last_position(base)
    asked = HeadSharesView(base.trace.id, layer + 1, last)
    looks = np.abs(jobs.compute_view(base.engine, asked, workspace.id, "example").shares).sum(0)[:last]
    source = int(looks[1:].argmax()) + 1 if last > 1 else 0
    read = base.trace.tokens[source].shown
    return KnockOut(layer=layer, queries=(last,), keys=(source,)), (
        f"At the end of the prompt, layer {layer} looks most at position {source}, which reads ‘{read}’ (position 0 "
        "aside). That look was forbidden, and the rest of its looks count more. If the answer changes, the model took "
        "something from there in this layer."
    )


def _quote(text: str) -> str:
    return f"‘{text.replace(' ', '␣')}’"


EXAMPLES: dict[str, tuple[str, str, Callable[[Workspace, Shown], Experiment]]] = {
    "answer": (
        "Put in another answer",
        "Give the last layer the model's second choice, and see what it writes.",
        inject_other_answer,
    ),
    "part": (
        "Take a part away",
        "Silence the attention that adds most to the answer: was it needed?",
        ablate_attention,
    ),
    "word": (
        "Hide a word",
        "Forbid the look that this attention takes back into the prompt.",
        hide_word,
    ),
}
