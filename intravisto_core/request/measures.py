"""What can be asked about the measures themselves (docs/methods.md §9)."""

from __future__ import annotations

from typing import Annotated, Any

from intravisto_core.records import MeasureTest
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import check, check_whole, read_texts

MOST_PROMPTS = 1000
MOST_DRAWS = 64


def _read_prompts(value: Any, name: str) -> tuple[str, ...]:
    found = read_texts(value, name)
    check(0 < len(found) <= MOST_PROMPTS, name, f"1 to {MOST_PROMPTS} texts", f"{len(found)} texts")
    return found


@frozen_request
class MeasureTestRequest(View[MeasureTest]):
    """Which picture foretells what edits do: every predictor held against edits, over prompts.

    prompts: texts of at least four tokens each. kl: also flows by KL shares, which take long. integrated: also
    integrated gradients. draws, seed: of the tokens that are put in each place, 1 to 64.
    """

    prompts: Annotated[tuple[str, ...], _read_prompts]
    kl: bool = False
    integrated: bool = False
    draws: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole(self.draws, "draws", 1, MOST_DRAWS)
        check_whole(self.seed, "seed", 0)
