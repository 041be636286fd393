"""Texts with their tokens shaded by an activation, as HTML; nothing here brings Plotly or pandas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from intravisto_core.figures.numbers import change
from intravisto_core.figures.text import printable
from intravisto_core.records import ActiveText, ActiveTexts

ACTIVE, AGAINST = (181, 40, 143), (196, 98, 16)
DARKEST = 0.6  # of the colour, so that text on it stays legible on a light and on a dark page
STYLE = """
.shaded-text { margin: 4px 0; line-height: 1.9; overflow-wrap: anywhere; }
.shaded-text b { margin-right: 10px; font-weight: 400; font-size: 12px; opacity: .7; }
.shaded-text span { padding: 2px 1px; border-radius: 3px; white-space: pre-wrap; unicode-bidi: isolate; }
.shaded-text .most { box-shadow: inset 0 -2px 0 currentColor; }
"""


def shade_texts(found: ActiveTexts, titles: Sequence[str]) -> str:
    """Every text on a line of its own, on one scale. titles: what stands before each."""
    most = max((abs(each.largest) for each in found.texts), default=0.0) or 1.0
    return "\n".join(_shade(each, title, most) for each, title in zip(found.texts, titles, strict=True))


def _shade(text: ActiveText, title: str, most: float) -> str:
    parts = []
    for place, token in enumerate(text.tokens):
        value = float(text.activation[place])
        known = math.isfinite(value)
        red, green, blue = ACTIVE if not value < 0 else AGAINST
        share = DARKEST * min(1.0, abs(value) / most) if known else 0.0
        told = change(value) if known else "not computed: its expert was not chosen"
        kind = ' class="most"' if place == text.position else ""
        parts.append(
            f'<span{kind} style="background: rgba({red}, {green}, {blue}, {share:.3f})" '
            f'title="{escape(f"{place}: {told}")}">{escape(printable(token.shown))}</span>'
        )
    return f'<div class="shaded-text"><b>{escape(title)}</b>{"".join(parts)}</div>'
