"""What an edit changed, as numbers (docs/methods.md §8), and how two orders of effects agree (§6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.decoding import compute_sums
from intravisto_core.analysis.divergence import compute_divergence
from intravisto_core.sites import Patching

# a distance of two runs from which on shares of it are told
FLOORS_OF_WHOLE = 5


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a run says after positions 0 … C−1.

    log_prob: (C,) of the token that comes next in a given text, NaN at its end. difference: (C,) target's logit less
    contrast's. kl: (C,) of a reference's prediction from this one, nats. top: (C,) token ids.
    """

    log_prob: Float[np.ndarray, " C"]
    difference: Float[np.ndarray, " C"]
    kl: Float[np.ndarray, " C"]
    top: Int[np.ndarray, " C"]


def compute_two_steps(logits: Float[Tensor, " n"], dtype: torch.dtype) -> float:
    """Two steps of a dtype at the size of the largest of some logits: what rounding alone may move them by."""
    size = float(logits.abs().max())
    return 2 * (torch.finfo(dtype).eps * 2.0 ** math.floor(math.log2(size)) if size else torch.finfo(dtype).tiny)


def compute_predictions(
    logits: Callable[[Float[Tensor, "n d"]], Float[Tensor, "n V"]],
    final: Float[Tensor, "C d"],
    other: Float[Tensor, "C d"],
    next_ids: Int[Tensor, " C"],
    target: int,
    contrast: int,
    step: int,
) -> tuple[Predictions, Predictions]:
    """What the last streams of a reference and of another run say; the second one's kl is from the first.

    logits: reads streams. next_ids: −1 where none comes. step: positions that are read at once.
    """
    parts: tuple[list[tuple[Tensor, ...]], list[tuple[Tensor, ...]]] = ([], [])
    for start in range(0, len(next_ids), step):
        span = slice(start, start + step)
        z = logits(final[span])
        following = next_ids[span].to(z.device)
        parts[0].append(_said(z, z, following, target, contrast))
        if torch.equal(final[span], other[span]):
            parts[1].append(parts[0][-1])
        else:
            w = logits(other[span])
            parts[1].append(_said(w, z, following, target, contrast))
    return _joined(parts[0]), _joined(parts[1])


def _said(
    z: Float[Tensor, "n V"],
    reference: Float[Tensor, "n V"],
    following: Int[Tensor, " n"],
    target: int,
    contrast: int,
) -> tuple[Tensor, ...]:
    log_prob = z.gather(1, following.clamp(min=0)[:, None])[:, 0] - compute_sums(z, z.amax(-1)).log_sum
    said = log_prob.float().masked_fill(following < 0, torch.nan)
    kl = said.new_zeros(len(z)) if z is reference else compute_divergence(reference, z).float()
    return said, z[:, target] - z[:, contrast], kl, z.argmax(-1)


def _joined(parts: list[tuple[Tensor, ...]]) -> Predictions:
    columns = [torch.cat(p).cpu().numpy() for p in zip(*parts, strict=True)]
    return Predictions(columns[0], columns[1], columns[2], columns[3].astype(np.int32))


def compute_recovered_share(
    m_edit: float, m_clean: float, m_corrupt: float, noise: float, direction: Patching = Patching.DENOISE
) -> float:
    """Denoise: `(m_edit − m_corrupt)/(m_clean − m_corrupt)`; noise: `(m_clean − m_edit)/(m_clean − m_corrupt)`.

    0 is "nothing happened" in both. NaN where the denominator is under 5 noise floors.
    """
    whole = m_clean - m_corrupt
    if whole == 0 or abs(whole) < FLOORS_OF_WHOLE * noise:
        return float("nan")
    return (m_edit - m_corrupt if direction is Patching.DENOISE else m_clean - m_edit) / whole


def rank_values(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Ranks from 1; equal values share the mean of theirs."""
    order = np.argsort(values, kind="stable")
    out = np.empty(len(values))
    out[order] = np.arange(1, len(values) + 1)
    _, group = np.unique(values, return_inverse=True)
    totals, counts = np.bincount(group, out), np.bincount(group)
    return (totals / counts)[group]


def compute_rank_correlation(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Spearman's; NaN for fewer than 3 pairs, or where all of one are equal."""
    if len(a) < 3:
        return float("nan")
    x, y = rank_values(a) - (len(a) + 1) / 2, rank_values(b) - (len(b) + 1) / 2
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size else float("nan")
