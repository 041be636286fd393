"""Pages in Chromium, opened from a file, with no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intravisto_core.records import Record

Opener = Callable[..., Any]


@pytest.fixture
def open_page(chromium: Any, tmp_path: Path) -> Iterator[Opener]:
    """Opens a record's page, or a page's text; fails at the end if the page asked for the network or threw."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(90_000)  # a busy machine is slow, not wrong
    trouble: list[str] = []

    def refuse(route: Any) -> None:
        trouble.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(("file:", "data:", "blob:")), refuse)

    def open_it(what: Record | str, **options: Any) -> Any:
        file = tmp_path / "page.html"
        file.write_text(what if isinstance(what, str) else what.html(**options), "utf-8")
        page = context.new_page()
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
        page.goto(file.as_uri())
        return page

    yield open_it
    context.close()
    assert not trouble
