"""The panel's tables of an update and of a next-token distribution."""

from __future__ import annotations

import json

import numpy as np

from intravisto_core.figures.web import Step, next_list, step_list, update_lists
from intravisto_core.records import NextTokens, UpdateTokens
from intravisto_core.sites import Component
from tests.figures import made


def update() -> UpdateTokens:
    ids = np.arange(4)
    return UpdateTokens(
        trace="trace-1",
        component=Component.MLP,
        row=2,
        position=3,
        promoted_ids=ids,
        promoted=np.array([3.0, 2.0, 1.0, 0.5]),
        promoted_before=np.array([1200, 7, 3, 2]),
        promoted_after=np.array([1, 2, 3, 4]),
        suppressed_ids=ids + 10,
        suppressed=-np.array([3.0, 2.0, 1.0, np.nan]),
        suppressed_before=ids + 1,
        suppressed_after=ids + 5,
        shown={i: made.shown(i) for i in range(20)},
    )


def test_an_update_lists_both_ways_with_ranks() -> None:
    data = update_lists(update(), {1: "#abc"})
    json.dumps(data, allow_nan=False)
    up, down = data["lists"]
    assert [e["aside"] for e in up["entries"]] == ["1,200 → 1", "7 → 2", "3 → 3", "2 → 4"]
    assert [e["colour"] for e in up["entries"]] == [None, "#abc", None, None]
    assert (up["down"], down["down"]) == (False, True)
    assert (up["hue"], down["hue"]) == ("mlp", "")
    assert [e["value"] for e in down["entries"]] == [-3.0, -2.0, -1.0]


def test_next_tokens_stand_beside_the_models_own() -> None:
    tokens = NextTokens(
        "trace-1", 5, np.arange(3), np.array([0.5, 0.25, 0.1]), np.array([0.8, 0.2, 0.0]), 2, {0: "a", 1: "b", 2: "c"}
    )
    (listed,) = next_list(tokens)["lists"]
    drawn = [(0.8, "50.0\u00a0%"), (0.2, "25.0\u00a0%"), (0.0, "10.0\u00a0%")]
    assert [(e["value"], e["aside"]) for e in listed["entries"]] == drawn
    assert listed["columns"] == ("drawn with", "model")


def test_steps_name_their_cells() -> None:
    data = step_list([Step(2, Component.MLP, 1.5), Step(1, Component.ATTENTION, -0.5)], "\x00 over b", 6)
    json.dumps(data, allow_nan=False)
    assert data["steps"]["title"] == "␀ over b"
    assert [(e["kind"], e["name"], e["value"]) for e in data["steps"]["entries"]] == [
        ("mlp", "layer 1 MLP", 1.5),
        ("attention", "layer 0 attention", -0.5),
    ]
