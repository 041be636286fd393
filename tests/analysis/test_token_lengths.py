"""The order of an update's tokens by angle, against the definition read literally (docs/methods.md §3)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.request import UpdateView


def direction_table(model, table: str) -> torch.Tensor:
    """u_t of every token."""
    rows = model.weights.get(table).float()
    return model.norm.centre(model.norm.scale * (rows - rows.mean(0)))


def cosines(model, update: torch.Tensor, mix: float) -> np.ndarray:
    u = (1 - mix) * direction_table(model, "embed") + mix * direction_table(model, "unembed")
    return (torch.nn.functional.normalize(u, dim=-1) @ torch.nn.functional.normalize(update, dim=-1)).numpy()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("lens", ["output", "input", "linear"])
def test_tokens_of_an_update_are_listed_by_angle(tiny_folder, family, lens):
    engine = iv.open_model(str(tiny_folder(family)), device_map="cpu")
    model = engine.kept_traces.model
    trace = engine.trace("ab c!ab d")
    n_layers = engine.model.n_layers
    grid = trace.heatmap("mlp", lens, order="angle", top_k=5)
    plain = trace.heatmap("mlp", lens, top_k=32, watch=[int(i) for i in np.unique(grid.token_ids[grid.token_ids >= 0])])
    changes = {w.token_id: w.logit for w in plain.watch}
    for row in range(1, n_layers + 1):
        mix = {"output": 1.0, "input": 0.0, "linear": row / (n_layers + 1)}[lens]
        out = torch.tensor(trace.activation("mlp_out", row - 1))
        for p in range(len(trace.tokens)):
            angle = cosines(model, model.norm.centre(out[p]), mix)
            listed = angle[grid.token_ids[row, p]]
            np.testing.assert_allclose(listed, np.sort(angle)[::-1][:5], atol=1e-5)
            lowered = angle[grid.suppressed_ids[row, p]]
            np.testing.assert_allclose(lowered, np.sort(angle)[:5], atol=1e-5)
            own = [changes[int(i)][row, p] for i in grid.token_ids[row, p]]
            np.testing.assert_allclose(grid.logits[row, p], own, rtol=1e-4, atol=1e-5)
    found = trace.view(UpdateView(trace.id, "mlp", 1, 3, n=5, order="angle"))
    if lens == "output":
        np.testing.assert_array_equal(found.promoted_ids, grid.token_ids[1, 3])
        np.testing.assert_allclose(found.promoted, grid.logits[1, 3], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found.suppressed_ids, grid.suppressed_ids[1, 3])
    engine.close()


def test_the_order_of_states_is_the_same():
    engine = iv.open_model("demo")
    trace = engine.trace("Q: What is the capital of Italy? A:")
    one, other = trace.heatmap(order="angle"), trace.heatmap()
    np.testing.assert_array_equal(one.token_ids, other.token_ids)
    engine.close()
