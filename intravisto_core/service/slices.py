"""What to ask for instead, where an answer is too large to be handed over."""

from __future__ import annotations

from typing import Any

from intravisto_core.errors import TooLargeError

# options that make an answer smaller, by the name that requests have for them; the first that a request has is named
BY_LENGTH = ("positions", "queries", "keys")
BY_CHOICE = {
    "rows": "rows=iv.Span(0, 4)",
    "head": "head=0",
    "layer": "layer=0",
    "step": "step=0",
    "top_k": "top_k=1",
    "k": "k=10",
    "n": "n=10",
}


def refuse_large(request: Any, nbytes: int, most: int, length: int | None) -> TooLargeError:
    """The refusal, which names a slice that fits. length: T of the trace, where there is one."""
    parts = []
    for name in BY_LENGTH:
        if length and hasattr(request, name):
            parts.append(f"{name}=iv.Span(0, {max(1, length * most // (2 * nbytes))})")
            break
    parts += [words for name, words in BY_CHOICE.items() if getattr(request, name, 0) is None][:1]
    if not parts:
        parts = [words for name, words in BY_CHOICE.items() if hasattr(request, name)][:1]
    todo = f"Ask for a slice of {type(request).__name__}: {' or '.join(parts)}" if parts else "Ask for less at once"
    return TooLargeError(
        f"answer: expected at most {most / 1e6:.1f} MB from this service; it would be {nbytes / 1e6:.1f} MB. {todo}, "
        "and for the rest in further requests"
    )
