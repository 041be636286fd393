"""The scripts and styles of the pictures, each as one text: Streamlit takes one string a component, a page embeds it.

A small bundler for modules that keep three rules: an import is one line, `import { a, b } from "./x.js";` or, from
another folder of `assets`, `"../shared/x.js"`; an export is the word at the start of a line before `const`, `function`
or `class`; only a component's own module has an `export default`. Every other module that it needs becomes a function
that is called once and returns what it exports. No two modules have the same name.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from intravisto_core.errors import RequestError, expected

ASSETS = Path(__file__).parent / "assets"
# each component: its own module, and its styles in the order in which they are read
COMPONENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "grid": ("heatmap/grid", ("shared/theme", "shared/picture", "heatmap/grid")),
    "saver": ("shared/saver", ("shared/theme", "shared/saver")),
    "strip": ("shared/strip", ("shared/theme", "shared/strip")),
    "flow": ("flow/flow", ("shared/theme", "shared/picture", "flow/flow")),
    "panel": ("panel/panel", ("shared/theme", "panel/panel")),
    "flow_links": ("flow/flow_links", ("shared/theme", "flow/flow_links")),
    "heads_map": ("flow/heads_map", ("shared/theme", "shared/picture", "flow/heads_map")),
    "attribution": ("flow/attribution", ("shared/theme", "flow/flow_links", "flow/attribution")),
    "flow_route": ("flow/flow_route", ("shared/theme", "flow/flow_route")),
    "explain": ("explain/explain", ("shared/theme", "explain/explain")),
    "architecture": ("architecture/architecture", ("shared/theme", "architecture/architecture")),
    "architecture_now": ("architecture/arch_now", ("shared/theme",)),
    "attention": ("attention/attention", ("shared/theme", "attention/attention")),
    "attention_packet": ("attention/attention_packet", ("shared/theme",)),
    "evidence": ("patching/evidence", ("shared/theme", "patching/evidence")),
    "circuit": ("patching/circuit", ("shared/theme", "patching/circuit")),
    "alignment": ("patching/alignment", ("shared/theme", "patching/alignment")),
    "patching": ("patching/patching", ("shared/theme", "patching/patching")),
    "layer": ("layer/layer", ("shared/theme", "layer/layer")),
    "layer_cards": ("layer/layer_cards", ("shared/theme", "layer/layer_cards")),
    "flow_graph": ("flow/flow_graph", ("shared/theme", "shared/picture", "flow/flow")),
}
_IMPORT = re.compile(r'^import (\{.*\}) from "(\./|\.\./\w+/)(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|function|class) (\w+))", re.MULTILINE)


@cache
def component_source(name: str) -> tuple[str, str]:
    """Script (with a default export, as Streamlit's v2 components want it) and style of one of `COMPONENTS`.

    Raises:
        RequestError: there is no component of that name.
    """
    if name not in COMPONENTS:
        raise RequestError(expected("component", list(COMPONENTS), name))
    own, styles = COMPONENTS[name]
    script = "\n".join([*map(_wrap_module, modules_before(own)), _bundle_body(own)[0]])
    return script, "\n".join(read_asset(f"{style}.css") for style in styles)


def read_asset(path: str) -> str:
    """The text of a file in `assets`, as `shared/base.js`."""
    return (ASSETS / path).read_text("utf-8")


def modules_before(module: str) -> list[str]:
    """All modules that one needs, as `shared/base`, each after those that it needs itself."""
    found: list[str] = []
    for _, folder, name in _IMPORT.findall(read_asset(f"{module}.js")):
        needed = f"{module.partition('/')[0] if folder == './' else folder[3:-1]}/{name}"
        found += [other for other in (*modules_before(needed), needed) if other not in found]
    return found


def _bundle_body(module: str) -> tuple[str, list[str]]:
    """The module with its imports read from other wrapped modules, and the names that it exports."""
    text = _IMPORT.sub(r"const \1 = module_\3;", read_asset(f"{module}.js"))
    return _EXPORT.sub("", text), _EXPORT.findall(text)


def _wrap_module(module: str) -> str:
    body, names = _bundle_body(module)
    return f"const module_{module.partition('/')[2]} = (() => {{\n{body}\nreturn {{ {', '.join(names)} }};\n}})();"
