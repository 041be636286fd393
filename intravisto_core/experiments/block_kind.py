"""Whether a block is serial or parallel, seen by what its MLP does when attention is silenced.

The stream's sum is the same either way, so no identity of sums can tell a wrong declaration.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from intravisto_core.experiments.identities import relative_error
from intravisto_core.models import LoadedModel

STILL = 1e-6


class _Seen(Exception):
    """Ends a forward pass as soon as it has passed what was wanted of it."""


def misdeclared(model: LoadedModel, ids: tuple[int, ...]) -> str:
    """Why the declared kind of block is wrong, or "": silencing attention moves a serial block's MLP, no other."""
    plain, silenced = (_first_mlp_out(model, ids, silence) for silence in (False, True))
    moved = float(relative_error(silenced, plain)[1:].max())
    if model.blueprint.parallel and moved > STILL:
        return f"declared parallel, but its MLP reads what attention wrote (it moves by {moved:.1e} without it)"
    if not model.blueprint.parallel and moved <= STILL:
        return "declared serial, but its MLP does not read what attention wrote"
    return ""


def _first_mlp_out(model: LoadedModel, ids: tuple[int, ...], silence: bool) -> Tensor:
    """`mlp_out[0]` of a run, with `attn_out[0]` as it is or set to 0; (T, d)."""
    kept: list[Tensor] = []
    block = model.blueprint.blocks[0]

    def zero(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            return (torch.zeros_like(output[0]), *output[1:])
        return torch.zeros_like(output)

    def keep(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        x = output[0] if isinstance(output, tuple) else output
        kept.append(x.detach().reshape(-1, x.shape[-1]).clone())
        raise _Seen

    handles = [block.mlp_out.register_forward_hook(keep)]
    if silence:
        handles.append(block.attn_out.register_forward_hook(zero))
    try:
        with suppress(_Seen):
            model.network(input_ids=torch.tensor([ids], device=model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return kept[0]
