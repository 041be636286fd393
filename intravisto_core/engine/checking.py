"""The self-check of an engine's model, before it opens or while it is used: no number comes before what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from intravisto_core.errors import ModelError, PendingError
from intravisto_core.experiments.self_check import SelfCheck
from intravisto_core.models import LoadedModel
from intravisto_core.models.files.settings import in_one_line
from intravisto_core.models.free_memory import forget
from intravisto_core.progress import Progress
from intravisto_core.records import ModelCard

SMALL = 50_000_000
TOLD = Progress(text="checking that what it shows is true")

T = TypeVar("T")
Work = Generator[Progress, None, T]


class Checking:
    """The card of a model as it becomes known (docs/methods.md §2).

    Before it opens, a model of under `SMALL` parameters is checked, and one whose parts were found by their structure
    is held to identities 1 to 3: that is where a check fails, if ever. All else is measured in the dispatcher's turns.
    learnt: told the card after every one of these.

    Raises:
        ModelError: it is refused.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._check = SelfCheck(model)
        self._refused: ModelError | None = None
        self.learnt: Callable[[ModelCard], None] = _nobody
        card = self.card
        while not self.ended and (card.n_parameters < SMALL or (card.inferred and not self._check.first_done)):
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
            yield TOLD
            self._advance()
        self.refuse()
        return self.card

    def finish_first(self) -> Work[None]:
        """Measure identities 1 to 3 where that is not done yet.

        Raises:
            ModelError: the model is refused.
        """
        while not (self._check.first_done or self.ended):
            yield TOLD
            self._advance()
        self.refuse()

    def _advance(self) -> None:
        """One turn, unless another job did the last one meanwhile."""
        if self.ended:
            return
        try:
            self._check.advance()
        except ModelError as error:
            self._refused = error
        except Exception as error:
            if self._check.first_done:
                raise
            forget(error)
            self._refused = ModelError(
                f"{self.card.name}: refused: its self-check ended in an error ({type(error).__name__}: "
                f"{in_one_line(error)}), so that nothing it shows can be vouched for. Open the model again"
            )
        self.learnt(self.card)

    def answer(self, work: Callable[[], Work[T]]) -> Work[T]:
        """Do a piece of work, after identities 1 to 3; where it rests on more, finish the check and do it anew."""
        yield from self.finish_first()
        try:
            return (yield from work())
        except PendingError:
            yield from self.finish()
            return (yield from work())


def _nobody(card: ModelCard) -> None:
    """Is told and does nothing."""
