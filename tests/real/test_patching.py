"""Which heads carry the name in the real model: the grid of heads against a loop of plain runs that is written here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPT = "When Mary and John went to the store, Mary gave a drink to"


@torch.no_grad()
def patch_by_hand(network, clean, corrupt, target: int, contrast: int, positions: list[int]) -> np.ndarray:
    """The corrupt run's logit difference with one head's values of the clean run, (layer, head); a batch a layer."""
    layers = network.model.layers
    n_heads = network.config.num_attention_heads
    read: list[torch.Tensor] = []
    hooks = [
        layer.self_attn.o_proj.register_forward_pre_hook(lambda _, x: read.append(x[0][0].clone())) for layer in layers
    ]
    network(clean[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    found = np.zeros((len(layers), n_heads))
    for number, layer in enumerate(layers):

        def put_in(_, inputs, values=read[number]):
            rows = inputs[0].clone().unflatten(-1, (n_heads, -1))
            mine = values.unflatten(-1, (n_heads, -1))
            for head in range(n_heads):
                rows[head, positions, head] = mine[positions, head]
            return (rows.flatten(-2),)

        hook = layer.self_attn.o_proj.register_forward_pre_hook(put_in)
        logits = network(corrupt[None].expand(n_heads, -1), use_cache=False).logits[:, -1]
        hook.remove()
        found[number] = (logits[:, target] - logits[:, contrast]).numpy()
    return found


def test_the_heads_of_the_grid_are_those_of_a_loop(real_engine):
    grid = real_engine.patching(CLEAN, CORRUPT, target=" Mary", contrast=" John", what="z")
    real_engine.finish_check()
    network = real_engine.kept_traces.model.network
    clean, corrupt = (torch.tensor([t.id for t in tokens]) for tokens in (grid.clean_tokens, grid.corrupt_tokens))
    target, contrast = int(grid.targets[0]), int(grid.contrasts[0])
    positions = [int(p) for p in np.asarray(grid.positions)]
    assert positions == list(range(int((clean != corrupt).nonzero()[0]), len(clean)))
    by_hand = patch_by_hand(network, clean, corrupt, target, contrast, positions)
    effects = by_hand - grid.corrupt
    assert grid.effect == pytest.approx(effects, abs=5e-4)

    def largest(values: np.ndarray) -> list[tuple[int, int]]:
        order = np.argsort(-np.abs(values).ravel())[:3]
        return [(int(i) // values.shape[1], int(i) % values.shape[1]) for i in order]

    assert largest(grid.effect) == largest(effects)
    assert largest(effects)[0] == (23, 3)
    assert largest(grid.estimate)[0] == (23, 3), "the backward pass finds the first too"
    assert grid.correlation > 0.9
