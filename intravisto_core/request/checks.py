"""What requests check of themselves when they are built, and the kinds of values that several of them have."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request
from intravisto_core.request.fields import list_of, read_list, read_whole_number

LARGEST = 2**31


def set_fields(request: object, **values: object) -> None:
    """Set fields of a frozen request while it is being built."""
    for name, value in values.items():
        object.__setattr__(request, name, value)


def check(ok: bool, what: str, allowed: str, got: object) -> None:
    """Refuse what is not allowed.

    Raises:
        RequestError: what was expected, and what came.
    """
    if not ok:
        raise RequestError(expected(what, allowed, got))


def check_whole(value: int | None, name: str, least: int, most: int = LARGEST, allowed: str = "") -> None:
    """Refuse a whole number that is out of range; None is left alone.

    Raises:
        RequestError: it is below `least` or above `most`.
    """
    words = allowed or (f"a whole number from {least}" if most == LARGEST else f"{least} to {most}")
    check(value is None or least <= value <= most, name, words, value)


@frozen_request
class Span:
    """Rows or positions from `start` up to, not with, `stop`. Negatives count from the end."""

    start: int
    stop: int


def read_selection(value: Any, name: str) -> Span | tuple[int, ...] | None:
    """Rows or positions: a Span, a list, or None for all."""
    if value is None or isinstance(value, Span):
        return value
    return read_whole_numbers(value, name, "a Span, a list of whole numbers, or None for all")


def read_whole_numbers(value: Any, name: str, allowed: str) -> tuple[int, ...]:
    """A list of whole numbers (NumPy's too) as a tuple."""
    if hasattr(value, "__iter__") and not isinstance(value, str | bytes):
        try:
            return tuple(operator.index(v) for v in list_of(value))
        except RequestError:
            raise
        except Exception:  # an object's own error, of one without an index or a length
            pass
    raise RequestError(expected(name, allowed, value))


def read_trace_id(value: Any, name: str) -> str:
    """The id of a trace, or a trace, whose id is taken."""
    found = getattr(value, "id", value)
    check(isinstance(found, str), name, "a trace, or the id of one", value)
    return str(found)


def read_messages(value: Any, name: str) -> tuple[tuple[str, str], ...]:
    """What was said in a conversation, as (role, text) each."""
    allowed = 'pairs of role and text, as ("system", "Answer briefly.")'
    try:
        pairs = tuple((role, text) for role, text in read_list(value, name, "pairs"))
    except Exception:  # also an object's own
        raise RequestError(expected(name, allowed, value)) from None
    check(all(isinstance(part, str) for pair in pairs for part in pair), name, allowed, value)
    check(all(role for role, _ in pairs), name, "a role that is not empty", value)
    return pairs


def read_token(value: Any, name: str) -> str | int:
    """A token by its text or by its id."""
    if isinstance(value, str):
        check(value != "", name, "a text of at least one token", value)
        return value
    try:
        number = read_whole_number(value, name)
    except RequestError:
        raise RequestError(expected(name, "a text or a token id", value)) from None
    check(0 <= number < LARGEST, name, "a text or a token id", value)
    return number


def read_token_choice(value: Any, name: str) -> str | int | None:
    """The same, or None for the default."""
    return None if value is None else read_token(value, name)


def read_tokens(value: Any, name: str) -> tuple[str | int, ...]:
    """Tokens by their texts or ids; one alone counts as a list of one."""
    return tuple(read_token(v, "token") for v in list_of(value))


def read_texts(value: Any, name: str) -> tuple[str, ...]:
    """Texts, none of them empty; one alone counts as a list of one."""
    found = tuple(list_of(value))
    check(all(isinstance(v, str) and v for v in found), name, "texts, none of them empty", value)
    return found


def read_neuron(value: Any, name: str) -> int | tuple[int, int] | None:
    """The index of a neuron, (expert, neuron) of a mixture, or None for all."""
    if value is None:
        return None
    parts = list_of(value)
    allowed = "(expert, neuron)" if len(parts) == 2 else "a whole number from 0, or None"
    numbers = read_whole_numbers(parts, name, allowed)
    whole = not isinstance(value, bool) and len(numbers) in (1, 2) and all(0 <= n < LARGEST for n in numbers)
    check(whole, name, allowed, value)
    return (numbers[0], numbers[1]) if len(numbers) == 2 else numbers[0]


Turn = tuple[str, str]
Selection = Annotated[Span | tuple[int, ...] | None, read_selection]
TraceId = Annotated[str, read_trace_id]
TokenChoice = Annotated[str | int | None, read_token_choice]
Neuron = Annotated[int | tuple[int, int] | None, read_neuron]
