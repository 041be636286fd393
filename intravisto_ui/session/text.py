"""Small pieces of text for the pages. Whatever comes from a model or a user is escaped before it meets HTML."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable

_MARKDOWN = re.compile(r"[\\`*_{}\[\]()<>#+\-.!|~$:&]")
_ON_THE_HUB = re.compile(r"https://huggingface\.co/[\w/-]+(\.[\w/-]+)*")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def escaped(text: str) -> str:
    """Text as HTML that shows exactly that text. Control characters become their pictures."""
    clean = _CONTROL.sub(lambda m: chr(0x2400 + ord(m[0])) if ord(m[0]) < 32 else "\ufffd", text)
    return html.escape(clean, quote=True)


def linked(text: str) -> str:
    """As `escaped`, with addresses on the Hub to be clicked."""
    link = r'<a href="\g<0>" target="_blank" rel="noopener noreferrer">\g<0></a>'
    return _ON_THE_HUB.sub(link, escaped(text))


def escaped_markdown(text: str) -> str:
    """Text for a label, which Streamlit reads as Markdown: shows exactly that text."""
    return _MARKDOWN.sub(r"\\\g<0>", text)


def token(shown: str) -> str:
    """A token as HTML: literal, with its leading visible space dimmed."""
    rest = shown.lstrip("␣")
    spaces = shown[: len(shown) - len(rest)]
    dim = f'<span class="sp">{spaces}</span>' if spaces else ""
    return f'<span class="tk">{dim}{escaped(rest)}</span>'


def hints(sentences: Iterable[str]) -> str:
    """What a reader must know of a picture, as HTML: a line each, close together."""
    return "".join(f'<div class="hint">{escaped(sentence)}</div>' for sentence in sentences)


def percent(p: float) -> str:
    """A probability: three significant digits, never 0 or 100 % for what is neither."""
    if not math.isfinite(p):
        return "–"
    if p > 0.9995:
        return ">99.9 %"
    return f"{100 * p:.3g} %" if p >= 1e-5 else "<0.001 %"


def count(n: float) -> str:
    """A large number: 1.73 M, 12.4 k."""
    for size, unit in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if n >= size:
            return f"{n / size:.3g}{unit}"
    return f"{n:.0f}"


def size(n_bytes: float) -> str:
    """Bytes in the largest unit that keeps the number above 1."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if n_bytes >= 1000**power:
            return f"{n_bytes / 1000**power:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"


def plural(n: int, one: str, many: str = "") -> str:
    """`1 token`, `2 tokens`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
