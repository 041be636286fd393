"""The API pages of the site: every promised name stands on one of them."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import intravisto_core as iv

PAGES = Path(__file__).parents[2] / "docs" / "api"


def find(path: str) -> Any:
    """What a line `::: path` of an API page names."""
    module, _, name = path.rpartition(".")
    try:
        return import_module(path)
    except ModuleNotFoundError:
        return getattr(import_module(module), name)


def test_every_promised_name_is_on_one_api_page() -> None:
    pages = "\n".join(page.read_text("utf-8") for page in sorted(PAGES.glob("*.md")))
    paths = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    assert len(paths) == len(set(paths)), "a name stands on the pages once"
    shown = [find(path) for path in paths]
    modules = {thing.__name__ for thing in shown if inspect.ismodule(thing)}
    names = [name for name in dir(iv) if not name.startswith("__") and name != "figures"]
    absent = [name for name in names if getattr(iv, name) not in shown and getattr(iv, name).__module__ not in modules]
    assert absent == []
