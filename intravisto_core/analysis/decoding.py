"""Statistics of cells over the vocabulary (docs/methods.md §4).

All take logits (n, V) in float32 and read them in column blocks that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intravisto_core.analysis.lenses import FLOOR, compute_logits
from intravisto_core.analysis.token_lengths import TokenLengths, changes_of, sort_by_angle
from intravisto_core.lenses import Projection, VocabularyLens
from intravisto_core.models import LoadedModel
from intravisto_core.models.run_memory import TILE_BYTES
from intravisto_core.request import TOP_K_KEPT

_GROUPS = 16
_BLOCK_ELEMENTS = 1 << 18


def count_tile_positions(n_rows: int, d_vocab: int, budget: int = TILE_BYTES) -> int:
    """How many positions of `n_rows` cells are decoded at once, so that their logits take at most `budget` bytes."""
    return max(1, budget // (4 * d_vocab * max(1, n_rows)))


def split_columns(z: Float[Tensor, "n V"]) -> Iterator[slice]:
    """Blocks of columns that stay in the processor's cache."""
    width = max(256, _BLOCK_ELEMENTS // max(1, z.shape[0]))
    for start in range(0, z.shape[1], width):
        yield slice(start, min(start + width, z.shape[1]))


@dataclass(frozen=True, slots=True)
class Sums:
    """log_sum: log Σ e^z (n,). entropy: nats (n,). kl_last, kl_below: nats, between rows (see `sums`), or None."""

    log_sum: Float[Tensor, " n"]
    entropy: Float[Tensor, " n"]
    kl_last: Float[Tensor, "R P"] | None = None
    kl_below: Float[Tensor, "R P"] | None = None


def find_top_tokens(z: Float[Tensor, "n V"], k: int = TOP_K_KEPT) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """The k highest logits and their ids, best first.

    Columns are dealt to stripes; only the k stripes with the highest peaks can hold a top-k token.
    """
    n, vocab = z.shape
    k, width = min(k, vocab), vocab // _GROUPS
    if width <= k:
        best = z.topk(k, -1)
        return best.values, best.indices
    whole = width * _GROUPS
    peaks = z[:, :whole].unflatten(1, (_GROUPS, width))
    # with the stripes in order, what they hold is in order of ids too
    stripes = peaks.amax(1).topk(k, -1, sorted=False).indices.sort(1).values
    ids = (stripes[:, None, :] + torch.arange(_GROUPS, device=z.device)[:, None] * width).reshape(n, _GROUPS * k)
    rest = torch.arange(whole, vocab, device=z.device).expand(n, -1)
    ids = torch.cat([ids, rest], 1)
    best = z.gather(1, ids).topk(k, -1)
    return best.values, ids.gather(1, best.indices)


def compute_sums(z: Float[Tensor, "n V"], peak: Float[Tensor, " n"], shape: tuple[int, int] | None = None) -> Sums:
    """Log-sum-exp and entropy of every row; with `shape` (R, P), rows being r·P + p, also divergences across rows.

    peak: the row's highest logit. kl_last[r, p]: KL of the last row's distribution from that of row r. kl_below[r, p]:
    KL of row r's from that of row r−1; NaN at r = 0. Logits are taken less their row's peak, and two rows' logits are
    subtracted before they are multiplied by p, so that no large numbers cancel (docs/methods.md §10). Sums over blocks
    are in float64.
    """
    n = z.shape[0]
    total = torch.zeros(n, dtype=torch.float64, device=z.device)
    weighted = torch.zeros_like(total)
    rows, columns = shape or (1, n)
    last = torch.zeros((rows, columns), dtype=torch.float64, device=z.device)
    below = torch.full_like(last, torch.nan)
    below[1:] = 0
    for block in split_columns(z):
        under_peak = torch.sub(z[:, block], peak[:, None])
        e = under_peak.exp()
        total += e.sum(-1)
        weighted += torch.linalg.vecdot(e, under_peak)
        if shape is not None:
            grid, e_grid = under_peak.unflatten(0, shape), e.unflatten(0, shape)
            last += torch.sub(grid[-1], grid).mul_(e_grid[-1]).sum(-1)
            below[1:] += torch.sub(grid[1:], grid[:-1]).mul_(e_grid[1:]).sum(-1)
    if bool(weighted.isnan().any()) and bool(z.isneginf().any()):
        return compute_sums(z.clamp(min=FLOOR), peak.clamp(min=FLOOR), shape)
    log_total = total.log()
    found = Sums(peak.double() + log_total, log_total - weighted / total)
    if shape is None:
        return found
    grid_total, grid_log = total.view(shape), log_total.view(shape)
    last = last / grid_total[-1] + (grid_log - grid_log[-1])
    below = below / grid_total
    below[1:] += grid_log[:-1] - grid_log[1:]
    # of nearly equal rows the sum is rounding, of either sign
    return replace(found, kl_last=last.clamp(min=0), kl_below=below.clamp(min=0))


@dataclass(frozen=True, slots=True)
class Cells:
    """Decoded cells of R rows × P positions.

    top_ids, top_logits: (R, P, k). low_ids, low_logits: the most lowered, under the stream policy, else None.
    The statistics are None under the stream policy. winner: true where the output table won (max-probability lens).
    """

    top_ids: Int[Tensor, "R P k"]
    top_logits: Float[Tensor, "R P k"]
    low_ids: Int[Tensor, "R P k"] | None = None
    low_logits: Float[Tensor, "R P k"] | None = None
    log_sum: Float[Tensor, "R P"] | None = None
    entropy: Float[Tensor, "R P"] | None = None
    kl_final: Float[Tensor, "R P"] | None = None
    kl_below: Float[Tensor, "R P"] | None = None
    next_logit: Float[Tensor, "R P"] | None = None
    winner: Bool[Tensor, "R P"] | None = None


def decode_update(
    model: LoadedModel,
    projection: Projection,
    shape: tuple[int, int],
    room: Float[Tensor, " z"] | None = None,
    lengths: TokenLengths | None = None,
) -> Cells:
    """Cells under the stream policy: tokens promoted and suppressed, with their change of logit.

    room: as in `compute_logits`. lengths: where given, tokens are in order of the angle, else of the change of logit.
    """
    z = compute_logits(model, projection, room)
    mean = None
    if lengths is not None:
        z, mean = sort_by_angle(z, projection.mix, lengths)
    high, high_ids = find_top_tokens(z)
    low, low_ids = find_top_tokens(z.neg_())
    if lengths is not None and mean is not None:
        high = changes_of(high, high_ids, mean, projection.mix, lengths)
        low = changes_of(-low, low_ids, mean, projection.mix, lengths).neg_()
    return Cells(*(x.unflatten(0, shape) for x in (high_ids, high, low_ids, low.neg_())))


def decode_state(
    model: LoadedModel,
    projection: Projection,
    shape: tuple[int, int],
    next_ids: Int[Tensor, " P"],
    best_table: bool,
    room: Float[Tensor, " z"] | None = None,
) -> Cells:
    """Cells with probabilities.

    projection: R·P vectors, the *last* row being the model's final state under the output lens, which every row is
    compared with. next_ids: the token that comes after each position, −1 for none. best_table: decide cell by cell
    between input and output table by the higher top-1 probability (the max-probability lens); a tie is the output's.
    room: as in `compute_logits`.
    """
    winner = None
    if best_table:
        z, winner = _surer_table(model, projection, shape)
    else:
        z = compute_logits(model, projection, room)
    top, ids = find_top_tokens(z)
    all_sums = compute_sums(z, top[:, 0], shape)
    log_sum = all_sums.log_sum.unflatten(0, shape)
    entropy = all_sums.entropy.unflatten(0, shape)
    known = next_ids.clamp(min=0).expand(shape).reshape(-1, 1)
    next_logit = z.gather(1, known).view(shape).masked_fill(next_ids < 0, torch.nan)
    return Cells(
        top_ids=ids.unflatten(0, shape),
        top_logits=top.unflatten(0, shape),
        log_sum=log_sum,
        entropy=entropy,
        kl_final=all_sums.kl_last,
        kl_below=all_sums.kl_below,
        next_logit=next_logit,
        winner=winner,
    )


def _surer_table(
    model: LoadedModel, projection: Projection, shape: tuple[int, int]
) -> tuple[Float[Tensor, "n V"], Bool[Tensor, "R P"]]:
    last = torch.zeros(shape, dtype=torch.bool, device=projection.x_hat.device)
    last[-1] = True
    z, winner = compute_surer_logits(model, projection, last.flatten())
    return z, winner.view(shape)


def read_logits(
    model: LoadedModel, projection: Projection, lens: VocabularyLens, own: Bool[Tensor, " n"]
) -> Float[Tensor, "n V"]:
    """All logits of n vectors under a lens. own: those at row L+1, which no table is compared for."""
    if lens.compares_tables:
        return compute_surer_logits(model, projection, own)[0]
    return compute_logits(model, projection)


def compute_surer_logits(
    model: LoadedModel, projection: Projection, own: Bool[Tensor, " n"]
) -> tuple[Float[Tensor, "n V"], Bool[Tensor, " n"]]:
    """Logits of n vectors by whichever table has the higher top-1 probability, and where that is the output table.

    own: vectors that the output table reads in any case.
    """
    tables = []
    for mix in (1.0, 0.0):
        z = compute_logits(model, _with_mix(projection, mix))
        peak = z.amax(-1)
        tables.append((z, (peak.double() - compute_sums(z, peak).log_sum)))
    (z, log_p), (z_input, log_p_input) = tables
    winner = (log_p >= log_p_input) | own
    z[~winner] = z_input[~winner]
    return z, winner


def _with_mix(projection: Projection, mix: float) -> Projection:
    return Projection(
        projection.x_hat, torch.full_like(projection.mix, mix), bias=projection.bias, capped=projection.capped
    )


def compute_ranks(z: Float[Tensor, "n V"], token: int) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Rank of a token (1 + how many are strictly higher) and its logit."""
    logit = z[:, token]
    return 1 + (z > logit[:, None]).sum(-1), logit
