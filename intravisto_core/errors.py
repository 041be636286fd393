"""The errors of the program: each message says what was expected, what came and what to do."""

from __future__ import annotations

from collections.abc import Iterable


class IntravistoError(Exception):
    """Base of every error that this package raises on purpose."""


class RequestError(IntravistoError):
    """A request that cannot be carried out as it stands: a wrong option, an empty prompt, a position out of range."""


class ModelError(IntravistoError):
    """A model that cannot be opened, or that fails the identities of docs/methods.md §2."""


class HubError(ModelError):
    """What stands between here and a model on the Hub.

    kind: "not_found", "gated", "token", "offline", "unreachable", "rate_limited", "disk_full", "interrupted" or
    "damaged"; a token helps with the second and third.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class MemoryShortError(IntravistoError):
    """Something does not fit into the memory that is free; the message says what would."""


class TraceError(IntravistoError):
    """A run that could not give a trace, or a trace that lacks what a view asks for."""


class Cancelled(IntravistoError):
    """The job was cancelled before it had a result."""


class Superseded(Cancelled):
    """A newer view of the same page took this one's place."""


class BusyError(IntravistoError):
    """What is asked for would take something that others are using; the message says until when."""


class MissingProgramError(IntravistoError):
    """A program or package outside this one is needed and was not found."""


def expected(what: str, allowed: Iterable[object] | str, got: object, todo: str = "") -> str:
    """One message in the house form: `what: expected …; got …. …`."""
    listed = allowed if isinstance(allowed, str) else "one of " + ", ".join(str(a) for a in allowed)
    tail = f". {todo}" if todo else ""
    return f"{what}: expected {listed}; got {got!r}{tail}"
