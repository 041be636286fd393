"""The scores of one query of one head, and what its weights become when they change (docs/methods.md §7)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.attention import cap_scores


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What one query of one head sees. keys: the n positions that it sees, in order.

    products: `scale · ⟨q_i, k_k⟩` as the model multiplied, before the soft-cap. bias: what is added after it (ALiBi).
    sink: the learned score that takes part in the softmax, or None. q, k: as captured, k of the same keys. All float64.
    """

    keys: Int[Tensor, " n"]
    products: Float[Tensor, " n"]
    bias: Float[Tensor, " n"]
    soft_cap: float
    sink: float | None
    scaling: float
    q: Float[Tensor, " d_qk"]
    k: Float[Tensor, "n d_qk"]

    def finish(self, products: Float[Tensor, "*m n"]) -> Float[Tensor, "*m n"]:
        """Scores from products: soft-cap, then bias."""
        return cap_scores(products, self.soft_cap) + self.bias

    def weights(self, products: Float[Tensor, "*m n"]) -> Float[Tensor, "*m n"]:
        """The softmax of the scores, learned sink included."""
        scores = self.finish(products)
        if self.sink is None:
            return scores.softmax(-1)
        sink = scores.new_full((*scores.shape[:-1], 1), self.sink)
        return torch.cat([scores, sink], -1).softmax(-1)[..., :-1]

    def reference_weights(self, place: int, weighted: bool) -> Float[Tensor, " n"]:
        """How much each key counts in what a key's score is held against: the other keys, alike or by attention."""
        others = torch.ones_like(self.products)
        others[place] = 0
        if not weighted:
            return others / others.sum()
        scores = self.finish(self.products)
        scores[place] = -torch.inf
        return scores.softmax(-1)
