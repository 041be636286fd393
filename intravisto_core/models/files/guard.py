"""Whatever a model's files hold: what fails while they are opened is an error of ours, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from intravisto_core.errors import IntravistoError, ModelError
from intravisto_core.models.files.settings import in_one_line
from intravisto_core.models.free_memory import is_short
from intravisto_core.progress import Report


class GuardedReport:
    """A `Report` that remembers what its caller raised to end the opening: that is no fault of the files."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.raised: BaseException | None = None

    def __call__(self, done: int, total: int, text: str) -> None:
        """Tell how far it is."""
        try:
            self._report(done, total, text)
        except BaseException as error:
            self.raised = error
            raise


def is_of_a_library(error: BaseException) -> bool:
    """Whether it is an error, also one of a library in Rust, whose unexpected ones are no `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


@contextmanager
def refusing_damage(name: str, report: GuardedReport | None = None) -> Iterator[None]:
    """Within this context any error that the files of a model cause is a refusal.

    Raises:
        ModelError: with the error that came.
    """
    try:
        yield
    except BaseException as error:
        ended = report is not None and error is report.raised
        if ended or isinstance(error, IntravistoError) or is_short(error) or not is_of_a_library(error):
            raise
        raise ModelError(
            f"{name}: expected config.json, tokenizer and weights that belong together; opening them failed "
            f"({type(error).__name__}: {in_one_line(error)}). Download the model again, or choose another one"
        ) from error
