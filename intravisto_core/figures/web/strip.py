"""What the token strip is given."""

from __future__ import annotations

from collections.abc import Sequence

from intravisto_core.figures.text import printable
from intravisto_core.records import Token
from intravisto_core.sites import TokenKind


def strip_tokens(tokens: Sequence[Token]) -> list[dict[str, object]]:
    """The tokens as `strip.js` reads them: text, place, id, and of what is not plain text its kind."""
    return [_token(t) for t in tokens]


def _token(token: Token) -> dict[str, object]:
    plain: dict[str, object] = {"t": printable(token.shown), "p": token.position, "id": token.id}
    if token.kind is TokenKind.WORD:
        return plain
    told = {"sort": str(token.kind), "kind": token.kind.label, "spells": printable(token.spells), "part": token.part}
    return plain | told
