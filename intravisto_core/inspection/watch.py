"""What is measured at a module in every call of a run that goes on, for whoever looks meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from intravisto_core.errors import RequestError
from intravisto_core.inspection.statistics import Block, Vocabulary, join, measure
from intravisto_core.records import ModuleOutput


class Watch:
    """What one block gives, call by call. The run writes it, other threads may read it.

    A generated token is a call of its own: numbers by position are those of the text so far, everything else is of the
    newest call alone, so that a step costs the same at any length.
    """

    def __init__(self, model: str, vocabulary: Vocabulary | None = None) -> None:
        self._model, self._vocabulary = model, vocabulary
        self._found: dict[str, ModuleOutput] = {}
        self._counts: dict[str, int] = {}
        self.refused = ""

    @property
    def outputs(self) -> tuple[ModuleOutput, ...]:
        """What was measured by now, one record a module that ran."""
        return tuple(self._found.copy().values())

    @property
    def calls(self) -> int:
        """How many calls were measured: the prompt, most often one, and each generated token."""
        return max(self._counts.copy().values(), default=0)

    def look(self, block: Block) -> Callable[..., None]:
        """A function to be called around the module of a block, with the module, its input and its output."""

        def see(module: nn.Module, *given: Any) -> None:
            # a statistic that does not fit must not end the run that it looks at
            try:
                found = measure(block, given[-1], self._model, vocabulary=self._vocabulary)
            except RequestError as error:
                self.refused = str(error)
                return
            if found is not None:
                before = self._found.get(block.path)
                self._found[block.path] = found if before is None else join(before, found)
                self._counts[block.path] = self._counts.get(block.path, 0) + 1

        return see
