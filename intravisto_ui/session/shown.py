"""A run as the pages show it."""

from __future__ import annotations

from dataclasses import dataclass, field

from intravisto_core.engine import Engine, Trace
from intravisto_core.request import ModelSpec, QueryView, TraceRequest
from intravisto_ui.session.asked import Asked


@dataclass
class Shown:
    """The trace that the pages show, with what was asked for it and the model that it came from.

    asked, sought: the question that was asked of it, and what was looked for in it, when another run took its place.
    """

    trace: Trace
    engine: Engine
    spec: ModelSpec
    request: TraceRequest
    seconds: float = 0.0
    asked: Asked = field(default_factory=Asked)
    sought: QueryView | None = None

    @property
    def text_id(self) -> tuple[ModelSpec, tuple[int, ...]]:
        """The model and the tokens of the prompt: what is typed about places of a text belongs to it."""
        return self.spec, tuple(token.id for token in self.trace.tokens[: self.trace.prompt_length])


def read_same_text(before: Shown | None, after: Shown) -> bool:
    """Whether two runs have the same tokens."""
    return before is not None and before.trace.tokens == after.trace.tokens


def is_again(past: Shown, shown: Shown) -> bool:
    """Whether a run was of the same request to the same model."""
    return (past.spec, past.request) == (shown.spec, shown.request)
