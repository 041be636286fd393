"""A field to type a token in: shows at once which tokens the text is, and offers the form with a leading space."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from streamlit.delta_generator import DeltaGenerator

from intravisto_core.engine import Engine
from intravisto_core.records import Token
from intravisto_ui.parts import components
from intravisto_ui.parts.choices import Width
from intravisto_ui.parts.kept import draw_kept, set_kept
from intravisto_ui.session.question import read_tokens
from intravisto_ui.session.text import escape_html, token_html

LISTED = 6
FIRST_TAKEN = "The first, {first}, is taken."
MEAN_TAKEN = "Their mean is put in."


def draw(
    container: DeltaGenerator,
    engine: Engine,
    label: str,
    *,
    key: str,
    placeholder: str,
    help: str,
    width: Width = "stretch",
    several: str = FIRST_TAKEN,
    of: Hashable = None,
) -> str:
    """The text that was typed, "" for none; under it the tokens that the model reads it as.

    several: what becomes of a text of several tokens. of: what the text belongs to, as `draw_kept` has it.
    """
    line = container.container(horizontal=True, vertical_alignment="bottom", gap="small", key=f"{key}_line")
    text = (
        draw_kept(line.text_input, label, key=key, default="", of=of, placeholder=placeholder, help=help, width=width)
        or ""
    )
    components.draw_live(key)

    def take(respelled: str) -> None:
        set_kept(of=of, **{key: respelled})

    return text if draw_tokens(container, line, engine, text, key, take, several) else ""


def draw_tokens(
    container: DeltaGenerator,
    line: DeltaGenerator,
    engine: Engine,
    text: str,
    key: str,
    take: Callable[[str], None],
    several: str = FIRST_TAKEN,
) -> tuple[Token, ...]:
    """The tokens that a typed text is read as, under its field; none for an empty or an unreadable one.

    line: of the field, where a button offers the form with a leading space. take: gets that form when it is pressed.
    """
    if not text:
        return ()
    tokens = read_tokens(engine, text)
    if tokens and not text.startswith((" ", "\n", "\t")):
        other = read_tokens(engine, " " + text)
        if other and other[0].id != tokens[0].id:
            line.button(
                f"take ␣{text.split()[0]}"[:20],
                key=f"{key}_space",
                on_click=take,
                args=(" " + text,),
                help="Take the form with a leading space: inside a text most words begin with one.",
            )
    container.html(f'<div class="hint">{describe_tokens(tokens, several)}</div>')
    return tokens


def describe_tokens(tokens: tuple[Token, ...], several: str = FIRST_TAKEN) -> str:
    """Glyphs and ids as HTML: `␣Rome id 1,204`."""
    if not tokens:
        return "The model cannot read this text."
    listed = " ".join(f"<b>{token_html(t.shown)}</b> id {t.id:,}" for t in tokens[:LISTED])
    if len(tokens) == 1:
        return f"one token: {listed}"
    more = " …" if len(tokens) > LISTED else ""
    return f"{len(tokens)} tokens: {listed}{more}. {escape_html(several.format(first=tokens[0].shown))}"
