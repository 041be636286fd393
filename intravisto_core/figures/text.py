"""Token text on its way into a picture: always shown as it is, never taken for markup."""

from __future__ import annotations

import re
import unicodedata

_REPLACED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "{": "&#123;", "%": "&#37;"}


def _stand_in(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def printable(text: str) -> str:
    """Text with visible stand-ins for control characters and lone surrogates, which no file format can hold."""
    return _REPLACED.sub(_stand_in, text)


def plotly_text(text: str) -> str:
    """Text that Plotly shows as it is: no tags, no entities, no templates (`%{…}`), no formulas (`$…$`).

    Right-to-left text is isolated, so that the numbers beside it stay where they belong.
    """
    escaped = "".join(_MARKUP.get(c, c) for c in printable(text))
    return f"\u2068{escaped}\u2069" if any(unicodedata.bidirectional(c) in ("R", "AL") for c in text) else escaped


def shorten(text: str, most: int) -> str:
    """At most that many characters, the last one an ellipsis where some are left out."""
    return text if len(text) <= most else text[: most - 1] + "…"
