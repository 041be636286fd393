"""Whether a block is serial or parallel, seen by what its MLP does when attention is silenced.

The stream's sum is the same either way, so no identity of sums can tell a wrong declaration.
"""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from intravisto_core.experiments.identities import compute_relative_error
from intravisto_core.inspection.hooks import Handles, on_output
from intravisto_core.models import LoadedModel

STILL = 1e-6


class _Seen(Exception):
    """Ends a forward pass as soon as it has passed what was wanted of it."""


def explain_misdeclared(model: LoadedModel, ids: tuple[int, ...]) -> str:
    """Why the declared kind of block is wrong, or "": silencing attention moves a serial block's MLP, no other."""
    plain, silenced = (_first_mlp_out(model, ids, silence) for silence in (False, True))
    moved = float(compute_relative_error(silenced, plain)[1:].max())
    if model.blueprint.parallel and moved > STILL:
        return f"declared parallel, but its MLP reads what attention wrote (it moves by {moved:.1e} without it)"
    if not model.blueprint.parallel and moved <= STILL:
        return "declared serial, but its MLP does not read what attention wrote"
    return ""


def _first_mlp_out(model: LoadedModel, ids: tuple[int, ...], silence: bool) -> Tensor:
    """`mlp_out[0]` of a run, with `attn_out[0]` as it is or set to 0; (T, d)."""
    kept: list[Tensor] = []
    block = model.blueprint.blocks[0]

    def keep(x: Tensor) -> None:
        kept.append(x.detach().reshape(-1, x.shape[-1]).clone())
        raise _Seen

    with Handles([on_output(block.mlp_out, keep)]) as handles, suppress(_Seen):
        if silence:
            handles.extend([on_output(block.attn_out, torch.zeros_like)])
        model.network(input_ids=torch.tensor([ids], device=model.device), use_cache=False)
    return kept[0]
