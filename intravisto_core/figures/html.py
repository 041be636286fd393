"""Records as standalone pages: everything inline, nothing from the network."""

from __future__ import annotations

import json
from base64 import b64encode
from html import escape
from pathlib import Path
from typing import Any

from intravisto_core.figures.text import printable
from intravisto_core.figures.web.payload import TEXT_SIZE, Mark, grid_payload, title
from intravisto_core.figures.web.sources import component_source
from intravisto_core.figures.web.strip import strip_tokens
from intravisto_core.records import DecodedGrid, Record, Shares
from intravisto_core.sites import Colour, Lens, NormPolicy, Reading

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
QUESTION = "Which token would each layer predict here?"
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
    payload = b64encode(
        grid_payload(grid, colour, shares, scale, marks, grid.trace, log_scale, clip, text_size)
    ).decode()
    strip = {
        "tokens": strip_tokens(grid.tokens),
        "prompt": grid.prompt_length,
        "rev": grid.trace,
        "top": int(grid.rows.max()) if len(grid.rows) else 0,
        "sel": None,
        "label": any(not t.is_prompt for t in grid.tokens),
    }
    grid_js, grid_css = component_source("grid")
    strip_js, strip_css = component_source("strip")
    body = (
        f'<p class="about">{escape(printable(_about(grid)))}</p>\n<div id="strip"></div>\n<div id="grid"></div>\n'
        f"<footer>{''.join(f'<p>{escape(printable(s))}</p>' for s in _explain(grid))}</footer>"
    )
    bytes_of = f'Uint8Array.from(atob("{payload}"), (c) => c.charCodeAt(0))'
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
    lines.append(
        "Click a cell, or move with the arrow keys; Home, End, Page Up and Page Down go further, Escape clears."
    )
    return [*lines, *grid.notes]
