"""Edits in the words of the text that is shown: which tokens, and what the main component is now."""

from __future__ import annotations

from intravisto_core.errors import IntravistoError
from intravisto_core.request import HeatmapView, Intervention, ReplaceMain, in_words
from intravisto_core.request.positions import resolve
from intravisto_core.sites import Component, Site
from intravisto_ui.parts import edit_sources
from intravisto_ui.session import jobs
from intravisto_ui.session.workspace import Shown, Workspace

_COMPONENTS = {
    Site.RESID_PRE: Component.BLOCK,
    Site.RESID_MID: Component.MID,
    Site.RESID_POST: Component.BLOCK,
    Site.ATTN_OUT: Component.ATTENTION,
    Site.MLP_OUT: Component.MLP,
}


def of_card(here: Workspace, what: Intervention) -> str:
    """`layer 3, position 11 ‘:’ (last of the prompt), block output: the main component ␣Rome becomes ␣Paris`."""
    shown = here.base
    if shown is None:
        return in_words(what)
    said = in_words(what, lambda position: read(shown, position), _main(here, shown, what))
    return said + edit_sources.said(what)


def read(shown: Shown, position: int) -> str:
    """A position with its token; its number alone where the text has none there."""
    tokens, start = shown.trace.tokens, shown.trace.prompt_length
    at = position + start if position < 0 else position
    if not 0 <= at < len(tokens):
        return str(position)
    last = " (last of the prompt)" if at == start - 1 else ""
    return f"{at} ‘{tokens[at].shown}’{last}"


def _main(here: Workspace, shown: Shown, what: Intervention) -> str:
    """The top token that a cell has in the baseline, which is what its main component is."""
    if not isinstance(what, ReplaceMain) or not 0 <= what.layer < shown.engine.model.n_layers:
        return ""
    try:
        places = resolve(what.positions, shown.trace.prompt_length, len(shown.trace.tokens))
        if len(places) != 1:
            return ""
        row = what.layer + (what.site is not Site.RESID_PRE)
        asked = HeatmapView(shown.trace.id, _COMPONENTS[what.site], what.lens, rows=(row,), positions=places, top_k=1)
        grid = here.payload((asked, "main"), lambda: jobs.view(shown.engine, asked, here.id, "edit-main"))
    except IntravistoError:
        return ""
    return str(grid.shown.get(int(grid.token_ids[0, 0, 0]), ""))
