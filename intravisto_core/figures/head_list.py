"""Attribution by heads as one list: the heads of all layers by what they add, and everything else as sums."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from intravisto_core.figures.words import part_name
from intravisto_core.records import Attribution
from intravisto_core.sites import Part

PLURALS = {
    Part.ATTENTION: "attentions that are not cut into heads",
    Part.MLP: "MLPs",
    Part.NEURON: "neurons",
    Part.OTHER_NEURONS: "groups of smaller neurons",
    Part.ATTENTION_BIAS: "attention biases",
    Part.MLP_BIAS: "MLP biases",
}


class HeadOrder(StrEnum):
    """In which order heads are listed."""

    SIZE = "size"
    RAISES = "raises"
    LOWERS = "lowers"
    LAYER = "layer"


@dataclass(frozen=True, slots=True)
class PartGroup:
    """Parts that are told as one line: their name, where they stand in the record, the largest first, and their sum."""

    name: str
    kind: Part
    members: tuple[int, ...]
    value: float


def rank_heads(found: Attribution, order: str = HeadOrder.SIZE) -> list[int]:
    """Where the heads of all layers stand in a record, in that order.

    order: "size" (the largest |value| first), "raises" (the most positive first), "lowers" (the most negative first),
    or "layer" (as in the model, the first layer first).
    """
    at, keys = np.flatnonzero(found.kind == Part.HEAD), _sort_keys(found.value)
    if order == HeadOrder.LAYER:
        return [int(i) for i in at]
    return [int(i) for i in at[np.argsort(keys[order][at], kind="stable")]]


def _sort_keys(values: np.ndarray) -> dict[str, np.ndarray]:
    return {HeadOrder.SIZE: -np.abs(values), HeadOrder.RAISES: -values, HeadOrder.LOWERS: values}


def sum_others(found: Attribution) -> list[PartGroup]:
    """What adds to the score beside the heads, one group a kind of part, in the order of the model."""
    kinds = [Part(str(k)) for k in dict.fromkeys(found.kind.tolist()) if k != Part.HEAD]
    return [_sum_kind(found, kind) for kind in kinds]


def _sum_kind(found: Attribution, kind: Part) -> PartGroup:
    at = np.flatnonzero(found.kind == kind)
    members = tuple(int(i) for i in at[np.argsort(-np.abs(found.value[at]), kind="stable")])
    name = name_part(found, members[0]) if len(members) == 1 else f"{len(members):,} {PLURALS.get(kind, kind.label)}"
    return PartGroup(name, kind, members, float(found.value[at].sum()))


def sum_heads(found: Attribution, members: list[int]) -> PartGroup:
    """Heads that are not listed one by one, as one line."""
    at = np.array(members, int)
    return PartGroup(f"{len(members):,} other heads", Part.HEAD, tuple(members), float(found.value[at].sum()))


def name_part(found: Attribution, i: int) -> str:
    """One part of a record in words."""
    return part_name(*(column[i].item() for column in (found.kind, found.layer, found.index, found.expert)))
