"""Two trees beside each other."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import intravisto_core as iv
from tests.inspection.models import build


def test_equal_models_differ_nowhere() -> None:
    module, _, _ = build("llama")
    found = iv.compare_trees(module, copy.deepcopy(module))
    assert found.different == ()
    assert len(found.changes) == len(list(module.modules()))


def test_each_kind_of_difference_is_named() -> None:
    one = nn.ModuleDict({k: nn.Linear(4, 4) for k in ("same", "value", "shape", "dtype", "cls", "gone", "zero")})
    two = copy.deepcopy(one)
    del two["gone"]
    two["new"] = nn.ReLU()
    with torch.no_grad():
        two["value"].weight.mul_(1.5)
        one["zero"].bias.zero_()
    two["shape"] = nn.Linear(4, 3)
    two["dtype"].half()
    two["cls"] = nn.Bilinear(4, 4, 4)
    kinds = {change.path: change.kind for change in iv.compare_trees(one, iv.Inspector(two)).changes}
    assert kinds == {
        "": "equal",
        "same": "equal",
        "value": "values",
        "shape": "shape",
        "dtype": "dtype",
        "cls": "structure",
        "gone": "only in the first",
        "zero": "values",
        "new": "only in the second",
    }
    changes = {change.path: change for change in iv.compare_trees(one, two).changes}
    assert changes["value"].values == {"weight": pytest.approx(0.5), "bias": 0.0}
    assert math.isnan(changes["zero"].values["bias"])
    assert changes["dtype"].n_bytes == (80, 40)
    assert 0 < changes["dtype"].values["weight"] < 1e-3


def test_what_lora_adds_is_the_difference() -> None:
    peft = pytest.importorskip("peft")
    base, _, _ = build("llama")
    config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj"])
    tuned = peft.get_peft_model(copy.deepcopy(base), config)
    layer = tuned.base_model.model.model.layers[0].self_attn.q_proj
    with torch.no_grad():
        layer.lora_B["default"].weight.fill_(0.1)
    found = {change.path: change for change in iv.compare_trees(base, tuned).changes}
    change = found["model.layers.0.self_attn.q_proj"]
    delta = 3 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    weight = base.model.layers[0].self_attn.q_proj.weight
    assert change.values["weight"] == pytest.approx((delta.norm() / weight.norm()).item(), rel=1e-4)
    assert found["model.layers.1.self_attn.q_proj"].values["weight"] == 0
    assert found["model.layers.0.self_attn.k_proj"].kind == "equal"


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(iv.RequestError, match=r"b: expected a torch\.nn\.Module"):
        iv.compare_trees(nn.ReLU(), 3)
