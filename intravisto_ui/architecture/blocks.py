"""What is measured at modules in every run: kept with the workspace, listed under the picture, removed there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from intravisto_core.request import ModuleBlock
from intravisto_core.sites import ModuleSide, ModuleStatistic
from intravisto_ui.session.module_blocks import AXES, KEY, Kept, read_kept
from intravisto_ui.session.text import escape_html
from intravisto_ui.session.workspace import Workspace


def add(workspace: Workspace, label: str, paths: Sequence[str], statistic: ModuleStatistic, what: ModuleSide) -> None:
    """Measure something more. label: what the modules are called together."""
    new = {"label": label, "paths": list(paths), "statistic": str(statistic), "what": str(what)}
    named = ("label", "statistic", "what")
    others = [kept for kept in read_kept(workspace.options) if any(kept.get(name) != new[name] for name in named)]
    workspace.options[KEY] = [*others, new]


def turn_axes(workspace: Workspace, path: str, what: str, axes: Mapping[str, int | None]) -> None:
    """Show other dimensions of a picture, and of those that are measured together with it."""
    workspace.options[KEY] = [
        {**kept, **axes} if _is_of(kept, path, "matrix", what) else kept for kept in read_kept(workspace.options)
    ]


def remove_at(workspace: Workspace, path: str, statistic: str, what: str) -> None:
    """Measure that no more at a module, nor at those that it was measured at together with it."""
    workspace.options[KEY] = [kept for kept in read_kept(workspace.options) if not _is_of(kept, path, statistic, what)]


def _is_of(kept: Kept, path: str, statistic: str, what: str) -> bool:
    return kept["statistic"] == statistic and kept.get("what", "output") == what and path in kept["paths"]


def draw_list(workspace: Workspace) -> None:
    """What is measured, each with a button that ends it."""
    for i, kept in enumerate(read_kept(workspace.options)):
        line = st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"architecture_block_{i}")
        n = len(kept["paths"])
        label = ModuleStatistic.parse(kept["statistic"]).label
        many = f", {n} modules" if n > 1 else ""
        of = f"{'the input of ' if kept.get('what') == 'input' else ''}{escape_html(kept['label'])}"
        line.html(f'<div class="cap">Measured in every run: {escape_html(label)} of {of}{many}</div>')
        line.button("Remove", key=f"architecture_remove_{i}", on_click=_remove, args=(workspace, kept))


def write_arguments(found: Sequence[ModuleBlock]) -> str:
    """Blocks as arguments in Python."""
    return f"blocks=[{', '.join(map(_write_block, found))}]" if found else ""


def _write_block(block: ModuleBlock) -> str:
    side = [f"what={str(block.what)!r}"] if block.what is ModuleSide.INPUT else []
    axes = [f"{axis}={getattr(block, axis)}" for axis in AXES if getattr(block, axis) is not None]
    return f"iv.ModuleBlock({', '.join((repr(block.path), repr(str(block.statistic)), *side, *axes))})"


def _remove(workspace: Workspace, kept: Kept) -> None:
    workspace.options[KEY] = [each for each in read_kept(workspace.options) if each is not kept]
