"""The scripts and styles of the pictures, each as one text: Streamlit takes one string a component, a page embeds it.

A small bundler for modules that keep three rules: an import is one line, `import { a, b } from "./x.js";`; an export
is the word at the start of a line before `const`, `function` or `class`; only a component's own module, the last one,
has an `export default`. Every other module becomes a function that is called once and returns what it exports.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from intravisto_core.errors import RequestError, expected

FOLDER = Path(__file__).parent
MODULES = {
    "grid": ("base", "numbers", "colour", "payload", "cells", "hover", "image", "frame", "picture", "sheet", "grid"),
    "strip": ("base", "strip"),
    "flow": (
        *("base", "numbers", "hover", "image", "frame", "plane"),
        *("flow_data", "flow_layout", "flow_labels", "flow_draw", "flow_hover", "flow"),
    ),
    "panel": ("base", "numbers", "panel"),
    "flow_links": ("base", "lines", "flow_links"),
    "attribution": ("base", "image", "lines", "attribution"),
    "flow_route": ("base", "numbers", "colour", "flow_route"),
    "flow_graph": (
        *("base", "numbers", "hover", "image", "frame", "plane"),
        *("flow_data", "flow_layout", "flow_labels", "flow_draw", "flow_graph"),
    ),
}
STYLES = {
    "grid": ("theme", "picture", "grid"),
    "flow": ("theme", "picture", "flow"),
    "flow_graph": ("theme", "picture", "flow"),
    "attribution": ("theme", "flow_links", "attribution"),
}
_IMPORT = re.compile(r'^import (\{.*\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|function|class) (\w+))", re.MULTILINE)


@cache
def component_source(name: str) -> tuple[str, str]:
    """Script (with a default export, as Streamlit's v2 components want it) and style of one of `MODULES`.

    Raises:
        RequestError: there is no component of that name.
    """
    if name not in MODULES:
        raise RequestError(expected("component", list(MODULES), name))
    *parts, own = MODULES[name]
    script = "\n".join([*(_wrapped(part) for part in parts), _body(own)[0]])
    return script, "\n".join(
        (FOLDER / f"{style}.css").read_text("utf-8") for style in STYLES.get(name, ("theme", name))
    )


def _body(module: str) -> tuple[str, list[str]]:
    """The module with its imports read from other wrapped modules, and the names that it exports."""
    text = _IMPORT.sub(r"const \1 = module_\2;", (FOLDER / f"{module}.js").read_text("utf-8"))
    return _EXPORT.sub("", text), _EXPORT.findall(text)


def _wrapped(module: str) -> str:
    body, names = _body(module)
    return f"const module_{module} = (() => {{\n{body}\nreturn {{ {', '.join(names)} }};\n}})();"
