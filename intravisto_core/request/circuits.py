"""What can be asked about a circuit: heads and MLPs that do a task without the rest (docs/methods.md §9)."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.records import Circuit
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import check, check_whole, read_whole_numbers
from intravisto_core.request.claims import Tokens
from intravisto_core.request.fields import list_of, read_list, read_number
from intravisto_core.request.prompts import Prompt, read_prompt
from intravisto_core.sites import Ranking

MOST_PAIRS = 200
MOST_STEPS = 100
MOST_DRAWS = 64
SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_PART = re.compile(r"L(\d{1,4})(?:H(\d{1,4})| ?MLP)")

# layer, and head or −1 for the MLP
PartId = tuple[int, int]


def _read_part(value: Any, name: str) -> PartId:
    allowed = 'heads and MLPs, as "L3H2", "L5 MLP" or (3, 2)'
    if isinstance(value, str):
        found = _PART.fullmatch(value)
        if found is None:
            raise RequestError(expected(name, allowed, value))
        return int(found[1]), -1 if found[2] is None else int(found[2])
    layer, head = (*read_whole_numbers(list_of(value), name, allowed), 0, 0)[:2]
    check(len(list_of(value)) == 2 and layer >= 0 and head >= -1, name, allowed, value)
    return layer, head


def _read_parts(value: Any, name: str) -> tuple[PartId, ...] | None:
    if value is None:
        return None
    # a circuit is made of its own parts
    listed = list_of(getattr(value, "parts", value))
    return tuple(sorted({_read_part(each, name) for each in listed}))


def _read_pairs(value: Any, name: str) -> tuple[tuple[Prompt, Prompt], ...]:
    allowed = "pairs of prompts, each with its counterfactual"
    found = []
    for pair in read_list(value, name, allowed):
        both = read_list(pair, name, allowed)
        check(len(both) == 2, name, allowed, pair)
        found.append((read_prompt(both[0], name), read_prompt(both[1], name)))
    check(0 < len(found) <= MOST_PAIRS, name, f"1 to {MOST_PAIRS} pairs", f"{len(found)} pairs")
    return tuple(found)


def _read_pairs_or_none(value: Any, name: str) -> tuple[tuple[Prompt, Prompt], ...] | None:
    return None if value is None else _read_pairs(value, name)


def _read_shares(value: Any, name: str) -> tuple[float, ...]:
    found = tuple(read_number(each, name) for each in list_of(value))
    rising = all(a < b for a, b in pairwise(found))
    fits = bool(found) and rising and found[0] > 0 and found[-1] == 1
    check(fits, name, "shares that rise, above 0, the last one 1", value)
    return found


Parts = Annotated[tuple[PartId, ...] | None, _read_parts]
Pairs = Annotated[tuple[tuple[Prompt, Prompt], ...], _read_pairs]
OtherPairs = Annotated[tuple[tuple[Prompt, Prompt], ...] | None, _read_pairs_or_none]
Shares = Annotated[tuple[float, ...], _read_shares]


@frozen_request
class CircuitRequest(View[Circuit]):
    """How well a set of heads and MLPs does a task, all others coming from a counterfactual prompt.

    parts: as "L3H2", "L5 MLP", (layer, head) or (layer, −1), or another Circuit; None takes the smallest set on the
    curve of the ranking that keeps 80 % of the metric. prompts: pairs (prompt, counterfactual), each a text or token
    ids, both with as many tokens. target, contrast: tokens whose logits are followed at the last position, or a list
    with one for each pair; None: the prompt's own top token, and its runner-up. by: how parts are ranked. found_in:
    pairs that the ranking is made of; None: the same. steps: of EAP-IG. shares: of all parts, at which the curve is
    measured. draws, seed: of completeness, and of a random ranking.
    """

    parts: Parts = None
    prompts: Pairs = ()
    target: Tokens = None
    contrast: Tokens = None
    by: Ranking = Ranking.EAP_IG
    found_in: OtherPairs = None
    steps: int = 5
    shares: Shares = SHARES
    draws: int = 8
    seed: int = 0
    add_special_tokens: bool = True

    def __post_init__(self) -> None:
        check_whole(self.steps, "steps", 1, MOST_STEPS)
        check_whole(self.draws, "draws", 1, MOST_DRAWS)
        check_whole(self.seed, "seed", 0)
        for name, value in (("target", self.target), ("contrast", self.contrast)):
            fits = not isinstance(value, tuple) or (len(value) == len(self.prompts) and self.found_in is None)
            check(fits, name, f"one token, or {len(self.prompts)}, one for each pair (without found_in)", value)
