"""The edited run as lines of Python that make it again."""

from __future__ import annotations

from dataclasses import MISSING, fields
from enum import Enum
from typing import Any

from intravisto_core.request import Generated, Intervention, PromptSet, Span, TensorRef, tensors
from intravisto_ui.parts import edit_sources, python_lines
from intravisto_ui.session import edit_marks
from intravisto_ui.session.edit_stack import Stack
from intravisto_ui.session.workspace import Workspace


def python(here: Workspace, cards: Stack, cells: str = "") -> str:
    """Lines that trace the baseline, edit it and save the comparison as a page. cells: its further arguments."""
    return "\n".join((*edited_lines(here, cards), *compared(cells)))


def compared(cells: str = "") -> list[str]:
    """The lines that save the comparison of `trace` and `edited`. cells: its further arguments."""
    call = f"trace.compare({', '.join(part for part in ('edited', cells) if part)})"
    return [f'{call}.save("difference.html")']


def edited_lines(here: Workspace, cards: Stack) -> list[str]:
    """Lines after which `trace` is the baseline and `edited` the run with these cards."""
    return _edited(here, cards, "edited")


def shown_lines(here: Workspace) -> list[str]:
    """Lines after which `trace` is the run that the pages show, edited or not."""
    assert here.shown is not None
    node = here.edits.node()
    return (
        _edited(here, node.cards, "trace") if node and edit_marks.is_edited(here) else python_lines.traced(here.shown)
    )


def _edited(here: Workspace, cards: Stack, name: str) -> list[str]:
    """Lines that trace the baseline, and edit it under that name."""
    assert here.base is not None
    names: dict[str, str] = {}
    before = python_lines.traced(here.base)
    for card in cards:
        source = edit_sources.prompt_of(card.what)
        if source is not None and source not in names:
            names[source] = f"source{len(names) + 1}" if names else "source"
            before.append(python_lines.trace_of(names[source], edit_sources.request(here.base, source)))
    made = [f"    {written(card.what, names)}," for card in cards]
    if any(tensors(card.what) for card in cards):
        before.insert(1, "import numpy as np")
    return [*before, f"{name} = trace.edit(", *made, ")"]


def written(what: Intervention, names: dict[str, str]) -> str:
    """An intervention as the call that makes it. names: of the traces that it takes values from, by prompt."""
    given, donors = [], names if edit_sources.prompt_of(what) is not None else {}
    for field in fields(what):
        value = getattr(what, field.name)
        if field.default is MISSING or value != field.default:
            given.append(f"{field.name}={_value(value, donors if field.name == 'source' else {})}")
    return f"iv.{type(what).__name__}({', '.join(given)})"


def _value(value: Any, names: dict[str, str]) -> str:
    if isinstance(value, Enum):
        return repr(str(value))
    if isinstance(value, TensorRef):
        numbers = [] if value.content is None else value.content.ravel().tolist()
        shape = "" if len(value.shape) == 1 else f".reshape({value.shape})"
        return f"np.array({numbers!r}){shape}"
    if isinstance(value, Span | Generated | PromptSet):
        inside = ", ".join(f"{f.name}={getattr(value, f.name)!r}" for f in fields(value))
        return f"iv.{type(value).__name__}({inside})"
    if isinstance(value, str) and value in names:
        return names[value]
    return repr(list(value)) if isinstance(value, tuple) else repr(value)
