"""Which positions an intervention is about (docs/methods.md §8)."""

from __future__ import annotations

from typing import Annotated, Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import Span, check, check_whole, read_whole_numbers
from intravisto_core.request.fields import list_of

ALLOWED = '"prompt", "all", a whole number, a list of them, a Span or Generated(step)'


@frozen_request
class Generated:
    """The position that reads a generated token; step 0 is the first one after the prompt."""

    step: int

    def __post_init__(self) -> None:
        check_whole(self.step, "step", 0)


def read_positions(value: Any, name: str) -> str | tuple[int, ...] | Span | Generated:
    """Positions as a request keeps them; one number alone counts as a list of one.

    Raises:
        RequestError: it is nothing of the kind.
    """
    if isinstance(value, Span | Generated):
        return value
    if isinstance(value, str):
        check(value in ("prompt", "all"), name, ALLOWED, value)
        return value
    found = read_whole_numbers(list_of(value), name, ALLOWED)
    check(bool(found), name, "at least one position", value)
    return found


Positions = Annotated[str | tuple[int, ...] | Span | Generated, read_positions]


def resolve(spec: Positions, prompt_length: int, length: int, name: str = "positions") -> tuple[int, ...]:
    """The absolute positions that are meant, each once, in order.

    prompt_length: negatives count from there. length: how many positions the text has or can come to have.

    Raises:
        RequestError: one is out of range; the message names the range.
    """
    if spec == "all":
        return tuple(range(length))
    if spec == "prompt":
        return tuple(range(prompt_length))
    if isinstance(spec, Generated):
        last = length - prompt_length - 1
        allowed = f"Generated(0) to Generated({last})" if last >= 0 else "no generated step: nothing is generated"
        if spec.step > last:
            raise RequestError(expected(name, allowed, spec))
        return (prompt_length + spec.step,)
    if isinstance(spec, Span):
        start, stop = (i + prompt_length if i < 0 else i for i in (spec.start, spec.stop))
        if not 0 <= start < stop <= length:
            raise RequestError(
                expected(name, f"a span within 0 to {length}, negatives from the prompt's end at {prompt_length}", spec)
            )
        return tuple(range(start, stop))
    found: list[int] = []
    for i in (i for i in spec if isinstance(i, int)):
        if not -prompt_length <= i < length:
            raise RequestError(
                expected(name, f"{-prompt_length} to {length - 1}, negatives from the end of the prompt", i)
            )
        found.append(i + prompt_length if i < 0 else i)
    return tuple(dict.fromkeys(found))
