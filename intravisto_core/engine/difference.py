"""The difference of two runs, cell by cell (docs/methods.md §8)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from intravisto_core.analysis.decoding import tile_positions
from intravisto_core.analysis.effects import divergence
from intravisto_core.analysis.lenses import logit_matrix
from intravisto_core.engine.entry import TraceEntry
from intravisto_core.engine.tiles import TileKind, project
from intravisto_core.engine.vectors import row_range
from intravisto_core.models import LoadedModel
from intravisto_core.request.positions import Positions, resolve
from intravisto_core.sites import Component, Site
from intravisto_core.tracing import TraceData

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
    logit difference of two tokens. ids, edited_ids: top tokens, −1 where blank.
    """

    kl: Float[np.ndarray, "R P"]
    distance: Float[np.ndarray, "R P"]
    difference: Float[np.ndarray, "R P"]
    ids: Int[np.ndarray, "R P"]
    edited_ids: Int[np.ndarray, "R P"]

    def blank_from(self, columns: tuple[int, ...], n: int) -> DifferenceGrid:
        """The grid with the columns of positions from n on left blank."""
        late = np.array(columns) >= n
        changed = {}
        for each in fields(self):
            values = getattr(self, each.name).copy()
            values[:, late] = -1 if values.dtype.kind == "i" else np.nan
            changed[each.name] = values
        return replace(self, **changed)


def difference_grid(
    model: LoadedModel,
    base: TraceData,
    edited: TraceData,
    kind: TileKind,
    rows: tuple[int, ...],
    columns: tuple[int, ...],
    tokens: tuple[int, int],
) -> DifferenceGrid:
    """Both runs decoded alike at the columns that both have; the rest is blank."""
    shape = (len(rows), len(columns))
    out = DifferenceGrid(
        *(np.full(shape, np.nan, np.float32) for _ in range(3)), *(np.full(shape, -1, np.int32) for _ in range(2))
    )
    having = row_range(kind.component, kind.reading, model.dimensions.n_layers)
    at = [i for i, row in enumerate(rows) if row in having]
    there = [i for i, p in enumerate(columns) if p < min(base.length, edited.length)]
    if not at or not there:
        return out
    picked = torch.tensor([rows[i] - having.start for i in at])
    step = tile_positions(2 * len(having), model.dimensions.d_vocab)
    for start in range(0, len(there), step):
        chosen = there[start : start + step]
        found = _tile(model, (base, edited), kind, picked, [columns[i] for i in chosen], tokens)
        for name, values in found.items():
            getattr(out, name)[np.ix_(at, chosen)] = values
    return out


def _tile(
    model: LoadedModel,
    runs: tuple[TraceData, TraceData],
    kind: TileKind,
    picked: torch.Tensor,
    positions: list[int],
    tokens: tuple[int, int],
) -> dict[str, np.ndarray]:
    shape = (len(picked), len(positions))
    states, logits = [], []
    for data in runs:
        x, projection, _, _, whole = project(model, data, kind, positions)
        flat = torch.arange(whole[0] * whole[1]).view(whole)[picked].flatten().to(x.device)
        states.append(x[flat])
        logits.append(logit_matrix(model, replace(projection, x_hat=projection.x_hat[flat], mix=projection.mix[flat])))
    (x, y), (z, w) = states, logits
    target, contrast = tokens
    found = {
        "distance": (y - x).norm(dim=-1) / x.norm(dim=-1).clamp(min=1e-30),
        "difference": (w[:, target] - w[:, contrast]) - (z[:, target] - z[:, contrast]),
        "ids": z.argmax(-1).int(),
        "edited_ids": w.argmax(-1).int(),
    }
    if not kind.is_update:
        found["kl"] = divergence(z.log_softmax(-1), w.log_softmax(-1))
    return {name: values.view(shape).cpu().numpy() for name, values in found.items()}


def edited_cells(
    model: LoadedModel, entry: TraceEntry, component: Component, rows: tuple[int, ...], columns: tuple[int, ...]
) -> Bool[np.ndarray, "R P"]:
    """Which cells of a component an intervention acts on; the block output's cells stand for their whole block."""
    out = np.zeros((len(rows), len(columns)), dtype=bool)
    limit = max(entry.length, entry.prompt_length + entry.request.generation.max_new_tokens)
    for each in entry.request.interventions:
        if component not in (_SHOWS[each.site], Component.BLOCK):
            continue
        layer = each.layer % model.dimensions.n_layers
        row = layer if each.site is Site.RESID_PRE else layer + 1
        spec: Positions = getattr(each, "positions", getattr(each, "queries", "all"))
        places = set(resolve(spec, entry.prompt_length, limit))
        for i, shown in enumerate(rows):
            if shown == row:
                out[i] |= [p in places for p in columns]
    return out
