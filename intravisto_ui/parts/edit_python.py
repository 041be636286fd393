"""The edited run as lines of Python that make it again."""

from __future__ import annotations

from dataclasses import MISSING, fields
from enum import Enum
from typing import Any

from intravisto_core.request import Generated, Intervention, PromptSet, Span, TensorRef, tensors
from intravisto_core.request.ranges import resolve_layers_and_heads
from intravisto_ui.parts import edit_sources, python_lines
from intravisto_ui.session import edit_marks
from intravisto_ui.session.edit_tree import Stack
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace


def write_comparison(cells: str = "") -> list[str]:
    """The lines that save the comparison of `trace` and `edited`. cells: its further arguments."""
    call = f"trace.compare({', '.join(part for part in ('edited', cells) if part)})"
    return [f'{call}.save("difference.html")']


def write_edited_run(base: Shown, cards: Stack, name: str = "edited") -> list[str]:
    """Lines after which `trace` is the baseline and the variable of that name the run with these cards."""
    names: dict[str, str] = {}
    before = python_lines.write_run(base)
    for card in cards:
        source = edit_sources.source_prompt(card.what)
        if source is not None and source not in names:
            names[source] = f"source{len(names) + 1}" if names else "source"
            request = edit_sources.source_request(base, source)
            before.append(python_lines.write_trace_call(names[source], request))
    model = base.engine.model
    placed = [resolve_layers_and_heads(card.what, model.n_layers, model.n_heads, model.n_kv_heads) for card in cards]
    calls = [f"    {write_intervention(what, names)}," for what in placed]
    if any(tensors(card.what) for card in cards):
        before.insert(1, "import numpy as np")
    return [*before, f"{name} = trace.edit(", *calls, ")"]


def write_shown_run(workspace: Workspace, shown: Shown) -> list[str]:
    """Lines after which `trace` is the run that the pages show, edited or not."""
    node, base = workspace.edits.current_node(), workspace.base
    if node is not None and base is not None and edit_marks.is_edited(workspace):
        return write_edited_run(base, node.cards, "trace")
    return python_lines.write_run(shown)


def write_intervention(what: Intervention, names: dict[str, str]) -> str:
    """An intervention as the call that makes it. names: of the traces that it takes values from, by prompt."""
    arguments, donors = [], names if edit_sources.source_prompt(what) is not None else {}
    for field in fields(what):
        value = getattr(what, field.name)
        if field.default is MISSING or value != field.default:
            arguments.append(f"{field.name}={_write_value(value, donors if field.name == 'source' else {})}")
    return f"iv.{type(what).__name__}({', '.join(arguments)})"


def _write_value(value: Any, names: dict[str, str]) -> str:
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
