"""Attribution and route as standalone pages: our own scripts, nothing from the network."""

from __future__ import annotations

from typing import Any

import numpy as np

from intravisto_core.figures.attribution import measured
from intravisto_core.figures.flow_html import component_page, sentence
from intravisto_core.figures.numbers import change, share, significant
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.flow_route_payload import route_data
from intravisto_core.figures.web.lines import Lines, packed, part_lines
from intravisto_core.figures.web.strip import strip_tokens
from intravisto_core.records import Attribution, Route, row_label

QUESTION = "Which parts wrote this token's score?"
ROUTE_QUESTION = "Where did each generated token come from?"
MOST_BARS = 200


def attribution_html(found: Attribution, heading: str = QUESTION, order: str = "layer") -> str:
    """The parts as bars, sums and remainder, and the logit as it is reached; order: "layer", or "size"."""
    about = f"{found.model} · {printable(measured(found))}, after position {found.position}"
    lines = [
        "Exact: the parts and the remainder add up to the score. Direct effects only, at the final norm's scale in "
        "this run; what a part prepares for later layers is not counted. A bookkeeping, not causes.",
        *map(sentence, found.notes),
    ]
    return component_page(heading, about, [("attribution", attribution_data(found, order))], lines)


def attribution_data(found: Attribution, order: str = "layer", most: int = MOST_BARS) -> dict[str, Any]:
    """The data of attribution.js; most: bars, the smaller parts make one more."""
    picks = range(len(found.value)) if order == "layer" else np.argsort(-np.abs(found.value), kind="stable").tolist()
    title = f"What each part adds to the {printable(measured(found))}"
    names = [row_label(r, found.n_layers) for r in range(found.n_layers + 2)]
    values = [float(v) for v in found.accumulated]
    return {
        **packed(found.trace, [Lines(title, part_lines(found, picks, most), ("change",))]),
        "signed": True,
        "narrow": True,
        "sums": [{"name": name, "value": change(value)} for name, value in score_sums(found)],
        "rows": [{"label": n, "value": v, "text": significant(v)} for n, v in zip(names, values, strict=True)],
    }


def score_sums(found: Attribution) -> list[tuple[str, float]]:
    """How the parts add up to the model's own score."""
    rows = [
        ("sum of the bars", float(found.value.sum())),
        ("remainder", found.remainder),
        ("the model's own", found.logit),
    ]
    return rows + ([("after the soft-cap", found.capped)] if abs(found.capped - found.logit) > 1e-6 else [])


def route_html(found: Route, heading: str = ROUTE_QUESTION) -> str:
    """The route as a timeline with the strip of tokens."""
    top = found.n_layers + 1
    strip = {
        "tokens": strip_tokens(found.tokens),
        "prompt": found.prompt_length,
        "rev": found.trace,
        "top": top,
        "sel": None,
        "label": True,
    }
    how = f"shares by {found.measure.label}, attention by {found.attention_division.label}"
    parts = [("strip", strip), ("flow_route", route_data(found, top))]
    return component_page(heading, f"{found.model} · {how}", parts, route_caption(found))


def route_caption(found: Route) -> list[str]:
    """What is conserved, what is lost to terminals, and what it is not."""
    lost = float(np.abs(found.lost).sum() / max(1, len(found.positions)))
    ends = f", and {share(lost)} on average that ends before" if lost > 1e-6 else ""
    return [
        f"Each line adds up to 100 % of one token's flow: what reaches the embeddings at each position{ends}. "
        f"Largest error measured {significant(found.conservation)}.",
        "Layers and heads are passed one after the other: their numbers do not add up to 100 %. Sizes, not causes.",
        *map(sentence, found.notes),
    ]
