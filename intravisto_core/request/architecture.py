"""What can be asked of the modules that a trace ran through."""

from __future__ import annotations

from typing import Annotated, Any

from intravisto_core.records import Architecture, ModuleOutput
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import TraceId, check, check_whole, set_fields
from intravisto_core.request.fields import list_of
from intravisto_core.request.modules import ModulePath, split_path
from intravisto_core.sites import ModuleSide, ModuleStatistic

MOST_BLOCKS = 500


@frozen_request
class ModuleBlock:
    """Something that is measured at a module; of a list of modules at all of them.

    path: it may end with its side (`:input`). x, y, spread: of "matrix", which dimensions go to the right, down and
    side by side; the others are averaged.
    """

    path: ModulePath
    statistic: ModuleStatistic = ModuleStatistic.SUMMARY
    what: ModuleSide = ModuleSide.OUTPUT
    x: int | None = None
    y: int | None = None
    spread: int | None = None

    def __post_init__(self) -> None:
        _read_side(self)


def _read_side(block: Any) -> None:
    path, side = split_path(block.path)
    set_fields(block, path=path, what=block.what if side is ModuleSide.OUTPUT else side)
    for name in ("x", "y", "spread"):
        value = getattr(block, name)
        check(value is None or block.statistic is ModuleStatistic.MATRIX, name, "None, but for a matrix", value)
        check_whole(value, name, 0)


def _read_blocks(value: Any, name: str) -> tuple[ModuleBlock, ...]:
    blocks = tuple(list_of(value))
    right = len(blocks) <= MOST_BLOCKS and all(isinstance(block, ModuleBlock) for block in blocks)
    check(right, name, f"at most {MOST_BLOCKS} ModuleBlocks", f"{len(blocks)} things")
    return tuple(dict.fromkeys(blocks))


@frozen_request
class ArchitectureView(View[Architecture]):
    """Module tree, flow of tensors and one run over the text of the trace (docs/methods.md §12).

    blocks: what is measured in that run, at most 500. says: whether each layer's top tokens are read, by output lens.
    """

    trace: TraceId
    blocks: Annotated[tuple[ModuleBlock, ...], _read_blocks] = ()
    says: bool = True


@frozen_request
class ModuleOutputView(View[ModuleOutput]):
    """One thing that is measured at one module, over the text of the trace (docs/methods.md §12).

    Of an edited trace the module must be among those that its request kept (see `TraceRequest.modules`).
    path, x, y, spread: as in ModuleBlock.
    """

    trace: TraceId
    path: ModulePath
    what: ModuleSide = ModuleSide.OUTPUT
    statistic: ModuleStatistic = ModuleStatistic.SUMMARY
    x: int | None = None
    y: int | None = None
    spread: int | None = None

    def __post_init__(self) -> None:
        _read_side(self)
