"""What is measured at modules in every run, as the workspace's options keep it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intravisto_core.request import ModuleBlock
from intravisto_core.sites import ModuleSide, ModuleStatistic

KEY = "architecture_blocks"
AXES = ("x", "y", "spread")
Kept = dict[str, Any]


def read_kept(options: Mapping[str, Any]) -> list[Kept]:
    """One for each thing that was attached: label, paths, statistic, side, dimensions of a picture."""
    found: list[Kept] = options.get(KEY, [])
    return found


def read_blocks(options: Mapping[str, Any]) -> tuple[ModuleBlock, ...]:
    """All that is measured, one block a module."""
    return tuple(
        ModuleBlock(
            path,
            ModuleStatistic.parse(kept["statistic"]),
            ModuleSide.parse(kept.get("what", "output")),
            *(kept.get(axis) for axis in AXES),
        )
        for kept in read_kept(options)
        for path in kept["paths"]
    )
