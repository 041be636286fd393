"""The self-check of an engine's model: what every number rests on before it opens, the rest while it is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TypeVar

from intravisto_core.errors import ModelError, PendingError
from intravisto_core.experiments.self_check import SelfCheck
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress
from intravisto_core.records import ModelCard

SHARE = 0.4
SMALL = 50_000_000

T = TypeVar("T")
Work = Generator[Progress, None, T]


class Checking:
    """The card of a model as it becomes known (docs/methods.md §2).

    loading: seconds that it took to load. Before it opens, a model is held to identities 1 to 3; the rest follows as
    long as the check has taken less than `SHARE` of `loading`, and all of it in a model of under `SMALL` parameters.
    learnt: told the card after every later turn. All turns after opening are the dispatcher's.

    Raises:
        ModelError: it is refused.
    """

    def __init__(self, model: LoadedModel, loading: float) -> None:
        self._check = SelfCheck(model)
        self._refused: ModelError | None = None
        self.learnt: Callable[[ModelCard], None] = _nobody
        began = time.perf_counter()
        small = self._check.card.n_parameters < SMALL
        self._check.advance()
        while not self.ended and (small or time.perf_counter() - began < SHARE * loading):
            self._check.advance()

    @property
    def ended(self) -> bool:
        """Whether nothing is left to measure."""
        return self._check.ended

    @property
    def card(self) -> ModelCard:
        """The card as far as it is known."""
        return self._check.card

    def refuse(self) -> None:
        """Raises:
        ModelError: the model failed an essential identity after it had opened.
        """
        if self._refused is not None:
            raise self._refused

    def close(self) -> None:
        """Measure no more, and let go of the model."""
        self.learnt = _nobody
        self._check.close()

    def finish(self) -> Work[ModelCard]:
        """Measure what is left; several jobs may drive this, as they take turns on one thread.

        Raises:
            ModelError: the model is refused.
        """
        while not self.ended:
            yield Progress(text="checking that what it shows is true")
            self._advance()
        self.refuse()
        return self.card

    def _advance(self) -> None:
        """One turn, unless another job did the last one meanwhile."""
        if self.ended:
            return
        try:
            self._check.advance()
        except ModelError as error:
            self._refused = error
        self.learnt(self.card)

    def answer(self, work: Callable[[], Work[T]]) -> Work[T]:
        """Do a piece of work; where it rests on what is not checked yet, finish the check and do it anew."""
        try:
            return (yield from work())
        except PendingError:
            yield from self.finish()
            return (yield from work())


def _nobody(card: ModelCard) -> None:
    """Is told and does nothing."""
