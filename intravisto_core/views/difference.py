"""The difference of two runs, cell by cell (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from intravisto_core.analysis.decoding import count_tile_positions, find_top_tokens
from intravisto_core.analysis.divergence import compute_divergence
from intravisto_core.analysis.lenses import compute_logits
from intravisto_core.lenses import Projection
from intravisto_core.models import LoadedModel
from intravisto_core.request.positions import Positions, resolve
from intravisto_core.sites import Component, Site
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.tracing import TraceData
from intravisto_core.views.tiles import TileKind, project_tile
from intravisto_core.views.vectors import list_rows

_SHOWS = {
    Site.RESID_PRE: Component.BLOCK,
    Site.RESID_POST: Component.BLOCK,
    Site.RESID_MID: Component.MID,
    Site.ATTN_OUT: Component.ATTENTION,
    Site.Z: Component.ATTENTION,
    Site.PATTERN: Component.ATTENTION,
    Site.MLP_OUT: Component.MLP,
    Site.ACT: Component.MLP,
}


@dataclass(frozen=True, slots=True)
class DifferenceGrid:
    """kl: of the baseline's cell from the edited one, NaN for updates. distance: ‖Δx‖/‖x‖. difference: change of the
    logit difference of two tokens. ids, edited_ids: top tokens of the cells that differ, −1 elsewhere.
    """

    kl: Float[np.ndarray, "R P"]
    distance: Float[np.ndarray, "R P"]
    difference: Float[np.ndarray, "R P"]
    ids: Int[np.ndarray, "R P"]
    edited_ids: Int[np.ndarray, "R P"]

    def over(self, top: Int[np.ndarray, "R P"]) -> DifferenceGrid:
        """With the baseline's top tokens in the cells that are the same in both runs."""
        same = self.ids < 0
        return replace(self, ids=np.where(same, top, self.ids), edited_ids=np.where(same, top, self.edited_ids))


def compute_difference(
    model: LoadedModel,
    base: TraceData,
    edited: TraceData,
    kind: TileKind,
    rows: tuple[int, ...],
    columns: tuple[int, ...],
    at: Int[np.ndarray, " r"],
    there: Int[np.ndarray, " p"],
    tokens: tuple[int, int],
) -> DifferenceGrid:
    """Both runs decoded alike in the cells whose vectors differ in any bit; in the others nothing has changed.

    at, there: which of the rows and columns have cells in both runs.
    """
    blank = np.full((len(rows), len(columns)), np.nan, np.float32)
    nothing = blank.copy()
    nothing[np.ix_(at, there)] = 0
    out = DifferenceGrid(
        blank if kind.is_update else nothing.copy(),
        nothing.copy(),
        nothing,
        *(np.full(blank.shape, -1, np.int32) for _ in range(2)),
    )
    having = list_rows(kind.component, kind.reading, model.dimensions.n_layers)
    picked = torch.tensor([rows[i] - having.start for i in at], dtype=torch.long)
    # the vectors of both runs, and what is projected of them
    step = count_tile_positions(4 * len(having), model.dimensions.d_model)
    for start in range(0, len(there) if len(at) else 0, step):
        stretch = there[start : start + step]
        for cells, found in _changed(model, (base, edited), kind, picked, [columns[i] for i in stretch], tokens):
            for name, values in found.items():
                getattr(out, name)[at[cells // len(stretch)], stretch[cells % len(stretch)]] = values
    return out


def _changed(
    model: LoadedModel,
    runs: tuple[TraceData, TraceData],
    kind: TileKind,
    picked: torch.Tensor,
    positions: list[int],
    tokens: tuple[int, int],
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Numbers of cells (row · columns + column) that are not the same in both runs, and what they say, in batches."""
    states, projections = [], []
    for data in runs:
        x, projection, _, _, whole = project_tile(model, data, kind, positions)
        flat = torch.arange(whole[0] * whole[1]).view(whole)[picked].flatten().to(x.device)
        states.append(x[flat])
        projections.append(_some(projection, flat))
    x, y = states
    differ = (x != y).any(-1) | (projections[0].x_hat != projections[1].x_hat).any(-1)
    target, contrast = tokens
    for batch in differ.nonzero()[:, 0].split(count_tile_positions(2, model.dimensions.d_vocab)):
        z, w = (compute_logits(model, _some(each, batch)) for each in projections)
        found = {
            "distance": (y[batch] - x[batch]).norm(dim=-1) / x[batch].norm(dim=-1).clamp(min=1e-30),
            "difference": (w[:, target] - w[:, contrast]) - (z[:, target] - z[:, contrast]),
            # as the tiles do, so that of equal logits the same one is named
            "ids": find_top_tokens(z)[1][:, 0].int(),
            "edited_ids": find_top_tokens(w)[1][:, 0].int(),
        }
        if not kind.is_update:
            found["kl"] = compute_divergence(z, w).float()
        yield batch.cpu().numpy(), {name: values.cpu().numpy() for name, values in found.items()}


def _some(projection: Projection, cells: torch.Tensor) -> Projection:
    return replace(projection, x_hat=projection.x_hat[cells], mix=projection.mix[cells])


def flag_edited_cells(
    model: LoadedModel, entry: TraceEntry, component: Component, rows: tuple[int, ...], columns: tuple[int, ...]
) -> Bool[np.ndarray, "R P"]:
    """Which cells of a component an intervention acts on; the block output's cells stand for their whole block."""
    out = np.zeros((len(rows), len(columns)), dtype=bool)
    limit = max(entry.length, entry.prompt_length + entry.request.generation.max_new_tokens)
    for each in entry.request.interventions:
        if each.site is None or each.layer is None or component not in (_SHOWS[each.site], Component.BLOCK):
            continue  # a function at a module has no cell of its own
        layer = each.layer % model.dimensions.n_layers
        row = layer if each.site is Site.RESID_PRE else layer + 1
        spec: Positions = getattr(each, "positions", getattr(each, "queries", "all"))
        places = set(resolve(spec, entry.prompt_length, limit))
        for i, shown in enumerate(rows):
            if shown == row:
                out[i] |= [p in places for p in columns]
    return out
