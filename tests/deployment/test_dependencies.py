"""What `pip install` brings: every library that the code imports is named as something that the package needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = ("adapters", "gguf", "quantisation", "serve")
# what a package is called where it is installed, and in an import
IMPORTED_AS = {"pyyaml": "yaml"}
# transformers reads some tokenizers with it
FOR_OTHERS = {"sentencepiece"}
TYPES_ONLY = {"_typeshed"}


def name(requirement: str) -> str:
    """The name in a line such as `ray[serve,data]>=2.50`, as it is imported."""
    found = re.match(r"[\w.-]+", requirement)
    assert found
    plain = found[0].lower().replace("-", "_")
    return IMPORTED_AS.get(plain, plain)


def libraries() -> Iterator[tuple[str, Path]]:
    """Each import of something that is neither Python's own nor ours, and where it stands."""
    for path in (ROOT / "app.py", *(p for room in ("intravisto_*", "pages") for p in ROOT.glob(f"{room}/**/*.py"))):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for each in names:
                first = each.partition(".")[0]
                if first not in sys.stdlib_module_names and not first.startswith("intravisto"):
                    yield first, path


def test_every_library_that_is_imported_is_declared() -> None:
    declared = {name(line) for line in PROJECT["dependencies"]}
    extra = {name(line) for what in EXTRAS for line in PROJECT["optional-dependencies"][what]}
    used = dict(libraries())
    assert {each: str(path) for each, path in used.items() if each not in declared | extra | TYPES_ONLY} == {}
    assert declared - set(used) == FOR_OTHERS


def test_the_pinned_requirements_hold_every_dependency() -> None:
    pinned = {name(line) for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if "==" in line}
    assert {name(line) for line in PROJECT["dependencies"]} <= pinned
