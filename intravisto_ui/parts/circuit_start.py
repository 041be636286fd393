"""From the parts that another page lists to the circuit that they make on the patching page."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from intravisto_core.records import Attribution
from intravisto_core.request import ModelSpec
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.session.workspace import Workspace

PAGE = "pages/patching.py"
MODE, CIRCUIT = "patch_mode", "circuit"
SOURCE = "circuit_source"
BEST, OWN = "best", "own"
PARTS = "circuit_parts"
LISTED = 12
HELP = f"Keeps the {LISTED} heads and MLPs that add most, by size, and asks how much they do without all others."

PartId = tuple[int, int]
"""A layer, and a head or −1 for the MLP."""


def list_largest(found: Attribution, n: int = LISTED) -> tuple[PartId, ...]:
    """The heads and MLPs that add most to the score, or take most from it."""
    values = np.concatenate([np.nan_to_num(found.head_values), found.mlp_values[:, None]], 1)
    width = values.shape[1]
    order = np.argsort(-np.abs(values), axis=None, kind="stable")[:n].tolist()
    return tuple((i // width, -1 if i % width == width - 1 else i % width) for i in order)


def set_parts(workspace: Workspace, spec: ModelSpec, parts: Collection[PartId]) -> None:
    """Take these parts of a model for the circuit."""
    workspace.options[PARTS] = (spec, tuple(sorted(parts)))
    set_kept(**{SOURCE: OWN})


def read_parts(workspace: Workspace, spec: ModelSpec) -> tuple[PartId, ...] | None:
    """The parts that were taken of a model; None where there are none."""
    kept = workspace.options.get(PARTS)
    return None if kept is None or kept[0] != spec else kept[1]


def start_circuit(workspace: Workspace, spec: ModelSpec, parts: Collection[PartId]) -> None:
    """Let the patching page open with a circuit of these parts."""
    set_parts(workspace, spec, parts)
    set_kept(**{MODE: CIRCUIT})
