"""What a circuit is worth, in a line."""

from __future__ import annotations

from intravisto_core.figures.numbers import share, significant
from intravisto_core.records import Circuit


def describe(found: Circuit) -> str:
    """`15 of 30 parts keep 90 % of the lead · EAP-IG · CPR 0.63`."""
    kept = f"{int(found.kept.sum())} of {len(found.layer)} heads and MLPs"
    areas = f"CPR {significant(found.cpr)}, CMD {significant(found.cmd)}"
    return f"{kept} keep {share(found.own)} of the lead · {found.by.label} · {areas}"
