"""What the token strip in the browser is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from intravisto_core.figures.text import printable
from intravisto_core.records import Token
from intravisto_core.sites import TokenKind


def strip_data(tokens: Sequence[Token], prompt_length: int, rev: str, top: int) -> dict[str, Any]:
    """The data of `strip.js` on a page where nothing is selected yet.

    rev: the trace's id. top: the heatmap row that a generated token's chip leads to.
    """
    return {
        "tokens": strip_tokens(tokens),
        "prompt": prompt_length,
        "rev": rev,
        "top": top,
        "sel": None,
        "label": any(not t.is_prompt for t in tokens),
    }


def strip_tokens(tokens: Sequence[Token]) -> list[dict[str, object]]:
    """The tokens as `strip.js` reads them: text, place, id, and of what is not plain text its kind."""
    return [_token(t) for t in tokens]


def _token(token: Token) -> dict[str, object]:
    plain: dict[str, object] = {"t": printable(token.shown), "p": token.position, "id": token.id}
    if token.kind is TokenKind.WORD:
        return plain
    kind = {"sort": str(token.kind), "kind": token.kind.label, "spells": printable(token.spells), "part": token.part}
    return plain | kind
