"""The cells of a patching grid: what each puts where, and which are run together (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from intravisto_core.sites import Site

BY_HEAD = (Site.Q, Site.K, Site.V, Site.Z)
# sites after attention: rows that join a layer have the receiver's attention there, which is run once for all of them
AFTER_ATTENTION = (Site.Z, Site.ATTN_OUT, Site.RESID_MID, Site.MLP_OUT)
INSIDE_ATTENTION = (Site.Q, Site.K, Site.V, Site.PATTERN)

# What a call costs beside its rows, in rows of a layer; rows of all cells of one call at the last layer.
CALL_ROWS = 200
MOST_ROWS = 1024
MOST_CELLS = 128
# a turn is to be short: rows of a layer that one call may run, for each layer of the model
TURN_ROWS = 384


@dataclass(frozen=True, slots=True)
class Cell:
    """Values of the donor at some positions of a site of a layer, in a run of the receiver.

    places: (receiver's, donor's) position, rising. head: of sites by head (the kv head of k and v), None is all.
    """

    layer: int
    places: tuple[tuple[int, int], ...]
    head: int | None = None

    @property
    def first(self) -> int:
        """The first position of the receiver that it changes."""
        return self.places[0][0]


def find_entry(site: Site, layer: int) -> int:
    """The layer whose input is the first that has to be run: what leaves a block enters the next one."""
    return layer + 1 if site is Site.RESID_POST else layer


def changes_nothing(site: Site, cell: Cell, n_layers: int, last: int, first_difference: int) -> bool:
    """Whether a cell can change nothing that is said after the position `last`.

    Equal tokens in equal places before the first difference have equal values by causality. In the last block only the
    last position is read, keys and values of all.
    """
    if all(own == other and own < first_difference for own, other in cell.places):
        return True
    inside = site in (Site.RESID_PRE, Site.K, Site.V)
    return cell.layer == n_layers - 1 and not inside and all(own != last for own, _ in cell.places)


def order_coarse_first(layers: Sequence[int]) -> list[list[int]]:
    """Layers in the order that they are run in: every fourth first, so that a picture grows evenly."""
    coarse = list(layers[::4])
    return [part for part in (coarse, [layer for layer in layers if layer not in coarse]) if part]


def group_cells(
    site: Site, cells: Sequence[Cell], chosen: Sequence[int], stop: int, n_layers: int, grows: bool
) -> list[list[int]]:
    """Indices of cells that are run in one call. stop: one past the last position.

    grows: whether cells of several layers can share a call, each joining it at its own layer.
    """

    def cost(group: Sequence[int]) -> int:
        first = min(cells[i].first for i in group)
        return CALL_ROWS + sum((n_layers - find_entry(site, cells[i].layer)) * (stop - first) for i in group)

    found: list[list[int]] = []
    costs: list[int] = []

    def rank(i: int) -> tuple[int, ...]:
        entry = find_entry(site, cells[i].layer)
        return (cells[i].first, entry) if grows else (entry, cells[i].first)

    for i in sorted(chosen, key=rank):
        if found:
            group = found[-1]
            rows = (len(group) + 1) * (stop - min(cells[group[0]].first, cells[i].first))
            alike = grows or find_entry(site, cells[group[0]].layer) == find_entry(site, cells[i].layer)
            joined, alone = cost([*group, i]), cost([i])
            small = joined <= TURN_ROWS * n_layers and rows <= MOST_ROWS and len(group) < MOST_CELLS
            if alike and small and joined <= costs[-1] + alone:
                group.append(i)
                costs[-1] = joined
                continue
        found.append([i])
        costs.append(cost([i]))
    return found
