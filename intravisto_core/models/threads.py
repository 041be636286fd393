"""How many processor threads a model is run with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from intravisto_core.models.loaded import LoadedModel

SMALL = 20_000_000
_ALL = torch.get_num_threads()


def threads_for(model: LoadedModel) -> int:
    """One for a small model: its products are shorter than the wait for a second thread on a busy machine.

    Measured with the demo model beside another program on two cores: 0.13 s instead of 6.8 s for the self-check.
    """
    return 1 if sum(p.numel() for p in model.network.parameters()) < SMALL else _ALL


@contextmanager
def using_threads(n: int) -> Iterator[None]:
    """Torch calls of the current thread use n threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
