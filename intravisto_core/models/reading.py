"""How far the weights are read from disk, and the chance to stop: transformers tells its progress bar every tensor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from intravisto_core.models.construction import constructed
from intravisto_core.models.files import checkpoint
from intravisto_core.progress import Report

_BAR = "Loading weights"
# transformers has one hook for all threads; each thread's own reader is looked up in here
_here = threading.local()
_installing = threading.Lock()
_earlier: Callable[..., Any] | None = None
_installed = False


class _Weights:
    """Where each tensor of some files lies, and what of them was read."""

    def __init__(self, files: list[Path], report: Report) -> None:
        self._files, self._report, self._done = files, report, 0
        self._place: dict[str, tuple[int, int]] = {}
        for number, file in enumerate(files):
            for tensor in checkpoint.headers([file]):
                self._place[tensor.name] = number, tensor.nbytes
        self._total = sum(nbytes for _, nbytes in self._place.values())

    def read(self, names: Iterable[str]) -> None:
        """Tensors of the files became a parameter of the model."""
        found = [self._place[name] for name in names if name in self._place]
        if not found:
            return
        self._done += sum(nbytes for _, nbytes in found)
        number = max(number for number, _ in found)
        which = f", file {number + 1} of {len(self._files)}" if len(self._files) > 1 else ""
        self._report(self._done, self._total, f"reading {self._files[number].name}{which}")


@contextmanager
def telling(report: Report, files: list[Path]) -> Iterator[None]:
    """Within this context, what transformers reads of these files in this thread is told in bytes; what `report` raises
    ends the reading."""
    _install()
    _here.weights = _Weights(files, report)
    try:
        yield
    finally:
        del _here.weights


def _install() -> None:
    global _earlier, _installed
    with _installing:
        if not _installed:
            _earlier = transformers_logging.set_tqdm_hook(_bar)
            _installed = True


def _bar(factory: Callable[..., Any], given: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What transformers iterates over instead of a progress bar of its own."""
    weights: _Weights | None = getattr(_here, "weights", None)
    if weights is not None and options.get("desc") == _BAR:
        return _told(given[0], weights)
    return factory(*given, **options) if _earlier is None else _earlier(factory, given, options)


def _told(parameters: Iterable[tuple[str, Any]], weights: _Weights) -> Iterator[tuple[str, Any]]:
    """Parameters with what makes them of the tensors in the files; one is read when the next is asked for."""
    constructed()
    for name, mapping in parameters:
        yield name, mapping
        targets: dict[str, set[str]] = getattr(mapping, "layer_targets", {})
        weights.read(source for sources in targets.values() for source in sources)
