"""Why a head looks there, as the panel of the attention page is given it: the largest parts at each end, in words."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from intravisto_core.figures.numbers import significant
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.payload import pack_arrays
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import AttentionCut, AttentionScore
from intravisto_core.sites import ScoreEnd

LARGEST = 6
PAIRS = 4
HEAD = re.compile(r"L\d+H\d+")
REST = "rest …"
# a number of the table has one decimal
SHOWN = 0.05
_GROUPS = (
    ("heads …", "All other heads together"),
    ("MLPs …", "All other MLPs together"),
    (REST, "All other parts"),
)
_ADDED = {"soft_cap": "the soft-cap", "alibi": "the distance (ALiBi)", "remainder": "rounding"}
Array = np.ndarray
Lines = list[tuple[str, list[int]]]


def why_packet(found: AttentionScore, name: str) -> bytes:
    """The score in parts: the six of largest sum at each end by name, the others summed by kind."""
    rows, columns = _pick(found.query_parts, found.matrix.sum(1)), _pick(found.key_parts, found.matrix.sum(0))
    cells = np.array([[found.matrix[np.ix_(a, b)].sum() for _, b in columns] for _, a in rows])
    rows, columns, cells = _drop_small(rows, columns, cells)
    header: dict[str, object] = {
        "name": f"{found.trace} {name}",
        "from": found.query,
        "to": found.key,
        "weight": found.weight,
        "rows": [_part(part, len(members)) for part, members in rows],
        "columns": [_part(part, len(members)) for part, members in columns],
        "cells": [[round(float(v), 5) for v in line] for line in cells],
        "rowSums": [round(float(v), 5) for v in cells.sum(1)],
        "columnSums": [round(float(v), 5) for v in cells.sum(0)],
        "sum": round(float(found.matrix.sum()), 5),
        "total": round(float(found.total), 5),
        "pairs": _list_pairs([p for p, _ in rows], [p for p, _ in columns], cells),
        "cuts": _list_cuts(found),
        "words": describe_score(found),
        "notes": [as_sentence(printable(note)) for note in found.notes],
    }
    return pack_arrays(header, {})


def cut_packet(found: AttentionCut, name: str) -> bytes:
    """The weight without one part, with that part ablated for all that read it."""
    total = None if found.total is None else float(found.total)
    return pack_arrays({"name": f"{found.trace} {name}", "total": total}, {})


def _pick(names: tuple[str, ...], sums: Array) -> list[tuple[str, list[int]]]:
    """Name and members of each line: the largest parts in the model's order, then the others by kind."""
    top = sorted(np.argsort(-np.abs(sums), kind="stable")[:LARGEST].tolist())
    groups: dict[str, list[int]] = {name: [] for name, _ in _GROUPS}
    for i, name in enumerate(names):
        if i not in top:
            groups[_group(name)].append(i)
    return [(names[i], [i]) for i in top] + [(name, members) for name, members in groups.items() if members]


def _drop_small(rows: Lines, columns: Lines, cells: Array) -> tuple[Lines, Lines, Array]:
    """Without the sums of the rest that would be a line of empty fields; the total stays what it is."""
    some_rows = [i for i, (name, _) in enumerate(rows) if name != REST or np.abs(cells[i]).max() >= SHOWN]
    some_columns = [j for j, (name, _) in enumerate(columns) if name != REST or np.abs(cells[:, j]).max() >= SHOWN]
    return [rows[i] for i in some_rows], [columns[j] for j in some_columns], cells[np.ix_(some_rows, some_columns)]


def _group(name: str) -> str:
    if HEAD.fullmatch(name):
        return "heads …"
    return "MLPs …" if name.endswith(" MLP") else REST


def _part(name: str, n: int) -> dict[str, str]:
    title = dict(_GROUPS).get(name, "")
    short = name.replace("attention bias", "attn. bias").replace("embedding", "embed")
    short = short if len(short) <= 11 else f"{short[:10]}…"
    return {"name": name, "short": short, "title": f"{title}: {n}" if title else name}


def _list_pairs(rows: list[str], columns: list[str], cells: Array) -> list[dict[str, Any]]:
    order = np.argsort(-np.abs(cells), axis=None, kind="stable")[:PAIRS]
    at = [divmod(int(i), cells.shape[1]) for i in order]
    return [{"query": rows[a], "key": columns[b], "value": round(float(cells[a, b]), 5)} for a, b in at]


def _list_cuts(found: AttentionScore) -> list[dict[str, Any]]:
    """The parts of largest sum, with the weight without each, as predicted and as measured."""
    lines = []
    ends = (
        (ScoreEnd.KEY, found.key_parts, found.matrix.sum(0), found.key_predicted, found.key_measured),
        (ScoreEnd.QUERY, found.query_parts, found.matrix.sum(1), found.query_predicted, found.query_measured),
    )
    for end, names, sums, predicted, measured in ends:
        for i in np.argsort(-np.abs(sums), kind="stable")[:LARGEST].tolist():
            lines.append(
                {
                    "name": names[i],
                    "end": str(end),
                    "predicted": _number(predicted[i]),
                    "measured": _number(measured[i]),
                    "can": bool(np.isfinite(measured[i])),
                }
            )
    return lines


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def describe_score(found: AttentionScore) -> list[str]:
    """What the numbers are, in sentences."""
    score, less, total = (significant(round(v, 2)) for v in (found.score, found.reference, found.total))
    if found.against == "none":
        first = (
            f"The score is {score}. The softmax ignores what all keys of a query share, so the sum says little alone."
        )
    else:
        other = {"mean": "the other keys on average", "weighted": "the other keys, weighted by attention,"}
        rival = other.get(found.against, f"position {found.against_key}")
        than = f"position {found.against_key}" if found.against == "key" else "an average one"
        much = f"{times(found.total)} as likely as {than}"
        first = f"Score {score}, {rival} {less}: the difference {total} makes this key {much}."
    n, m = len(found.query_parts), len(found.key_parts)
    split = f"Split exactly into {n} × {m} pairs of parts, norms held; the six largest at each end, the others summed."
    added = [f"{_ADDED.get(k, k)} {significant(round(v, 3))}" for k, v in found.added.items() if abs(v) >= 5e-4]
    beside = [f"Beside the products: {', '.join(added)}."] if added else []
    return [first, split, *beside, "Names of heads lead to that head at that position."]


def times(difference: float) -> str:
    """How many times as likely a difference of scores makes a key: `3.2 times`, `2·10⁵ times`."""
    power = difference / np.log(10)
    if abs(power) < 3:
        return f"{float(f'{np.exp(difference):.2g}'):g} times"
    exponent = int(np.floor(power))
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{round(10 ** (power - exponent))}·10{digits} times"
