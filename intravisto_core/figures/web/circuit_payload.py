"""What the picture of a circuit in the browser is given: parts, edges between them, the curve, the sentences."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from intravisto_core.figures import circuit_words as words
from intravisto_core.figures.numbers import change
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.flow_payload import round_numbers
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import Circuit

# Edges that the picture chooses from: the largest, wherever they lead.
MOST_EDGES = 400


def circuit_data(
    found: Circuit,
    kept: Collection[tuple[int, int]] | None = None,
    links: bool = False,
    rev: str = "",
    n: int = 0,
    progress: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The data of circuit.js.

    kept: the parts as they were edited since, (layer, head) with head −1 for an MLP; None is the circuit itself.
    links: whether parts can be edited and lead elsewhere. rev: goes back with every act. n: the last act that `kept`
    holds. progress: of what still runs.
    """
    measured = [bool(part) for part in found.kept]
    own = list(zip(found.layer.tolist(), found.head.tolist(), strict=True))
    edited = measured if kept is None else [part in kept for part in own]
    low, high = found.faithfulness_interval
    return {
        "rev": rev,
        "n": n,
        "links": links,
        "model": printable(found.model),
        "title": words.QUESTION,
        "fileName": "circuit",
        "about": printable(f"{words.describe(found)}"),
        "layers": found.n_layers,
        "heads": found.n_heads,
        "scores": round_numbers(found.scores),
        "measured": "".join("01"[part] for part in measured),
        "kept": "".join("01"[part] for part in edited),
        "tells": [words.write_part(found, i) for i in range(len(own))],
        "edges": _list_edges(found),
        "edgesOf": found.by.label,
        "curve": {
            "shares": round_numbers(found.shares),
            "sizes": found.sizes.tolist(),
            "f": round_numbers(found.faithfulness),
            "low": round_numbers(low),
            "high": round_numbers(high),
            "bySize": round_numbers(found.faithfulness_by_size),
        },
        "own": float(f"{found.own:.5g}"),
        "said": list(words.write_worth(found)),
        "facts": [list(fact) for fact in words.list_facts(found)],
        "notes": [as_sentence(printable(note)) for note in found.notes],
        "progress": dict(progress) if progress else None,
    }


def _list_edges(found: Circuit) -> list[list[Any]]:
    """`[source, [readers], score, what is read, words]`, the largest first.

    source: −1 is the words. readers: parts, or the number of all parts for the logits; several heads share a kv head.
    """
    if found.edges is None:
        return []
    order = np.argsort(-np.abs(found.edges), axis=None, kind="stable")[:MOST_EDGES]
    listed = []
    for source, reader in zip(*np.unravel_index(order, found.edges.shape), strict=True):
        score = float(found.edges[source, reader])
        if not score:
            break
        name = found.readers[int(reader)]
        ends, kind = _read_reader(found, name)
        told = f"{found.sources[int(source)]} → {name}: {change(score)}"
        listed.append([int(source) - 1, ends, float(f"{score:.4g}"), kind, told])
    return listed


def _read_reader(found: Circuit, name: str) -> tuple[list[int], str]:
    """The parts that a reader belongs to, and what colours an edge to it."""
    width = found.n_heads + 1
    if name == "logits":
        return [len(found.layer)], "residual"
    layer, _, what = name.partition(" ")
    if what == "MLP":
        return [int(layer[1:]) * width + found.n_heads], "mlp"
    row, head = (int(number) for number in layer[1:].split("H"))
    if what == "q":
        return [row * width + head], "attention"
    n_kv_heads = sum(r.startswith(f"L{row}H") and r.endswith(" k") for r in found.readers)
    group = found.n_heads // n_kv_heads
    return [row * width + h for h in range(head * group, (head + 1) * group)], "attention"
