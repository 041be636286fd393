"""Saliency as shaded tokens, and the sentences under them.

It needs neither pandas nor Plotly, as the app's first picture does not wait for them.
"""

from __future__ import annotations

from html import escape

import numpy as np

from intravisto_core.figures.numbers import change, significant
from intravisto_core.figures.text import printable
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import Saliency
from intravisto_core.sites import SaliencyMethod

RAISES, LOWERS = (47, 111, 189), (196, 98, 16)
DARKEST = 0.6  # of the colour, so that text on it stays legible on a light and on a dark page
STYLE = """
.saliency { line-height: 2; overflow-wrap: anywhere; }
.saliency span { margin: 0 1px; padding: 2px 3px; border-radius: 3px; white-space: pre-wrap; unicode-bidi: isolate; }
.saliency .held { outline: 1px dashed #8a94a3; outline-offset: -1px; opacity: .75; }
.saliency .says { box-shadow: inset 0 -2px 0 currentColor; }
.saliency .later { opacity: .45; }
"""
METHODS = {
    SaliencyMethod.GRADIENT_INPUT: "the slope of the score at a token's embedding, times the embedding",
    SaliencyMethod.INTEGRATED_GRADIENTS: "the mean slope on the way from a reference to the text, times the way",
    SaliencyMethod.OCCLUSION: "how much lower the score is with other tokens in the token's place",
}


def question(found: Saliency) -> str:
    """What the picture answers: `Which tokens does ␣Rome depend on?`."""
    return f"Which tokens does {printable(found.target)} depend on?"


def shade_tokens(found: Saliency) -> str:
    """The tokens as HTML, blue where they raise the score and orange where they lower it; `STYLE` goes with it."""
    most = float(np.abs(found.scores).max()) or 1.0
    return f'<div class="saliency">{"".join(_shade(found, p, most) for p in range(len(found.tokens)))}</div>'


def _shade(found: Saliency, position: int, most: float) -> str:
    score, kind, says = float(found.scores[position]), "", ""
    if position > found.position:
        kind, says = "later", "comes after the prediction"
    elif found.held[position]:
        kind, says = "held", "stays as it is"
    else:
        says = f"{change(score)} logits"
    if position == found.position:
        kind, says = f"{kind} says".strip(), f"{says}; says the token"
    red, green, blue = RAISES if score >= 0 else LOWERS
    shown = escape(printable(found.tokens[position].shown))
    colour = f"rgba({red}, {green}, {blue}, {DARKEST * abs(score) / most:.3f})"
    title = f"position {position}: {shown}, {says}"
    return f'<span class="{kind}" style="background: {colour}" title="{title}">{shown}</span><wbr>'


def explain_shades(found: Saliency) -> list[str]:
    """Sentences under the tokens: what a shade is, how far the scores add up, what the reader must know."""
    most = float(np.abs(found.scores).max())
    lines = [
        f"Blue raises, orange lowers the score: {METHODS[found.method]}. The strongest shade is {significant(most)} "
        "logits. The underlined position says the token."
    ]
    if found.held.any():
        lines.append("Tokens with a dashed frame stay as they are and have no score.")
    if found.completeness_error is not None:
        lines.append(
            f"All scores together are {change(float(found.scores.sum()))}; from the reference to the text the score "
            f"changes by {change(found.metric - (found.metric_reference or 0.0))} ({found.steps:,} steps)."
        )
    if found.replaced_by is not None:
        lines.append(f"A mean over {found.replaced_by.shape[1]} other tokens drawn by chance for each place.")
    return [*lines, *(as_sentence(printable(note)) for note in found.notes)]


def describe(found: Saliency) -> str:
    """One line about the picture: method, contrast, position, model."""
    against = f" · against {printable(found.contrast)}" if found.has_contrast else ""
    score = f" · score {change(found.metric)}"
    return f"{found.model} · {found.method.label} · after position {found.position}{against}{score}"
