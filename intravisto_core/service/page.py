"""The list of what the service answers, as a page that loads nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "td,th{padding:.35rem .8rem .35rem 0;text-align:left;vertical-align:top}code{font-size:.95em}"
)


def _mark_code(text: str) -> str:
    """Words as HTML; what stands between backquotes is code."""
    return "".join(f"<code>{escape(part)}</code>" if i % 2 else escape(part) for i, part in enumerate(text.split("`")))


def write_page(schema: dict[str, Any]) -> str:
    """A page of an OpenAPI description."""
    rows = [
        f"<tr><td><code>{escape(method.upper())}</code></td><td><code>{escape(path)}</code></td>"
        f"<td>{_mark_code(' '.join(str(what.get('description', '')).split()))}</td></tr>"
        for path, methods in schema["paths"].items()
        for method, what in methods.items()
    ]
    title = escape(f"{schema['info']['title']} {schema['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{escape(schema['info'].get('description', ''))} The same as a schema: "
        f'<a href="openapi.json">openapi.json</a>.</p>'
        f"<table><tr><th>Method</th><th>Path</th><th>What it does</th></tr>{''.join(rows)}</table></html>"
    )
