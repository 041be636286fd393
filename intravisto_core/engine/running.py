"""A run of the model as a job's turns."""

from __future__ import annotations

from collections.abc import Generator

from intravisto_core.engine.base import Progress
from intravisto_core.tracing import TraceData


def reporting(turns: Generator[int, None, TraceData], total: int, text: str) -> Generator[Progress, None, TraceData]:
    """A run's positions as progress; what is thrown in here reaches the run."""
    thrown: BaseException | None = None
    while True:
        try:
            done = next(turns) if thrown is None else turns.throw(thrown)
        except StopIteration as end:
            data: TraceData = end.value
            return data
        try:
            thrown = None
            yield Progress(done, total, text)
        except Exception as error:
            thrown = error
