"""Small pieces of text for the pages. Whatever comes from a model or a user is escaped before it meets HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_MARKDOWN = re.compile(r"[\\`*_{}\[\]()<>#+\-.!|~$:&]")
_ON_THE_HUB = re.compile(r"https://huggingface\.co/[\w/-]+(\.[\w/-]+)*")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def escape_html(text: str) -> str:
    """Text as HTML that shows exactly that text. Control characters become their pictures."""
    clean = _CONTROL.sub(lambda m: chr(0x2400 + ord(m[0])) if ord(m[0]) < 32 else "\ufffd", text)
    return html.escape(clean, quote=True)


def link_html(text: str) -> str:
    """As `escape_html`, with addresses on the Hub to be clicked."""
    link = r'<a href="\g<0>" target="_blank" rel="noopener noreferrer">\g<0></a>'
    return _ON_THE_HUB.sub(link, escape_html(text))


def escape_markdown(text: str) -> str:
    """Text for a label, which Streamlit reads as Markdown: shows exactly that text."""
    return _MARKDOWN.sub(r"\\\g<0>", text)


def token_html(shown: str) -> str:
    """A token as HTML: literal, with its leading visible space dimmed."""
    rest = shown.lstrip("␣")
    spaces = shown[: len(shown) - len(rest)]
    dim = f'<span class="sp">{spaces}</span>' if spaces else ""
    return f'<span class="tk">{dim}{escape_html(rest)}</span>'


def hint_html(sentences: Iterable[str]) -> str:
    """What a reader must know of a picture, as HTML: a line each, close together."""
    return "".join(f'<div class="hint">{escape_html(sentence)}</div>' for sentence in sentences)


def short_count(n: float) -> str:
    """A large number in short: 1.73 M, 12.4 k."""
    for scale, unit in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        # 999.5 of the smaller unit would be written as 1,000 of it
        if n >= 0.9995 * scale:
            return f"{n / scale:.3g}{unit}"
    return f"{n:.0f}"


def plural(n: int, one: str, many: str = "") -> str:
    """`1 token`, `2 tokens`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
