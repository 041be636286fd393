"""What the picture of a circuit is given, on numbers worked by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from intravisto_core.figures.circuit_words import list_facts, write_part, write_worth
from intravisto_core.figures.numbers import PER_CENT
from intravisto_core.figures.web.circuit_payload import circuit_data
from intravisto_core.records import Circuit
from intravisto_core.sites import Ranking

SOURCES = ("embedding", "L0H0", "L0H1", "L0 MLP", "L1H0", "L1H1", "L1 MLP")
READERS = (
    *("L0H0 q", "L0H1 q", "L0H0 k", "L0H0 v", "L0 MLP"),
    *("L1H0 q", "L1H1 q", "L1H0 k", "L1H0 v", "L1 MLP", "logits"),
)


def circuit(**changed: object) -> Circuit:
    """Two layers of two heads, which share one kv head; one head and one MLP are kept, over two pairs."""
    edges = np.zeros((7, 11))
    edges[0, 4], edges[3, 8], edges[2, 10] = 0.5, -0.75, 0.25
    nothing = np.full(6, np.nan)
    given: dict[str, object] = {
        "kept": np.array([False, True, True, False, False, False]),
        "minimality": np.array([np.nan, 0.25, 0.5, np.nan, np.nan, np.nan]),
        "minimality_interval": np.stack([nothing, nothing]),
        "edges": edges,
        "sources": SOURCES,
        "readers": READERS,
        "own_interval": (0.6, 0.9),
    }
    return Circuit(
        model="made",
        n_layers=2,
        n_heads=2,
        by=Ranking.EAP_IG,
        layer=np.repeat([0, 1], 3),
        head=np.array([0, 1, -1] * 2),
        scores=np.array([0.0, 1.0, 2.0, -0.5, 0.1, 0.0]),
        chosen=False,
        prompts=("a", "b"),
        counterfactuals=("c", "d"),
        targets=(1, 1),
        contrasts=(2, 2),
        shown={1: "␣x", 2: "␣y"},
        clean=np.array([2.0, 2.0]),
        corrupt=np.array([-2.0, -2.0]),
        shares=np.array([0.5, 1.0]),
        sizes=np.array([3, 6]),
        faithfulness=np.array([0.75, 1.0]),
        faithfulness_interval=np.full((2, 2), np.nan),
        faithfulness_by_size=np.array([0.5, 1.0]),
        cpr=0.625,
        cpr_interval=(0.5, 0.75),
        cmd=0.375,
        cmd_interval=(float("nan"), float("nan")),
        own=0.75,
        removed=0.125,
        removed_interval=(0.1, 0.2),
        completeness=0.25,
        completeness_interval=(0.2, 0.3),
        **(given | changed),  # type: ignore[arg-type]
    )


def test_the_picture_has_every_part_and_the_largest_edges():
    data = circuit_data(circuit(), links=True, rev="r")
    json.dumps(data, allow_nan=False)
    assert (data["layers"], data["heads"], data["kept"], data["measured"]) == (2, 2, "011000", "011000")
    assert data["edges"] == [
        [2, [3, 4], -0.75, "attention", "L0 MLP → L1H0 v: −0.750"],
        [-1, [2], 0.5, "mlp", "embedding → L0 MLP: +0.500"],
        [1, [6], 0.25, "residual", "L0H1 → logits: +0.250"],
    ], "values of a kv head lead to both heads that share it; the words are −1, the logits the number of parts"
    edited = circuit_data(circuit(), [(1, -1), (0, 0)], n=4)
    assert (edited["kept"], edited["measured"], edited["n"]) == ("100001", "011000", 4)
    assert circuit_data(circuit(edges=None, sources=(), readers=()))["edges"] == []


def test_what_a_circuit_is_worth_is_said():
    found = circuit()
    kept, removed, over = write_worth(found)
    assert kept == (
        f"2 of 6 heads and MLPs are kept, all others come from the corrupt prompts: 75.0{PER_CENT} of the lead is left "
        f"(95 %: 60.0 to 90.0{PER_CENT})."
    )
    assert removed.startswith(
        f"The other way round, with these 2 from the corrupt prompts and all others kept, 12.5{PER_CENT}"
    )
    assert over == "Means over 2 pairs."
    one = replace(
        found,
        prompts=("a",),
        clean=found.clean[:1],
        corrupt=found.corrupt[:1],
        own_interval=(float("nan"), float("nan")),
        kept=np.arange(6) == 1,
    )
    kept, _, over = write_worth(one)
    assert kept.startswith("1 of 6 heads and MLPs is kept")
    assert kept.endswith(f"75.0{PER_CENT} of the lead is left.")
    assert over.endswith("an anecdote.")
    assert [value for _, value, _ in list_facts(found)] == [
        "0.625 (95 %: 0.500 to 0.750)",
        "0.375",
        "0.250 (95 %: 0.200 to 0.300)",
    ]
    assert write_part(found, 2) == f"Score +2.00 logits, by EAP-IG. The circuit without it keeps 50.0{PER_CENT} less."
    assert write_part(found, 3) == "Score −0.500 logits, by EAP-IG."
