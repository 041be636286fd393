"""Edits in the words of the text that is shown: which tokens, and what the main component is now."""

from __future__ import annotations

from intravisto_core.errors import IntravistoError
from intravisto_core.request import HeatmapView, Intervention, ReplaceMain, in_words
from intravisto_core.request.positions import resolve
from intravisto_core.sites import Component, Site
from intravisto_ui.parts import edit_sources
from intravisto_ui.session.workspace import Shown, Workspace

_COMPONENTS = {
    Site.RESID_PRE: Component.BLOCK,
    Site.RESID_MID: Component.MID,
    Site.RESID_POST: Component.BLOCK,
    Site.ATTN_OUT: Component.ATTENTION,
    Site.MLP_OUT: Component.MLP,
}


def describe_card(workspace: Workspace, base: Shown | None, what: Intervention) -> str:
    """`layer 3, position 11 ‘:’ (last of the prompt), block output: the main component ␣Rome becomes ␣Paris`."""
    if base is None:
        return in_words(what)
    words = in_words(what, lambda position: describe_position(base, position), _find_main(workspace, base, what))
    return words + edit_sources.describe_source(what)


def describe_position(base: Shown, position: int) -> str:
    """A position with its token; its number alone where the text has none there."""
    tokens, start = base.trace.tokens, base.trace.prompt_length
    at = position + start if position < 0 else position
    if not 0 <= at < len(tokens):
        return str(position)
    last = " (last of the prompt)" if at == start - 1 else ""
    return f"{at} ‘{tokens[at].shown}’{last}"


def _find_main(workspace: Workspace, base: Shown, what: Intervention) -> str:
    """The top token that a cell has in the baseline, which is what its main component is."""
    if not isinstance(what, ReplaceMain) or not 0 <= what.layer < base.engine.model.n_layers:
        return ""
    try:
        positions = resolve(what.positions, base.trace.prompt_length, len(base.trace.tokens))
        if len(positions) != 1:
            return ""
        row = what.layer + (what.site is not Site.RESID_PRE)
        component = _COMPONENTS[what.site]
        view = HeatmapView(base.trace.id, component, what.lens, rows=(row,), positions=positions, top_k=1)
        grid = workspace.read_view(base.engine, view, "edit-main")
    except IntravistoError:
        return ""
    return str(grid.shown.get(int(grid.token_ids[0, 0, 0]), ""))
