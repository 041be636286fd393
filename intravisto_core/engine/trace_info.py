"""What a trace is, in words and numbers, without its activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from intravisto_core.records import Token
from intravisto_core.records.base import Summarised
from intravisto_core.request import TraceRequest

if TYPE_CHECKING:
    from intravisto_core.traces import TraceEntry


@dataclass(frozen=True, slots=True, repr=False)
class TraceInfo(Summarised):
    """The description of one run; it holds no tensor and can be sent or written."""

    id: str
    """A random handle; views name the trace by it."""
    fingerprint: str
    """A hash of request, weights, dtype and attention path: equal runs have equal ones."""
    request: TraceRequest
    """What was asked."""
    tokens: tuple[Token, ...]
    """All tokens of the text, prompt first; every one has been run."""
    prompt_length: int
    """Tokens of the prompt, BOS included."""
    text: str
    """The whole text, special tokens left out."""
    cancelled: bool
    """Whether the run was stopped before its end."""
    baseline: str
    """Of an edited run the id of the unedited one that it is held against, else empty."""
    notes: tuple[str, ...]
    """Sentences that the reader must know."""
    only_once: str = ""
    """Why the run cannot be made again: a function of the user's own changed it. Else empty."""

    def _summary(self) -> tuple[str, ...]:
        sizes = f"{len(self.tokens)} tokens, {self.prompt_length} of the prompt"
        return (self.id, sizes, "edited" if self.baseline else "", "cancelled" if self.cancelled else "")


def describe_entry(entry: TraceEntry) -> TraceInfo:
    """What is known now of a trace that an engine remembers."""
    return TraceInfo(
        id=entry.id,
        fingerprint=entry.fingerprint,
        request=entry.request,
        tokens=entry.tokens,
        prompt_length=entry.prompt_length,
        text=entry.text,
        cancelled=entry.cancelled,
        baseline=entry.baseline,
        notes=tuple(entry.notes),
        only_once=entry.only_once,
    )
