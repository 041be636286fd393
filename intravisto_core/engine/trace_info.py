"""What a trace is, in words and numbers, without its activations."""

from __future__ import annotations

from dataclasses import dataclass

from intravisto_core.records import Token
from intravisto_core.request import TraceRequest


@dataclass(frozen=True, slots=True)
class TraceInfo:
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
