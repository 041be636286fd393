"""Edits in the words of the text that is shown: which tokens, and what the main component is now."""

from __future__ import annotations

from collections.abc import Sequence

from intravisto_core.errors import IntravistoError
from intravisto_core.records import Token
from intravisto_core.request import HeatmapView, Intervention, ReplaceMain, in_words
from intravisto_core.request.phrases import name_positions
from intravisto_core.request.positions import resolve
from intravisto_core.sites import Component, Site
from intravisto_ui.parts import edit_sources
from intravisto_ui.session.re_aim import PLACES, list_places
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

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
    tokens, start = base.trace.tokens, base.trace.prompt_length
    words = in_words(what, lambda p: describe_position(tokens, start, p), _find_main(workspace, base, what))
    return words + edit_sources.describe_source(what)


def describe_in(tokens: Sequence[Token], prompt_length: int, what: Intervention) -> str:
    """An edit in the words of a text."""
    return in_words(what, lambda position: describe_position(tokens, prompt_length, position))


def describe_places(tokens: Sequence[Token], prompt_length: int, what: Intervention) -> str:
    """The places of an edit in the words of a text, without what it does there."""
    spots = [getattr(what, name) for name in PLACES if hasattr(what, name)]
    named = (name_positions(each, lambda p: describe_position(tokens, prompt_length, p)) for each in spots)
    return ", ".join(named)


def names_tokens(what: Intervention) -> bool:
    """Whether its places are tokens, which another text may have elsewhere."""
    return any(list_places(getattr(what, name, None)) is not None for name in PLACES)


def describe_position(tokens: Sequence[Token], prompt_length: int, position: int) -> str:
    """A position with its token; its number alone where the text has none there."""
    at = position + prompt_length if position < 0 else position
    if not 0 <= at < len(tokens):
        return str(position)
    last = " (last of the prompt)" if at == prompt_length - 1 else ""
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
