"""Prompts of a request about several texts, and the tokens that are followed in each of them."""

from __future__ import annotations

from typing import Annotated, Any

from intravisto_core.request.checks import TokenChoice, check, read_token_choice, read_whole_numbers
from intravisto_core.request.fields import list_of

Prompt = str | tuple[int, ...]


def read_prompt(value: Any, name: str) -> Prompt:
    """A text, or token ids taken as they are; not empty."""
    prompt = value if isinstance(value, str) else read_whole_numbers(value, name, "a text, or token ids")
    check(bool(prompt), name, "at least one token", "an empty text")
    return prompt


def is_one_token(value: Any) -> bool:
    """Whether it names one token, or the default, and no list of them."""
    return value is None or isinstance(value, str) or not hasattr(value, "__iter__")


def read_followed(value: Any, name: str) -> tuple[str | int | None, ...]:
    """One token for all prompts, or a list with one for each."""
    found = tuple(read_token_choice(v, name) for v in ((value,) if is_one_token(value) else list_of(value)))
    check(bool(found), name, "a token, or one for each prompt", value)
    return found


Followed = Annotated[tuple[str | int | None, ...], read_followed]


def pick_token(tokens: str | int | tuple[str | int | None, ...] | None, number: int) -> TokenChoice:
    """The token of one prompt, of those that have one each, or the one of all."""
    return tokens[number] if isinstance(tokens, tuple) else tokens
