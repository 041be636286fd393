"""Decoded tiles: all rows of a component at a stretch of positions, computed once and kept in the store."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.decoding import (
    Cells,
    compute_ranks,
    compute_sums,
    count_tile_positions,
    decode_state,
    decode_update,
)
from intravisto_core.analysis.lenses import compute_logits, compute_output_logits, compute_token_logits
from intravisto_core.analysis.readings import freeze_norm, subtract_tokens
from intravisto_core.analysis.token_lengths import TokenLengths
from intravisto_core.lenses import Projection, VocabularyLens
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Component, NormPolicy, Reading, TokenOrder
from intravisto_core.tracing import TraceData
from intravisto_core.views.vectors import Positions, list_rows, stack_streams, stack_vectors


@dataclass(frozen=True, slots=True)
class TileKind:
    """What a tile decodes; two views with the same kind share tiles."""

    component: Component
    lens: VocabularyLens
    norm: NormPolicy
    reading: Reading
    order: TokenOrder = TokenOrder.LOGIT

    @property
    def is_update(self) -> bool:
        """Whether cells are changes of logits."""
        return self.norm is NormPolicy.STREAM


@dataclass(frozen=True, slots=True)
class Given:
    """What tiles share. room: memory for the logits, as in `compute_logits`. lengths: of the tokens, for an order by
    angle.
    """

    room: Tensor | None = None
    lengths: TokenLengths | None = None


def convert_to_numpy(cells: Any) -> dict[str, np.ndarray]:
    """The tensors of a dataclass as NumPy arrays: float32, int32 or bool."""
    out = {}
    for field in fields(cells):
        x = getattr(cells, field.name)
        if isinstance(x, Tensor):
            x = x.float() if x.is_floating_point() else x if x.dtype == torch.bool else x.int()
            out[field.name] = x.cpu().numpy()
    return out


def count_positions(model: LoadedModel, kind: TileKind) -> int:
    """Positions in a tile of that kind."""
    n_rows = len(list_rows(kind.component, kind.reading, model.dimensions.n_layers))
    copies = 2 if kind.lens.compares_tables else 1
    return count_tile_positions(copies * (n_rows + 1), model.dimensions.d_vocab)


def count_logits(model: LoadedModel, kind: TileKind, n_positions: int) -> int:
    """How many numbers the logits of a tile with that many positions are."""
    n_rows = len(list_rows(kind.component, kind.reading, model.dimensions.n_layers))
    return (n_rows + 1) * n_positions * model.dimensions.d_vocab


def project_tile(
    model: LoadedModel, data: TraceData, kind: TileKind, positions: Positions
) -> tuple[Tensor, Projection, Tensor, Tensor, tuple[int, int]]:
    """Vectors (R·p, d), their projection, the stream beside them, which are at row L+1, and (R, p)."""
    x, beside = stack_vectors(model, data, kind.component, kind.reading, positions)
    shape = (x.shape[0], x.shape[1])
    n_layers = model.dimensions.n_layers
    rows = torch.tensor(list(list_rows(kind.component, kind.reading, n_layers)), device=x.device)
    flat_rows = rows.repeat_interleave(shape[1])
    x, beside = x.flatten(0, 1), beside.flatten(0, 1)
    projection = kind.lens.project(model, x, beside, flat_rows, kind.norm)
    return x, projection, beside, flat_rows == n_layers + 1, shape


def decode_tile(
    model: LoadedModel, data: TraceData, kind: TileKind, positions: Positions, given: Given
) -> dict[str, np.ndarray]:
    """Cells of one tile as arrays (R, p, …), R the rows that have cells; for states also `says` (p,)."""
    x, projection, beside, as_it_is, shape = project_tile(model, data, kind, positions)
    if kind.reading is Reading.ITERATIVE:
        norm = freeze_norm(model, x, beside, kind.norm, as_it_is)
        if kind.lens.compares_tables:
            projection = _decided(model, data, kind, positions, projection, shape)
        taken = subtract_tokens(model, x, norm, projection, kind.norm, as_it_is)
        return {name: a.reshape(*shape, -1) for name, a in convert_to_numpy(taken).items()}
    if kind.is_update:
        return convert_to_numpy(decode_update(model, projection, shape, given.room, given.lengths))
    cells = _state_cells(model, data, kind, positions, projection, shape, given.room)
    arrays = convert_to_numpy(cells)
    says = arrays["top_ids"][-1, :, 0]
    return {**{name: a[: shape[0]] for name, a in arrays.items()}, "says": says}


def _state_cells(
    model: LoadedModel,
    data: TraceData,
    kind: TileKind,
    positions: Positions,
    projection: Projection,
    shape: tuple[int, int],
    room: Tensor | None = None,
) -> Cells:
    """Decode states; the model's final state is the last row, put there where the tile has it not itself."""
    if not (kind.component is Component.BLOCK and kind.lens.ends_at_the_model):
        final = model.final_state(data.final[positions])
        ones = torch.ones(shape[1], dtype=torch.float32, device=final.device)
        projection = replace(
            projection, x_hat=torch.cat([projection.x_hat, final]), mix=torch.cat([projection.mix, ones])
        )
        shape = (shape[0] + 1, shape[1])
    following = [data.ids[p + 1] if p + 1 < data.length else -1 for p in positions]
    next_ids = torch.tensor(following, device=projection.x_hat.device)
    return decode_state(model, projection, shape, next_ids, best_table=kind.lens.compares_tables, room=room)


