"""Where the edits of the run that is looked at act, as outlines on a heatmap."""

from __future__ import annotations

from intravisto_core.errors import IntravistoError
from intravisto_core.figures.web import Mark
from intravisto_core.request import Intervention
from intravisto_core.request.positions import resolve
from intravisto_core.sites import Site
from intravisto_ui.session.edit_stack import BASELINE, DIFFERENCE, EditRun
from intravisto_ui.session.workspace import Workspace


def is_edited(here: Workspace) -> bool:
    """Whether the pages show an edited run, or what it changed."""
    node = here.edits.node()
    return here.base is not None and node is not None and node.held is not None and here.edits.look != BASELINE


def is_difference(here: Workspace) -> bool:
    """Whether the pages show what the edits changed."""
    return here.edits.look == DIFFERENCE and is_edited(here)


def marks(here: Workspace) -> tuple[Mark, ...]:
    """The cells that the edits act on; none while the baseline is looked at."""
    node = here.edits.node()
    return marks_of(here, node) if node is not None and is_edited(here) else ()


def marks_of(here: Workspace, node: EditRun) -> tuple[Mark, ...]:
    """The cells that the edits of a run act on."""
    assert here.base is not None
    start, length, top = here.base.trace.prompt_length, len(node.held.tokens), here.base.engine.model.n_layers
    found: dict[Mark, None] = {}
    for card in node.cards:
        found |= dict.fromkeys(_marks(card.what, start, length, top))
    return tuple(found)


def _marks(what: Intervention, start: int, length: int, n_layers: int) -> list[Mark]:
    spots = getattr(what, "positions", getattr(what, "queries", None))
    if spots is None:
        return []
    layer = what.layer + n_layers if what.layer < 0 else what.layer
    row = layer if what.site is Site.RESID_PRE else layer + 1
    try:
        positions = resolve(spots, start, length)
    except IntravistoError:
        return []
    return [Mark(row, position, str(what.kind)) for position in positions]
