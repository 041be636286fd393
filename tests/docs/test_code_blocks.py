"""Every Python block of README and docs is run as it stands; blocks of one page share their names, as a reader's do."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

import intravisto_core as iv
from tests.service.serving import serving

SERVICE = "http://127.0.0.1:8400"
ROOT = Path(__file__).parents[2]
# pages whose blocks describe, and are not run: signatures with alternatives, models that are not here
DESCRIBING = ("design.md", "loading.md")
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "```python" in page.read_text("utf-8") and page.name not in DESCRIBING
]


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with ExitStack() as stack:
        for number, block in enumerate(blocks(page), start=1):
            if SERVICE in block:
                block = block.replace(SERVICE, stack.enter_context(serving({"demo": iv.ModelSpec("demo")})))
            exec(compile(block, f"{page.name} block {number}", "exec"), names)
        close_all(names)


def close_all(names: dict[str, object]) -> None:
    for made in names.values():
        if hasattr(made, "submit") and hasattr(made, "close"):
            made.close()


def test_pages_lead_to_pages_that_are_there() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        words = re.sub(r"^```.*?^```|`[^`]*`", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+)\)", words):
            if "://" not in target:
                leads_to = (page.parent / target).resolve()
                assert leads_to.exists(), f"{page.name}: {target}"
                assert leads_to.is_relative_to(ROOT / "docs"), f"{page.name}: {target} is not part of the site"


def test_the_site_lists_every_page() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8")))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
