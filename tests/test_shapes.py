"""The check of shapes that stands behind all tests can fail, and no shape escapes it by a type that is not imported."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import is_dataclass

import numpy as np
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float

import intravisto_core
from intravisto_core.architectures import NormKind
from intravisto_core.models.norms import NormFormula
from intravisto_core.records import Pattern
from tests.shapes import check, find_shapes


def test_a_record_of_a_wrong_shape_is_refused():
    square = np.eye(3, dtype=np.float32)
    Pattern(trace="t", layer=0, head=0, values=square)
    for values in (square[:2], square[0], square.astype(int)):
        with pytest.raises(BeartypeCallHintViolation):
            Pattern(trace="t", layer=0, head=0, values=values)


def test_arguments_and_results_are_held_to_each_other():
    norm = NormFormula(NormKind.RMS, torch.ones(4), None, 1e-5)
    x = torch.ones(2, 4)
    assert norm.linear(x, norm.sigma(x)).shape == (2, 4)
    with pytest.raises(BeartypeCallHintViolation):
        norm.linear(x, torch.ones(3, 1))
    summed = check(sum_over)
    assert summed(x, 0).shape == (4,)
    with pytest.raises(BeartypeCallHintViolation):
        summed(x, 1)


def sum_over(x: Float[torch.Tensor, "pos d_model"], dim: int) -> Float[torch.Tensor, " d_model"]:
    return x.sum(dim)


def test_every_shape_of_the_core_can_be_read():
    """A type under TYPE_CHECKING alone would leave its annotation unchecked."""
    found = 0
    for module in pkgutil.walk_packages(intravisto_core.__path__, "intravisto_core."):
        if module.name.endswith("__main__"):
            continue
        for thing in vars(importlib.import_module(module.name)).values():
            if getattr(thing, "__module__", None) != module.name:
                continue
            owner = thing if isinstance(thing, type) else None
            for each in vars(thing).values() if owner else [thing]:
                each = inspect.unwrap(getattr(each, "fget", None) or getattr(each, "__func__", each))
                if inspect.isfunction(each):
                    made = is_dataclass(owner) and each.__name__ == "__init__"
                    found += len(find_shapes(each, owner if made else None))
    assert found > 400
