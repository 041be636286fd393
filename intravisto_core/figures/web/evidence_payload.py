"""What the picture of a tested claim in the browser is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from intravisto_core.figures.evidence_words import (
    name_claim,
    write_left_out,
    write_measured,
    write_rank,
    write_verdict,
)
from intravisto_core.figures.numbers import significant
from intravisto_core.figures.text import printable, shorten
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import Evidence
from intravisto_core.sites import ControlKind, Verdict

TITLES = {
    Verdict.SUPPORTED: "Supported",
    Verdict.ANECDOTE: "n = 1: an anecdote",
    Verdict.NOT_DISTINGUISHABLE: "Not distinguishable from controls",
}
RUNNING = "No verdict yet"
SHAPES = {
    ControlKind.POSITION: "square",
    ControlKind.PART: "circle",
    ControlKind.DIRECTION: "triangle",
    ControlKind.PROMPT: "diamond",
}
LONGEST_LABEL = 25


def evidence_data(found: Evidence, rev: str = "", progress: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The data of evidence.js. rev: names the test. progress: of one that still runs, which has no verdict yet."""
    strongest = found.kinds.index(found.control)
    said = [write_measured(found), write_rank(found), *([] if progress else [write_verdict(found)])]
    notes = [*write_left_out(found), *found.notes]
    return {
        "rev": rev,
        "model": printable(found.model),
        "verdict": RUNNING if progress else TITLES[found.verdict],
        "kind": "open" if progress else "good" if found.verdict is Verdict.SUPPORTED else "bad",
        "claim": as_sentence(printable(name_claim(found))),
        "said": [as_sentence(printable(line)) for line in said],
        "notes": [as_sentence(printable(line)) for line in notes],
        "axis": f"it {found.effect} the lead by, logits",
        "kinds": [{"name": kind.label, "shape": SHAPES[kind]} for kind in found.kinds],
        "strongest": strongest,
        "rows": [_row(found, i, strongest) for i in range(found.n)],
        "interval": _interval(found),
        "progress": dict(progress) if progress else None,
    }


def _row(found: Evidence, i: int, strongest: int) -> dict[str, Any]:
    controls = [
        [k, round(abs(float(found.draws[i, k, r])), 5), printable(str(found.drawn[i, k, r]))]
        for k in range(len(found.kinds))
        for r in range(found.draws.shape[2])
        if not np.isnan(found.draws[i, k, r])
    ]
    pair = f"{printable(found.targets[i])}, not {printable(found.contrasts[i])}"
    several = len(set(zip(found.targets, found.contrasts, strict=True))) > 1
    return {
        "label": pair if several else shorten(printable(found.prompts[i]), LONGEST_LABEL),
        "prompt": printable(found.prompts[i]) + (" · where it was found" if found.is_discovery[i] else ""),
        "own": bool(found.is_discovery[i]),
        "effect": float(f"{found.effect.sign * found.effects[i]:.5g}"),
        "number": significant(float(found.effect.sign * found.effects[i])),
        "against": float(f"{found.control_means[i, strongest]:.5g}"),
        "controls": controls,
    }


def _interval(found: Evidence) -> dict[str, Any] | None:
    """What the edit does beyond the strongest kind of control: mean, interval, and each prompt's own."""
    low, high = found.interval
    if not np.isfinite([low, high]).all():
        return None
    return {
        "low": low,
        "high": high,
        "mean": found.mean_difference,
        "points": [float(f"{d:.5g}") for d in found.differences],
        "about": f"the edit less the strongest kind of control ({found.control.label}), logits",
        "inWords": f"mean {significant(found.mean_difference)}, 95 % {significant(low)} to {significant(high)}",
    }
