"""Another default dtype of torch, which any program may set, changes no number of any view."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.experiments import tiny

PROMPT = tuple(range(5, 17))
VIEWS = {
    "heatmap": lambda t: t.heatmap(),
    "heatmap of every lens": lambda t: [t.heatmap(lens=lens) for lens in ("input", "linear", "quadratic", "max")],
    "updates": lambda t: [
        t.heatmap(component="attention"),
        t.heatmap(component="mlp"),
        t.heatmap(reading="difference"),
    ],
    "iterative": lambda t: t.heatmap(reading="iterative"),
    "cell": lambda t: [
        t.written("attention", 1, 3),
        t.cell_shares(1, 3),
        t.next_tokens(temperature=0.7),
        t.query("w7"),
    ],
    "shares": lambda t: [t.shares(m) for m in ("norm", "kl", "kl_pair", "projection", "l1")],
    "flow": lambda t: t.flow(),
    "flow by kl": lambda t: t.flow(measure="kl"),
    "attribution": lambda t: t.attribution(),
    "route": lambda t: t.route(),
    "graph": lambda t: t.graph(),
    "logits": lambda t: t.logits(),
    "edit": lambda t: t.edit(iv.Scale("attn_out", 0, [-2], factor=2.0)).heatmap(),
    "replaced": lambda t: t.edit(iv.Replace("resid_post", 0, [-2], token="w7")).heatmap(),
}


def numbers(thing: Any) -> list[np.ndarray]:
    """All arrays that a record holds."""
    if isinstance(thing, np.ndarray):
        return [thing]
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return [a for field in dataclasses.fields(thing) for a in numbers(getattr(thing, field.name))]
    if isinstance(thing, list | tuple):
        return [a for each in thing for a in numbers(each)]
    return []


@pytest.mark.parametrize("family", ["Llama", "GPT-2", "Mixtral", "Gemma-2"])
def test_views_under_a_default_of_float64(tmp_path, family):
    folder = tiny.write(tiny.CONFIGS[family](), tmp_path / "model")

    def look() -> dict[str, list[np.ndarray]]:
        engine = iv.open_model(folder)
        trace = engine.trace(PROMPT, max_new_tokens=3)
        found = {}
        for name, view in VIEWS.items():
            found[name] = numbers(view(trace))
        engine.close()
        return found

    plain = look()
    torch.set_default_dtype(torch.float64)
    try:
        other = look()
    finally:
        torch.set_default_dtype(torch.float32)
    for name, arrays in plain.items():
        assert len(arrays) == len(other[name]), name
        for one, two in zip(arrays, other[name], strict=True):
            assert one.dtype == two.dtype, name
            if one.dtype.kind in "US":
                assert (one == two).all(), name
            else:
                np.testing.assert_allclose(two, one, atol=1e-6, err_msg=name)
