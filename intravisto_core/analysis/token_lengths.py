"""How long the directions of tokens are in the stream's space (docs/methods.md §3), for readings by angle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.models import LoadedModel

LEAST = 1e-3


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """Products of the direction of every token in the output and the input table, `u_t` and `e_t`.

    output: ⟨u_t, u_t⟩. input: ⟨e_t, e_t⟩. both: ⟨u_t, e_t⟩; float32.
    """

    output: Float[Tensor, " V"]
    input: Float[Tensor, " V"]
    both: Float[Tensor, " V"]

    @property
    def nbytes(self) -> int:
        """Bytes of all three."""
        return self.output.nbytes + self.input.nbytes + self.both.nbytes

    def at(self, mix: float) -> Float[Tensor, " V"]:
        """‖(1−a) e_t + a u_t‖ for every token, a the share of the output table.

        A direction much shorter than the usual one is rounding: it counts as `LEAST` of the median.
        """
        squares = (1 - mix) ** 2 * self.input + 2 * mix * (1 - mix) * self.both + mix**2 * self.output
        lengths = squares.clamp(min=0).sqrt()
        least = LEAST * float(lengths.median())
        return lengths.clamp(min=max(least, torch.finfo(lengths.dtype).tiny))


def compute_token_lengths(model: LoadedModel) -> TokenLengths:
    """Of every token, `u_t = γ ⊙ (M[t] − mean_v M[v])`, centred over d for LayerNorm; the tables are read by chunks."""
    output = _read_directions(model, "unembed")
    if model.weights.tied:
        squares = torch.cat([u.square().sum(-1) for u in output])
        return TokenLengths(squares, squares, squares)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for u, e in zip(output, _read_directions(model, "embed"), strict=True):
        found.append((u.square().sum(-1), e.square().sum(-1), (u * e).sum(-1)))
    return TokenLengths(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _read_directions(model: LoadedModel, table: str) -> Iterator[Float[Tensor, "rows d"]]:
    mean = model.weights.mean_row(table)
    for _, rows in model.weights.chunks(table):
        yield model.norm.centre(model.norm.scale * (rows - mean))


def sort_by_angle(
    z: Float[Tensor, "n V"], mix: Float[Tensor, " n"], lengths: TokenLengths
) -> tuple[Float[Tensor, "n V"], Float[Tensor, " n"]]:
    """What puts tokens in order by angle, in place of the changes of logit `z`, and the mean change of each vector.

    `(z_t − mean_v z_v) / ‖u_t‖` is the cosine with ê_t times a factor that all tokens of a vector share.
    """
    mean = z.mean(-1, dtype=torch.float64).to(z.dtype)
    z.sub_(mean[:, None])
    for share in mix.unique().tolist():
        mine = (mix == share).nonzero()[:, 0]
        first, last = int(mine[0]), int(mine[-1]) + 1
        if len(mine) == last - first:
            z[first:last].div_(lengths.at(share))
        else:
            z[mine] = z[mine] / lengths.at(share)
    return z, mean


def changes_of(
    scores: Float[Tensor, "n k"],
    ids: Tensor,
    mean: Float[Tensor, " n"],
    mix: Float[Tensor, " n"],
    lengths: TokenLengths,
) -> Float[Tensor, "n k"]:
    """The changes of logit of listed tokens from their place by angle: `sort_by_angle` undone."""
    out = torch.empty_like(scores)
    for share in mix.unique().tolist():
        mine = mix == share
        out[mine] = scores[mine] * lengths.at(share)[ids[mine]] + mean[mine, None]
    return out
