"""The cell that is selected, for all pages, and how clicks move it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

Report = Mapping[str, Any] | None
"""What a component's script reports of a click."""


@dataclass(frozen=True)
class Selection:
    """The selected cell, for all pages; row, position and target may be None.

    n: number of the user's act, newer ones win. part: of a picture of flows, the id of its node (`mid.3.7`) or of its
    link (`block.2.7>mid.3.7`); "" for the cell itself. head: of the attention node that `part` names, one head alone.
    """

    row: int | None = None
    position: int | None = None
    target: int | None = None
    n: int = 0
    part: str = ""
    head: int | None = None

    @classmethod
    def of_click(cls, clicked: Mapping[str, Any]) -> Selection:
        """What a component reported."""
        row, position, target = (clicked.get(name) for name in ("row", "position", "target"))
        n, part = int(clicked.get("n") or 0), str(clicked.get("part") or "")
        return cls(row, position, target, n, part, clicked.get("head"))

    def at_cell(self, row: int | None = None, position: int | None = None, target: int | None = None) -> Selection:
        """Another cell, newer than any click so far; what is None stays, the target goes."""
        row, position = (self.row or 0) if row is None else row, (self.position or 0) if position is None else position
        return Selection(row, position, target, self.n + 1)

    def at_head(self, head: int) -> Selection:
        """Of the same cell, one head of the attention that wrote to it."""
        return replace(self, part=f"attention.{self.row}.{self.position}", head=head, n=self.n + 1)

    def exists(self, top: int, n_positions: int) -> bool:
        """Whether a run has that cell. top: its highest row."""
        row, position = self.row, self.position
        return row is not None and row <= top and position is not None and position < n_positions
