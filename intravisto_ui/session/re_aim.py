"""An edit of one text at the places of another one that read the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from intravisto_core.records import Token
from intravisto_core.request import Intervention, Span
from intravisto_core.request.positions import Positions
from intravisto_ui.session.edit_stack import SetAside
from intravisto_ui.session.text import plural

PLACES = ("positions", "queries", "keys")


@dataclass(frozen=True, slots=True)
class Aimed:
    """An edit at its places in another text.

    what: None where that text has no such place. missing: the tokens that it does not have, as they are shown.
    """

    what: Intervention | None
    missing: tuple[str, ...] = ()


def re_aim(what: Intervention, aside: SetAside, tokens: Sequence[Token], prompt_length: int) -> Aimed:
    """The edit at the places of this text. Places that no token names, such as the whole prompt, stay as they are.

    A place goes to the same token, the same time that it occurs, or else the last time. Where the token is not there,
    the last one of the prompt goes to the last one of this prompt, and any other to the same position.
    """
    changed: dict[str, Any] = {}
    missing: dict[str, None] = {}
    for name in PLACES:
        spots: Positions | None = getattr(what, name, None)
        listed = list_places(spots)
        if listed is None:
            continue
        found = [_find(p, aside, tokens, prompt_length) for p in listed]
        if any(not -prompt_length <= p < len(tokens) for p, _ in found):
            return Aimed(None)
        changed[name] = tuple(dict.fromkeys(p for p, _ in found))
        missing |= dict.fromkeys(token for _, token in found if token)
    return Aimed(replace(what, **changed) if changed else what, tuple(missing))


def list_places(spots: Positions | None) -> tuple[int, ...] | None:
    """The positions that are counted from the beginning, with those beside them; None where there are none."""
    if isinstance(spots, Span) and spots.start >= 0 and spots.stop > 0:
        return tuple(range(spots.start, spots.stop))
    return spots if isinstance(spots, tuple) and any(p >= 0 for p in spots) else None


def _find(position: int, aside: SetAside, tokens: Sequence[Token], prompt_length: int) -> tuple[int, str]:
    """The place in this text, and the token that was looked for if it is not there."""
    if not 0 <= position < len(aside.tokens):
        return position, ""
    wanted = aside.tokens[position].text
    before = sum(token.text == wanted for token in aside.tokens[:position])
    places = [token.position for token in tokens if token.text == wanted]
    if places:
        return places[min(before, len(places) - 1)], ""
    is_last = position == aside.prompt_length - 1
    return (prompt_length - 1 if is_last else position), aside.tokens[position].shown


def count_aside(aside: SetAside | None) -> str:
    """`2 set aside`, "" for none."""
    return "" if aside is None else f"{len(aside.cards)} set aside"


def name_aside(aside: SetAside) -> str:
    """`2 edits of “The Eiffel Tower is in the city of”`."""
    prompt = " ".join(aside.prompt.split())
    return f"{plural(len(aside.cards), 'edit')} of “{prompt if len(prompt) <= 60 else prompt[:59] + '…'}”"
