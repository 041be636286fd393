"""A batch of prompts written down before it begins: what is asked, and which prompts make which file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intravisto_core.engine.saving import NAMED_VIEWS
from intravisto_core.errors import RequestError, expected
from intravisto_core.files import write_file
from intravisto_core.request import SaliencyView

PLAN = "plan.json"
PARTS = "parts"
IN_PART = 32
VIEWS: Mapping[str, Any] = {**NAMED_VIEWS, "saliency": SaliencyView}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt. line: its number in the file, from 0. id: what the user calls it, or empty."""

    line: int
    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What is asked of every prompt. spec: of the model as JSON. engine: address of a service, or empty.

    model: its name there.
    """

    spec: str
    views: tuple[str, ...]
    max_new_tokens: int = 0
    engine: str = ""
    model: str | None = None


def read_prompts(path: str | Path) -> list[Prompt]:
    """Prompts of a file with one line of JSON each: a text, or an object with `prompt` and, if one likes, `id`.

    Raises:
        RequestError: the file cannot be read, or a line is something else; says which.
    """
    try:
        # of the characters that end a line elsewhere, JSON's texts may hold all but this one
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise RequestError(expected("prompts", "a file of lines of JSON that can be read", why)) from None
    found = []
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            body = json.loads(line)
        except (ValueError, RecursionError):
            body = None
        text = body.get("prompt") if isinstance(body, dict) else body
        name = body.get("id", "") if isinstance(body, dict) else ""
        if not isinstance(text, str) or not text or not isinstance(name, str | int):
            raise RequestError(expected(f"line {number + 1}", 'a text, or {"prompt": "…", "id": "…"}', line[:80]))
        if any("\ud800" <= c <= "\udfff" for c in f"{text}{name}"):
            raise RequestError(expected(f"line {number + 1}", "whole characters", "half of one (a lone surrogate)"))
        found.append(Prompt(number, text, str(name)))
    if not found:
        raise RequestError(expected("prompts", "at least one line", "none"))
    return found


def split_parts(prompts: Sequence[Prompt]) -> list[tuple[str, list[Prompt]]]:
    """The files that the answers are written to, with the prompts of each: the same on every start."""
    return [
        (f"part-{at // IN_PART:06d}.parquet", list(prompts[at : at + IN_PART]))
        for at in range(0, len(prompts), IN_PART)
    ]


def begin(folder: Path, plan: BatchPlan, prompts: Sequence[Prompt]) -> None:
    """Write the plan down, or hold it against the one that was begun there. One that has no answers yet is replaced.

    Raises:
        RequestError: another batch has answers in that folder, or it cannot be written to.
    """
    texts = json.dumps([(p.line, p.text, p.id) for p in prompts])
    # where the model is asked for may change between two starts
    asked = {name: value for name, value in asdict(plan).items() if name != "engine"}
    body = {
        **asked,
        "views": list(plan.views),
        "prompts": hashlib.sha256(texts.encode()).hexdigest(),
        "n": len(prompts),
    }
    path = folder / PLAN
    try:
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
        begun = any((folder / PARTS).glob("part-*.parquet"))
    except OSError as error:
        wanted, todo = "a folder that can be written to", f"{folder}. Choose another"
        raise RequestError(expected("out", wanted, error.strerror or type(error).__name__, todo)) from None
    if not begun:
        write_file(path, json.dumps(body, indent=1).encode())
        return
    try:
        had = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        had = None
    if had != body:
        wanted = "a new folder, or that of the same prompts, model, views and number of new tokens"
        raise RequestError(expected("out", wanted, str(folder), f"{_differ(had, body)}. Choose another"))


def _differ(had: Any, body: Mapping[str, Any]) -> str:
    """What is not as it was, in words."""
    if not isinstance(had, dict):
        return f"Its {PLAN} cannot be read"
    words = {"spec": "model", "n": "prompts", "max_new_tokens": "number of new tokens"}
    names = [words.get(name, name) for name, value in body.items() if had.get(name) != value]
    return f"Of that batch there differ: {', '.join(dict.fromkeys(names))}"


def missing_parts(folder: Path, prompts: Sequence[Prompt]) -> list[tuple[str, list[Prompt]]]:
    """The parts that are not written yet. A part is whole or not there."""
    return [(name, part) for name, part in split_parts(prompts) if not (folder / PARTS / name).exists()]
