"""The words that a reader sees on a page, in order, as lines: what the golden files of the pages hold.

python -m tests.pages.words      writes them anew
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

from streamlit.testing.v1.element_tree import Block, Element

RENEW = "INTRAVISTO_RENEW_WORDS"
GOLDEN = Path(__file__).parent / "golden"
PAGES = {
    "heatmap": "pages/heatmap.py",
    "flow": "pages/flow.py",
    "explain": "pages/explain.py",
    "injection": "pages/injection.py",
    "patching": "pages/patching.py",
    "attention": "pages/attention.py",
    "layer": "pages/layer.py",
    "architecture": "pages/architecture.py",
    "about": "pages/model.py",
}
_TAG = re.compile(r"<[^>]+>")
_BLOCK = re.compile(r"</(?:div|p|tr|h1|h2|h3|table|caption|summary|li)>|<br>")
# measured on this machine, or drawn by chance: what a golden text cannot hold
_UNSTABLE = (
    # rounding, or by chance nothing
    (re.compile(r"(error measured(?: is)?) \S+"), "\\1 #."),
    (re.compile(r"\b\d[\d.,]*\s?(ms|s|MB|GB|kB|µs)\b"), "# \\1"),
    (re.compile(r"\b(?:under|about) # (ms|s)\b"), "about # \\1"),
    (re.compile(r"\b\d[\d,]* steps"), "# steps"),
    (re.compile(r"[−+-]?\d[\d,]*\.?\d*e[−-]?\d+"), "#e#"),
    (re.compile(r"(?<![\w.#])[−+-]?\d[\d,]*\.\d+"), "#.#"),
)


def read_words(root: Any) -> str:
    """What a page, or the sidebar, says: every text, label and hover text of a widget, in order, one a line."""
    lines: list[str] = []
    _collect(root, lines)
    return "\n".join(steady(line) for line in lines if line) + "\n"


def steady(line: str) -> str:
    """A line without the numbers that differ between machines, and with plain spaces."""
    line = line.replace("\u00a0", " ")
    for pattern, stand_in in _UNSTABLE:
        line = pattern.sub(stand_in, line)
    return line


def _collect(node: Any, lines: list[str]) -> None:
    for child in getattr(node, "children", {}).values():
        if isinstance(child, Block):
            name = getattr(child, "label", "") or _label_of_block(child)
            if name:
                lines.append(f"[{name}]")
            _collect(child, lines)
        elif isinstance(child, Element):
            lines += _say(child)


def _label_of_block(block: Any) -> str:
    proto = getattr(block, "proto", None)
    for kind in ("popover", "expandable", "tab"):
        label = str(getattr(getattr(proto, kind, None), "label", "") or "")
        if label:
            return label
    return ""


def _say(element: Any) -> list[str]:
    if element.type == "html":
        return _split_html(element.proto.body)
    if element.type == "bidi_component":
        return _read_lists(element.proto)
    said = [str(getattr(element, "label", "") or "")]
    said += [f"    ? {line}" for line in str(getattr(element, "help", "") or "").splitlines() if line.strip()]
    options = getattr(element, "options", None) or getattr(element, "formatted_options", None)
    if options and len(options) <= 12:
        said.append("    | " + " | ".join(str(o) for o in options))
    if element.type in ("markdown", "caption", "code") and not said[0]:
        said = [] if element.type == "code" else str(element.value).splitlines()
    return [line.strip("\n") for line in said if line.strip()]


def _split_html(body: str) -> list[str]:
    if body.lstrip().startswith("<style"):
        return []
    text = unescape(_TAG.sub(" ", _BLOCK.sub("\n", body)))
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _read_lists(proto: Any) -> list[str]:
    """Titles of the lists that a component shows; its numbers are tested elsewhere."""
    try:
        data = json.loads(proto.json)
    except (AttributeError, ValueError):
        return []
    tables = data.get("tables") if isinstance(data, dict) else None
    said = [data["title"]] if isinstance(data, dict) and isinstance(data.get("title"), str) else []
    for table in tables or ():
        said += [table.get("title", ""), *(f"    {column}" for column in table.get("columns", ()))]
    return [line for line in said if line]


def renew() -> None:
    """Write the golden files anew."""
    command = [sys.executable, "-m", "pytest", "-n0", "-q", str(Path(__file__).with_name("test_words.py"))]
    subprocess.run(command, env={**os.environ, RENEW: "1"}, check=False)


if __name__ == "__main__":
    renew()
