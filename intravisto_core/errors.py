"""The errors of the program: each message says what was expected, what came and what to do."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST_VALUE = 400


class IntravistoError(Exception):
    """Base of every error that this package raises on purpose."""


class RequestError(IntravistoError):
    """A request that cannot be carried out as it stands: a wrong option, an empty prompt, a position out of range."""


class ModelError(IntravistoError):
    """A model that cannot be opened, or that fails the identities of docs/methods.md §2."""


class PendingError(ModelError):
    """What is asked for rests on an identity that is still being checked; the engine waits for it and asks again."""


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


class LostTraceError(TraceError):
    """A trace that the engine does not have: never made there, forgotten, or lost with the machine that held it."""


class NotSavedError(TraceError):
    """A saved run does not hold what is asked for; its model could answer it."""


class Cancelled(IntravistoError):
    """The job was cancelled before it had a result."""


class Superseded(Cancelled):
    """A newer view of the same page took this one's place."""


class BusyError(IntravistoError):
    """What is asked for would take something that others are using; the message says until when.

    after: seconds to wait before it is asked again, or None where that is not known.
    """

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class TooLargeError(RequestError):
    """What is asked for, or sent, is larger than the service hands over; the message names the slice to ask for."""


class ServiceError(IntravistoError):
    """A service that cannot be reached, refuses the token, or answers with something else than what was asked for."""


class MissingProgramError(IntravistoError):
    """A program or package outside this one is needed and was not found."""


def expected(what: str, allowed: Iterable[object] | str, got: object, todo: str = "") -> str:
    """One message in the house form: `what: expected …; got …. …`."""
    listed = allowed if isinstance(allowed, str) else "one of " + ", ".join(str(a) for a in allowed)
    tail = f". {todo}" if todo else ""
    return f"{what}: expected {listed}; got {show_value(got)}{tail}"


def show_value(value: object) -> str:
    """A value as Python writes it, cut where it is long; of one that cannot be written, its type."""
    try:
        text = repr(value)
    except Exception:  # a class's own repr, or a number of too many digits
        return f"{type(value).__name__} (it cannot be shown)"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}… ({len(text):,} characters)"


def describe_error(error: BaseException) -> str:
    """`ValueError: its message`, of errors whose message cannot be made too."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return f"{type(error).__name__} (its message cannot be shown)"