def decode_says(model: LoadedModel, data: TraceData, positions: Positions) -> np.ndarray:
    """The model's own top token after each position."""
    out: np.ndarray = compute_output_logits(model, data.final[positions]).argmax(-1).int().cpu().numpy()
    return out


def decode_watched(
    model: LoadedModel, data: TraceData, kind: TileKind, positions: Positions, tokens: tuple[int, ...]
) -> dict[int, dict[str, np.ndarray]]:
    """Rank, logit and log-sum-exp (NaN for updates) of each token, (R, p) each; rank 1 is the top."""
    _, projection, _, _, shape = project_tile(model, data, kind, positions)
    if kind.lens.compares_tables:
        projection = _decided(model, data, kind, positions, projection, shape)
    z = compute_logits(model, projection)
    log_sum = (
        torch.full(shape, torch.nan, dtype=torch.float32)
        if kind.is_update
        else compute_sums(z, z.amax(-1)).log_sum.view(shape)
    )
    out = {}
    for token in tokens:
        rank, logit = compute_ranks(z, token)
        out[token] = {
            "rank": rank.view(shape).int().cpu().numpy(),
            "logit": logit.view(shape).cpu().numpy(),
            "log_sum": log_sum.float().cpu().numpy(),
        }
    return out


def decode_followed(
    model: LoadedModel, data: TraceData, kind: TileKind, positions: Positions, tokens: tuple[int, ...]
) -> dict[int, np.ndarray]:
    """Logit of each token, (R, p): as `decode_watched`, but no other token is looked at. Not where tables compete."""
    _, projection, _, _, shape = project_tile(model, data, kind, positions)
    z = compute_token_logits(model, projection, tokens).float().cpu().numpy()
    return {token: z[:, i].reshape(shape) for i, token in enumerate(tokens)}


def _decided(
    model: LoadedModel,
    data: TraceData,
    kind: TileKind,
    positions: Positions,
    projection: Projection,
    shape: tuple[int, int],
) -> Projection:
    """The projection with each cell on the table that won there (max-probability lens)."""
    winner = _state_cells(model, data, kind, positions, projection, shape).winner
    assert winner is not None
    return replace(projection, mix=winner[: shape[0]].flatten().float())


def measure_stream(model: LoadedModel, data: TraceData, positions: Positions) -> dict[str, np.ndarray]:
    """‖x‖₂, cosine with the row below and share of ‖x‖² in the 3 largest dimensions, rows 0 … L+1, (L+2, p)."""
    states = stack_streams(model, data, positions)
    x = torch.cat([states, model.final_state(data.final[positions])[None]])
    norms = x.norm(dim=-1)
    cosine = torch.full_like(norms, torch.nan)
    cosine[1:] = (x[1:] * x[:-1]).sum(-1) / (norms[1:] * norms[:-1])
    top3 = x.square().topk(min(3, x.shape[-1]), -1).values.sum(-1) / norms.square()
    return {"norms": norms.cpu().numpy(), "cosine": cosine.cpu().numpy(), "top3_share": top3.cpu().numpy()}
