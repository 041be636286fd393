"""What the user asks of a prediction: which token, rather than which other. One question for all pages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Against(StrEnum):
    """What a target is compared with where no token is named."""

    RUNNER_UP = "runner-up"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Asked:
    """The user's part of the question; what is left open follows the text (`question.find_question`).

    target, contrast: a typed text, whose first token is meant, or a token id; "" leaves it open. against: what an open
    contrast is. position: the position that the user asked about when they clicked a generated token or typed; None is
    the last one of the prompt. n: grows when something else than the fields changed them, so that they are drawn anew.
    """

    target: str | int = ""
    contrast: str | int = ""
    against: Against = Against.RUNNER_UP
    position: int | None = None
    n: int = 0
