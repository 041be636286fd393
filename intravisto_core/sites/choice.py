"""What a member of every closed set is: its text, with a label and a line of help."""

from __future__ import annotations

from enum import Enum
from typing import Self

from intravisto_core.errors import RequestError, expected


class Choice(str, Enum):
    """A string enum whose members carry the words that a page shows for them."""

    label: str
    help: str

    def __new__(cls, value: str, label: str = "", help: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.label = label or value
        member.help = help
        return member

    def __str__(self) -> str:
        return str(self.value)

    @classmethod
    def parse(cls, value: str, name: str = "") -> Self:
        """The member of that value.

        Raises:
            RequestError: no member has it; the message lists the right ones.
        """
        try:
            return cls(value)
        except Exception:  # also of an object that cannot be hashed
            raise RequestError(expected(name or cls.__name__.lower(), list(cls), value)) from None
