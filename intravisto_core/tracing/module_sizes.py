"""How much a module gives for a text of some length, measured by two short runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import DynamicCache

from intravisto_core.inspection.hooks import Handles
from intravisto_core.models import LoadedModel
from intravisto_core.tracing.module_values import find_modules, listen, map_tensors, tensors_of

SHORT, LONG = 2, 3


class ModuleSizes:
    """Bytes that the modules of one model give, by path and side; each is measured once."""

    def __init__(self) -> None:
        self._known: dict[str, Callable[[int], int]] = {}

    def measure(self, model: LoadedModel, paths: Sequence[str]) -> Callable[[int], int]:
        """Bytes that these modules give together for a text of a length; at most where it is run in several calls.

        Raises:
            RequestError: the model has no such module.
        """
        asked = list(find_modules(model, paths))
        missing = [path for path in asked if path not in self._known]
        if missing:
            short, long = (_shapes(model, missing, n) for n in (SHORT, LONG))
            for path in missing:
                self._known[path] = _growth(short.get(path, []), long.get(path, []))
        sizes = [self._known[path] for path in asked]
        return lambda length: sum(size(length) for size in sizes)


Shape = tuple[int, tuple[int, ...]]


@torch.no_grad()
def _shapes(model: LoadedModel, paths: Sequence[str], n: int) -> dict[str, list[Shape]]:
    """Bytes a number and shape of every tensor that modules give in a run of n tokens."""
    found: dict[str, list[Shape]] = {}

    def note(path: str, value: object) -> None:
        kept: list[Tensor] = list(tensors_of(map_tensors(value, lambda x: x)))
        found[path] = [(x.element_size(), tuple(x.shape)) for x in kept]

    with Handles() as handles:
        handles.extend(
            listen(module, side, partial(note, path)) for path, (module, side) in find_modules(model, paths).items()
        )
        ids = torch.zeros((1, n), dtype=torch.long, device=model.device)
        model.network(input_ids=ids, **model.cached(DynamicCache(config=model.network.config)))
    return found


def _growth(short: list[Shape], long: list[Shape]) -> Callable[[int], int]:
    """Bytes as a function of the length: every axis stays as it is, or grows with the text."""

    def size(length: int) -> int:
        total = 0
        for (itemsize, few), (_, more) in zip(short, long, strict=False):
            axes = (a + (b - a) * (length - SHORT) for a, b in zip(few, more, strict=False))
            total += itemsize * math.prod(max(0, axis) for axis in axes)
        return total

    return size
