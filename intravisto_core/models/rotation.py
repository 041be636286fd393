"""Rotary positions of one layer, by the family's own code: a linear map of a query or key at each position."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intravisto_core.architectures import AttentionKind
from intravisto_core.errors import ModelError
from intravisto_core.models.loaded import LoadedModel

Turn = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Rotation:
    """How a layer turns vectors at some positions: `R_p x`. turn: None where it turns nothing.

    cos, sin: (n, r) as the model has them, in float32. width: how many first numbers of a vector are turned.
    """

    turn: Turn | None
    cos: Float[Tensor, "n r"]
    sin: Float[Tensor, "n r"]
    width: int

    def apply(self, x: Float[Tensor, "*parts n d_qk"]) -> Float[Tensor, "*parts n d_qk"]:
        """Each vector turned as at its position."""
        return x if self.turn is None else self._turned(x, self.sin)

    def undo(self, x: Float[Tensor, "*parts n d_qk"]) -> Float[Tensor, "*parts n d_qk"]:
        """`R_pᵀ x`: with it `⟨R_p a, x⟩ = ⟨a, R_pᵀ x⟩`."""
        return x if self.turn is None else self._turned(x, -self.sin)

    def at(self, rows: Int[Tensor, " m"] | slice) -> Self:
        """Of some of the positions, by their places among them."""
        return type(self)(self.turn, self.cos[rows], self.sin[rows], self.width)

    def _turned(self, x: Tensor, sin: Tensor) -> Tensor:
        assert self.turn is not None
        stacked = x.reshape(1, -1, *x.shape[-2:])
        turned = self.turn(stacked[..., : self.width], self.cos, sin)
        if self.width < x.shape[-1]:
            turned = torch.cat([turned, stacked[..., self.width :]], -1)
        return turned.reshape(x.shape)


@torch.no_grad()
def read_rotation(model: LoadedModel, layer: int, length: int) -> Rotation:
    """How a layer turns queries and keys at the positions of a text of that length.

    It is read from the model's own tables and function. Whoever uses it holds what it gives against captured vectors.

    Raises:
        ModelError: the family has rotary positions of a kind that is not known.
    """
    architecture, config = model.blueprint.architecture, model.config
    attention: Any = model.blueprint.blocks[layer].attention
    positions = torch.arange(length, device=model.device)
    bare = Rotation(None, torch.empty((length, 0)), torch.empty((length, 0)), 0)
    if architecture.alibi(config) or not architecture.rotated(config, layer):
        return bare
    turn = getattr(sys.modules[type(attention).__module__], "apply_rotary_pos_emb", None)
    tables: Any = getattr(model.blueprint.trunk, "rotary_emb", None)
    if architecture.attention_kind is AttentionKind.GPTJ:
        sin, cos = attention.embed_positions.to(model.device)[:length].float().chunk(2, -1)
        width = int(attention.rotary_dim or model.dimensions.d_head)
        return Rotation(_in_pairs, cos, sin, width)
    if turn is None and tables is None:
        return bare
    if turn is None or tables is None:
        raise ModelError(f"rotary positions of {architecture.family}: expected code of a kind that is known")
    cos, sin = _read_tables(tables, model, attention, layer, positions)

    def by_family(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        turned: Tensor = turn(x, x[:, :1], cos[None], sin[None])[0]
        return turned

    return Rotation(by_family, cos, sin, _find_width(by_family, cos, sin, model.dimensions.d_head))


def turn_between(
    model: LoadedModel, x: Float[Tensor, "heads n d_qk"], old: tuple[int, Sequence[int]], new: tuple[int, Sequence[int]]
) -> Float[Tensor, "heads n d_qk"]:
    """Queries or keys as they would be at other positions: `R_new R_oldᵀ x`, in their own dtype.

    old, new: (layer, positions). Those that stay where they are keep their bits.

    Raises:
        ModelError: the family has rotary positions of a kind that is not known.
    """
    length = max(*old[1], *new[1]) + 1
    before, after = (read_rotation(model, layer, length).at(torch.tensor(list(at))) for layer, at in (old, new))
    turned = after.apply(before.undo(x.float())).to(x.dtype)
    stays = torch.tensor([a == b for a, b in zip(old[1], new[1], strict=True)], device=x.device)
    return torch.where(stays[:, None], x, turned) if old[0] == new[0] else turned


def _in_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """GPT-J: neighbours are a pair, and each pair has one angle."""
    cos, sin = (t.repeat_interleave(2, -1) for t in (cos, sin))
    other = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * cos + other * sin


def _read_tables(
    tables: nn.Module, model: LoadedModel, attention: Any, layer: int, positions: Tensor
) -> tuple[Tensor, Tensor]:
    """cos and sin (n, r) as the model computes them, in its data type."""
    like = torch.empty((1, 1, 1), dtype=model.dtype, device=model.device)
    options: dict[str, Any] = {}
    if "layer_type" in inspect.signature(tables.forward).parameters:
        options["layer_type"] = getattr(attention, "layer_type", None) or model.config.layer_types[layer]
    for ids in (positions[None], positions.expand(3, 1, -1)):
        try:
            found: Any = tables(like, ids, **options)
        except (RuntimeError, IndexError, TypeError, ValueError, AttributeError):
            continue
        if isinstance(found, tuple) and len(found) == 2 and found[0].shape[-2] == len(positions):
            cos, sin = (x.reshape(-1, *x.shape[-2:])[0].float() for x in found)
            return cos.to(model.device), sin.to(model.device)
    family = model.blueprint.architecture.family
    raise ModelError(f"rotary positions of {family}: expected tables of cosines and sines, one for each position")


def _find_width(turn: Turn, cos: Tensor, sin: Tensor, d_head: int) -> int:
    """How many numbers the family's function takes: a whole head, or the part that it turns."""
    for width in dict.fromkeys((d_head, cos.shape[-1], 2 * cos.shape[-1])):
        try:
            if turn(cos.new_zeros((1, 1, len(cos), width)), cos, sin).shape[-1] == width:
                return width
        except RuntimeError:
            continue
    raise ModelError(f"rotary positions: expected a function that turns {d_head} or {cos.shape[-1]} numbers")
