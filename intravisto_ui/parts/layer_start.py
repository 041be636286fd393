"""From a head, a neuron or a layer of another page to the page of that layer."""

from __future__ import annotations

from typing import Any

from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

PAGE = "pages/layer.py"
CHOSEN = "layer_chosen"
PARTS = "layer_parts"

Place = tuple[str, int, int]
"""A trace, a layer and a position."""


def set_layer(workspace: Workspace, shown: Shown, layer: int) -> None:
    """Choose a layer for this text."""
    workspace.options[CHOSEN] = (shown.text_id, layer)


def set_part(workspace: Workspace, place: Place, kind: str, index: int, expert: int = -1) -> None:
    """Choose a head or a neuron of a layer at a position of a trace."""
    parts: dict[str, Any] = find_parts(workspace, place)
    workspace.options[PARTS] = (place, parts | {kind: (index, expert)})


def find_parts(workspace: Workspace, place: Place) -> dict[str, tuple[int, int]]:
    """The head and the neuron that were chosen there, by kind."""
    kept = workspace.options.get(PARTS)
    return dict(kept[1]) if kept and kept[0] == place else {}


def start_layer_at(workspace: Workspace, shown: Shown, layer: int, position: int, head: int | None = None) -> None:
    """Let the page of a layer open there, with the card of a head where one is named."""
    set_layer(workspace, shown, layer)
    if head is not None:
        set_part(workspace, (shown.trace.id, layer, position), "head", head)
    workspace.select_cell(layer + 1, position)
