"""What a model and a run will take, from its config and the headers of its weights (docs/loading.md)."""

from __future__ import annotations

from pathlib import Path

from intravisto_core.models import checkpoint
from intravisto_core.records.memory import MemoryEstimate
from intravisto_core.request import ModelSpec


def require_room(spec: ModelSpec, folder: Path) -> MemoryEstimate:
    """The estimate of loading a model, where it fits."""
    weights = sum(h.numel * 4 for h in checkpoint.headers(checkpoint.weight_files(folder)))
    return MemoryEstimate(weights, 0, 0, 0, 0, "cpu", {})
