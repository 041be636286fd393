"""A whole page with everything inline, which asks the network for nothing: of components, or of a Plotly figure."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from intravisto_core.figures.text import printable
from intravisto_core.figures.web.bundle import component_source, read_asset

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
HEATMAP_KEYS = "Click a cell, or move with the arrow keys; Home, End, Page Up and Page Down go further, Escape clears."


def component_page(heading: str, about: str, parts: Mapping[str, bytes | dict[str, Any]], lines: Sequence[str]) -> str:
    """A page of components, one below the other, by name with their data; `lines` are the sentences under them."""
    scripts, styles, places = [], [], []
    for name, data in parts.items():
        script, style = component_source(name)
        given = inline_json(data) if isinstance(data, dict) else _bytes_of(data)
        scripts.append(component_mount(name, script, given))
        styles.append(style)
        places.append(f'<div id="{name}"></div>')
    body = (
        f'<p class="about">{escape(printable(about))}</p>\n{chr(10).join(places)}\n'
        f"<footer>{''.join(f'<p>{escape(printable(s))}</p>' for s in lines)}</footer>"
    )
    return standalone_page(heading, "\n".join(styles), body, scripts)


def _bytes_of(payload: bytes) -> str:
    return f'Uint8Array.from(atob("{b64encode(payload).decode()}"), (c) => c.charCodeAt(0))'


def figure_page(figure: Any, title: str) -> str:
    """A Plotly figure as a page, with Plotly's script inside."""
    drawn = figure.to_html(full_html=False, include_plotlyjs=True, include_mathjax=False, config={"displaylogo": False})
    return standalone_page(title, "", drawn, [])


def component_mount(place: str, source: str, data: str) -> str:
    """A script that runs a component in the element of that id; it reports to nobody."""
    body, _, exported = source.rpartition("export default function")
    return (
        f"{body}\nconst mount = function{exported}\n"
        f'mount({{ data: {data}, parentElement: document.getElementById("{place}"), '
        "setStateValue() {}, setTriggerValue() {}, standalone: true });"
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
        f"<title>{escape(printable(title))}</title>\n<style>\n{read_asset('shared/page.css')}\n{style}\n</style>\n</head>\n"
        f"<body>\n<h1>{escape(printable(title))}</h1>\n{body}\n{modules}\n</body>\n</html>\n"
    )
