"""What a circuit is worth, in words."""

from __future__ import annotations

from math import isfinite

from intravisto_core.figures.numbers import PER_CENT, change, share, significant
from intravisto_core.records import Circuit

QUESTION = "Which parts are enough for the answer?"


def describe(found: Circuit) -> str:
    """`15 of 30 heads and MLPs keep 90 % of the lead · EAP-IG · CPR 0.63`."""
    kept = f"{int(found.kept.sum())} of {len(found.layer)} heads and MLPs"
    areas = f"CPR {significant(found.cpr)}, CMD {significant(found.cmd)}"
    return f"{kept} keep {share(found.own)} of the lead · {found.by.label} · {areas}"


def write_interval(ends: tuple[float, float], as_share: bool = False) -> str:
    """` (95 %: 0.8 to 0.93)`; nothing where there is none."""
    if not all(map(isfinite, ends)):
        return ""
    low, high = (significant(100 * end if as_share else end) for end in ends)
    return f" (95 %: {low} to {high}{PER_CENT if as_share else ''})"


def write_worth(found: Circuit) -> tuple[str, ...]:
    """What the circuit keeps, what is left without it, and over how many pairs."""
    n, all_parts, pairs = int(found.kept.sum()), len(found.layer), len(found.prompts)
    one = n == 1
    kept = (
        f"{n} of {all_parts} heads and MLPs {'is' if one else 'are'} kept, all others come from the corrupt prompts: "
        f"{share(found.own)} of the lead is left{write_interval(found.own_interval, True)}."
    )
    removed = (
        f"The other way round, with {'this one' if one else f'these {n}'} from the corrupt prompts and all others "
        f"kept, {share(found.removed)} is left{write_interval(found.removed_interval, True)}."
    )
    over = f"Means over {pairs} pairs." if pairs > 1 else "Of one pair of prompts, so an anecdote."
    return kept, removed, over


def list_facts(found: Circuit) -> tuple[tuple[str, str, str], ...]:
    """Name, value with its interval, and what it is."""
    return (
        (
            "CPR",
            f"{significant(found.cpr)}{write_interval(found.cpr_interval)}",
            "The area under the curve, parts taken by score: the larger, the better the ranking.",
        ),
        (
            "CMD",
            f"{significant(found.cmd)}{write_interval(found.cmd_interval)}",
            "The area between the curve and 1, parts taken by the size of their score: the smaller, the better.",
        ),
        (
            "Completeness",
            f"{significant(found.completeness)}{write_interval(found.completeness_interval)}",
            "How much it matters whether the parts outside the circuit are there when random halves of it are taken "
            "away; 0: nothing outside does the same.",
        ),
    )


def write_part(found: Circuit, i: int) -> str:
    """What is known of a head or an MLP."""
    words = f"Score {change(float(found.scores[i]))} logits, by {found.by.label}."
    loss = float(found.minimality[i])
    if found.kept[i] and isfinite(loss):
        ends = float(found.minimality_interval[0, i]), float(found.minimality_interval[1, i])
        words += f" The circuit without it keeps {share(loss)} less{write_interval(ends, True)}."
    return words
