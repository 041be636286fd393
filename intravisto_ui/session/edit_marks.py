"""Where the edits of the run that is looked at act, as outlines on a heatmap."""

from __future__ import annotations

from intravisto_core.errors import IntravistoError
from intravisto_core.figures.web import Mark
from intravisto_core.request import Intervention
from intravisto_core.request.positions import resolve
from intravisto_core.request.ranges import index
from intravisto_core.sites import Site
from intravisto_ui.session.edit_stack import Look
from intravisto_ui.session.edit_tree import EditRun
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace


def is_edited(workspace: Workspace) -> bool:
    """Whether the pages show an edited run, or what it changed."""
    node = workspace.edits.current_node()
    has_run = workspace.base is not None and node is not None and node.held is not None
    return has_run and workspace.edits.look != Look.BASELINE


def is_difference(workspace: Workspace) -> bool:
    """Whether the pages show what the edits changed."""
    return workspace.edits.look == Look.DIFFERENCE and is_edited(workspace)


def find_marks(workspace: Workspace) -> tuple[Mark, ...]:
    """The cells that the edits act on; none while the baseline is looked at."""
    node, base = workspace.edits.current_node(), workspace.base
    return marks_of_run(base, node) if node is not None and base is not None and is_edited(workspace) else ()


def marks_of_run(base: Shown, node: EditRun) -> tuple[Mark, ...]:
    """The cells that the edits of a run act on."""
    if node.held is None:
        return ()
    start, length, n_layers = base.trace.prompt_length, len(node.held.tokens), base.engine.model.n_layers
    found: dict[Mark, None] = {}
    for card in node.cards:
        found |= dict.fromkeys(_marks_of_edit(card.what, start, length, n_layers))
    return tuple(found)


def _marks_of_edit(what: Intervention, start: int, length: int, n_layers: int) -> list[Mark]:
    spots = getattr(what, "positions", getattr(what, "queries", None))
    if spots is None or what.layer is None:
        return []
    try:
        layer = index(what.layer, n_layers, "layer")
        positions = resolve(spots, start, length)
    except IntravistoError:
        return []
    row = layer if what.site is Site.RESID_PRE else layer + 1
    return [Mark(row, position, str(what.kind)) for position in positions]
