"""A field to type a token in: shows at once which tokens the text is, and offers the form with a leading space."""

from __future__ import annotations

from typing import Any

from intravisto_core.errors import IntravistoError
from intravisto_core.records import Token
from intravisto_ui.parts import components
from intravisto_ui.parts.kept import kept, set_kept
from intravisto_ui.session.text import escaped, token

SHOWN = 6
FIRST = "The first, {first}, is taken."
MEAN = "Their mean is put in."


def draw(
    place: Any,
    engine: Any,
    label: str,
    *,
    key: str,
    placeholder: str,
    help: str,
    width: Any = "stretch",
    several: str = FIRST,
) -> str:
    """The text that was typed, "" for none; under it the tokens that the model reads it as.

    several: what becomes of a text of several tokens.
    """
    line = place.container(horizontal=True, vertical_alignment="bottom", gap="small", key=f"{key}_line")
    text = kept(line.text_input, label, key=key, default="", placeholder=placeholder, help=help, width=width) or ""
    components.live(key)
    if not text:
        return ""
    tokens = read(engine, text)
    if tokens and not text.startswith((" ", "\n", "\t")):
        other = read(engine, " " + text)
        if other and other[0].id != tokens[0].id:
            line.button(
                f"take ␣{text.split()[0]}"[:20],
                key=f"{key}_space",
                on_click=set_kept,
                kwargs={key: " " + text},
                help="Take the form with a leading space: inside a text most words begin with one.",
            )
    place.html(f'<div class="hint">{in_words(tokens, several)}</div>')
    return text if tokens else ""


def read(engine: Any, text: str) -> tuple[Token, ...]:
    """The tokens of a typed text; none where the model cannot read it."""
    try:
        return tuple(engine.tokenize(text, add_special_tokens=False))
    except IntravistoError:
        return ()


def in_words(tokens: tuple[Token, ...], several: str = FIRST) -> str:
    """Glyphs and ids as HTML: `␣Rome id 1,204`."""
    if not tokens:
        return "The model cannot read this text."
    listed = " ".join(f"<b>{token(t.shown)}</b> id {t.id:,}" for t in tokens[:SHOWN])
    if len(tokens) == 1:
        return f"one token: {listed}"
    more = " …" if len(tokens) > SHOWN else ""
    return f"{len(tokens)} tokens: {listed}{more}. {escaped(several.format(first=tokens[0].shown))}"
