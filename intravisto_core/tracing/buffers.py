"""Where the activations of a run are kept: on the model's device, in host memory, or in a mapped file."""

from __future__ import annotations

import math
import os
import tempfile

import torch
from torch import Tensor

from intravisto_core.models.free_memory import free_bytes
from intravisto_core.models.run_memory import trace_goes_to_file

PART = 0.5


class BufferAllocator:
    """Room for the buffers of one run of `nbytes` in all.

    in_file: whether they lie in files that are mapped into memory; these have no name any more, and are gone with the
    last tensor that reads them.
    """

    def __init__(self, nbytes: int, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda" and nbytes > PART * free_bytes(device):
            self.device = torch.device("cpu")
        self.in_file = self.device.type == "cpu" and trace_goes_to_file(nbytes)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A buffer with anything in it."""
        if not self.in_file or not math.prod(shape):
            return torch.empty(shape, dtype=dtype, device=self.device)
        handle, path = tempfile.mkstemp(prefix="intravisto-trace-")
        try:
            os.ftruncate(handle, math.prod(shape) * dtype.itemsize)
            return torch.from_file(path, shared=True, size=math.prod(shape), dtype=dtype).view(shape)
        finally:
            os.close(handle)
            os.unlink(path)
