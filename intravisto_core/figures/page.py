"""Records as standalone pages: everything inline, nothing from the network."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from intravisto_core.figures.text import printable
from intravisto_core.figures.web.bundle import component_source
from intravisto_core.figures.web.comparison_payload import comparison_payload
from intravisto_core.figures.web.payload import TEXT_SIZE, Mark, grid_payload, title
from intravisto_core.figures.web.strip import strip_tokens
from intravisto_core.records import Comparison, DecodedGrid, Record, Shares, Token
from intravisto_core.sites import Colour, Lens, NormPolicy, Reading

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
QUESTION = "Which token would each layer predict here?"
HANDS = "Click a cell, or move with the arrow keys; Home, End, Page Up and Page Down go further, Escape clears."
_PAGE = Path(__file__).parent / "web" / "page.css"


def grid_html(
    grid: DecodedGrid,
    colour: Colour | str = Colour.P_MAX,
    shares: Shares | None = None,
    scale: str = "component",
    marks: tuple[Mark, ...] = (),
    heading: str = QUESTION,
    log_scale: bool = False,
    clip: bool = False,
    text_size: float = TEXT_SIZE,
) -> str:
    """The interactive heatmap as a page; the options are those of `grid_payload`."""
    payload = grid_payload(grid, colour, shares, scale, marks, grid.trace, log_scale, clip, text_size)
    strip = _strip(grid.tokens, grid.prompt_length, grid.trace, grid.rows)
    return _sheet_page(heading, _about(grid), payload, strip, _explain(grid))


def comparison_html(comparison: Comparison, colour: str = "", marks: tuple[Mark, ...] | None = None) -> str:
    """The difference of two runs as an interactive heatmap on a page; colour and marks as in `comparison_payload`."""
    tokens = [comparison.edited_tokens[int(p)] for p in comparison.positions]
    payload = comparison_payload(comparison, colour, marks, comparison.edited)
    strip = _strip(tokens, sum(t.is_prompt for t in comparison.edited_tokens), comparison.edited, comparison.rows)
    about = "; ".join(comparison.edits) or "the same text in both runs"
    lines = [
        "Each cell shows the edited run's top token; the colour is how far the edits moved it from the cell of the "
        "baseline. At the pointer stand the top tokens of both runs.",
        HANDS,
    ]
    return _sheet_page("What the edits changed", about, payload, strip, [*lines, *comparison.notes])


def _strip(tokens: Sequence[Token], prompt_length: int, rev: str, rows: np.ndarray) -> dict[str, Any]:
    """What strip.js is given of the positions that a heatmap shows."""
    return {
        "tokens": strip_tokens(tokens),
        "prompt": prompt_length,
        "rev": rev,
        "top": int(rows.max()) if len(rows) else 0,
        "sel": None,
        "label": any(not t.is_prompt for t in tokens),
    }


def _sheet_page(heading: str, about: str, payload: bytes, strip: dict[str, Any], lines: Sequence[str]) -> str:
    """A page with a strip of tokens, a heatmap and sentences under it."""
    grid_js, grid_css = component_source("grid")
    strip_js, strip_css = component_source("strip")
    body = (
        f'<p class="about">{escape(printable(about))}</p>\n<div id="strip"></div>\n<div id="grid"></div>\n'
        f"<footer>{''.join(f'<p>{escape(printable(s))}</p>' for s in lines)}</footer>"
    )
    bytes_of = f'Uint8Array.from(atob("{b64encode(payload).decode()}"), (c) => c.charCodeAt(0))'
    scripts = [component_mount("strip", strip_js, inline_json(strip)), component_mount("grid", grid_js, bytes_of)]
    return standalone_page(heading, f"{grid_css}\n{strip_css}", body, scripts)


def figure_html(record: Record, **options: Any) -> str:
    """The record's Plotly figure as a page, with Plotly's script inside."""
    figure = record.figure(**options)
    drawn = figure.to_html(full_html=False, include_plotlyjs=True, include_mathjax=False, config={"displaylogo": False})
    return standalone_page(type(record).__name__, "", drawn, [])


def component_mount(place: str, source: str, data: str) -> str:
    """A script that runs a component in the element of that id; it reports to nobody."""
    body, _, exported = source.rpartition("export default function")
    return (
        f"{body}\nconst mount = function{exported}\n"
        f'mount({{ data: {data}, parentElement: document.getElementById("{place}"), '
        "setStateValue() {}, setTriggerValue() {} });"
    )


def inline_json(value: object) -> str:
    """JSON that can stand in a script element."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e")


def standalone_page(title: str, style: str, body: str, scripts: list[str]) -> str:
    """A whole page with everything inline, which may load nothing."""
    modules = "\n".join(f'<script type="module">\n{script}\n</script>' for script in scripts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(printable(title))}</title>\n<style>\n{_PAGE.read_text('utf-8')}\n{style}\n</style>\n</head>\n"
        f"<body>\n<h1>{escape(printable(title))}</h1>\n{body}\n{modules}\n</body>\n</html>\n"
    )


def _about(grid: DecodedGrid) -> str:
    return f"{grid.model} · {title(grid)} · {grid.norm.label}"


def _explain(grid: DecodedGrid) -> list[str]:
    """What the numbers are, in sentences."""
    lines = [
        "Each column is a position of the text: it reads its token and says the next one, the model's own top token. "
        f"Each row decodes the {grid.component.label} of one layer.",
        f"Lens “{grid.lens.label}”. {Lens(grid.lens).help}",
        f"Norm “{grid.norm.label}”. {NormPolicy(grid.norm).help}",
    ]
    if grid.is_update:
        lines.append(
            "Cells show the token whose logit this update raises most, and by how much; at the pointer also the most "
            "lowered ones. A change of logit is no probability."
        )
    elif grid.reading is Reading.ITERATIVE:
        lines.append(
            "Cells list the top token, then the top of what is left once its direction is taken away, and so on; the "
            "numbers at the pointer are the lengths along those directions."
        )
    else:
        lines.append("Probabilities are a softmax over the whole vocabulary; entropy is in nats, 0 is certain.")
    return [*lines, HANDS, *grid.notes]
