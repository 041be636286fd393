"""What grids say and what their picture is given, on numbers worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from intravisto_core.figures import patching_words as words
from intravisto_core.figures import sweep_words
from intravisto_core.figures.patching_stories import write_stories
from intravisto_core.figures.web.patching_payload import patching_data
from intravisto_core.figures.web.sweep_payload import sweep_data
from intravisto_core.sites import PatchMetric
from tests.figures.made_patching import SHARES, head_grid, patch_grid, sweep_grid


def told(pieces) -> str:
    return "".join(text for text, _ in pieces)


def test_where_the_difference_is_kept_is_told_by_column():
    grid = patch_grid()
    equal, _, third, last = map(told, write_stories(grid))
    assert equal == ""
    assert third == (
        "Up to layer 1 the difference is kept at ‘␣John’; from layer 3 on it is no longer there, and ‘␣to’ holds "
        "96\u00a0%. It seems to move in layers 1 to 2."
    )
    assert last == (
        "The answer is read here. Before layer 2 this position knows nothing of the difference; from layer 3 on it "
        "holds nearly all."
    )
    effects = np.zeros((1, 4, 4))
    effects[:, 2] = np.nan
    unfinished = patch_grid(effects=effects, skipped=np.zeros((4, 4), bool))
    assert all(not story for story in write_stories(unfinished))


@pytest.mark.parametrize(
    ("direction", "begins", "goal"),
    [
        ("denoise", "clean run's stream here, the corrupt", "+4.00"),
        ("noise", "corrupt run's stream here, the clean", "−6.00"),
    ],
)
def test_a_cell_in_words_goes_the_way_of_its_direction(direction, begins, goal):
    grid = patch_grid(direction)
    data = patching_data([grid])
    block = data["blocks"][0]
    assert begins in block["does"]
    assert block["way"] == f" of the way to {goal}."
    # 50 % of the way, from either end
    assert data["base"] + 0.5 * data["span"] == pytest.approx(-1.0)
    assert block["values"] == [[pytest.approx(v) for v in row] for row in SHARES.tolist()]
    assert block["states"] == ["==vv"] * 4
    assert block["prefix"] == 2
    assert block["same"][-1] == "8 cells skipped"
    assert [c["differ"] for c in block["columns"]] == [False, False, True, False]
    assert data["floor"] == pytest.approx(0.025)


def test_heads_that_carry_it_and_those_against_it():
    grid = head_grid()
    data = patching_data([patch_grid(), grid])
    assert [(p["text"], p["number"]) for part in data["carry"] for p in part["parts"]] == [
        ("L2H0", "60\u00a0%"),
        ("L2H1", "−20\u00a0%"),
    ]
    assert data["chosen"] == {"block": "resid_pre", "layer": 2, "column": 2}
    worst = "it is worst at layer 0 at ‘␣John’: 50\u00a0%, where 100\u00a0% is right."
    assert f"Stream: correlation 1.00; {worst}" in data["scatter"]
    assert [block["axis"] for block in data["blocks"]] == ["position", "head"]


def test_two_runs_too_near_have_no_shares_but_effects():
    grid = patch_grid(lead=(1.0, 0.5))
    assert not words.has_shares(grid)
    data = patching_data([grid])
    assert data["unit"] == "effect"
    assert data["blocks"][0]["values"][0][2] == pytest.approx(0.5)
    assert "lie too near each other" in data["about"]


@pytest.mark.parametrize("metric", list(PatchMetric))
def test_every_measure_has_its_unit(metric):
    said = words.write_does(patch_grid(lead=(0.9, 0.1), metric=metric, noise_floors=np.array([0.001])))
    units = {"logit_diff": "from +0.100", "probability": "from 10.0\u00a0%", "kl": "from 0.100 nats"}
    assert units[str(metric)] in said


def test_what_was_not_run_has_no_number():
    effects = np.full((1, 4, 4), np.nan)
    effects[:, :, :2] = 0
    data = patching_data(
        [patch_grid(effects=effects)], progress={"done": 0, "total": 8, "text": "0 of 8", "cancel": True}
    )
    assert data["blocks"][0]["states"] == ["==.."] * 4
    assert data["carry"] == []
    assert "NaN" not in json.dumps(data)


def test_a_sweep_names_what_each_prompt_needs():
    grid = sweep_grid()
    assert sweep_words.write_sentence(grid) == (
        "The lead of each prompt's token over its rival is +4.00 on average over 2 prompts. It falls most without "
        "L0H0: by 2.00 logits."
    )
    data = sweep_data([grid])
    assert data["more"][0]["lines"] == [[("to <Mary> ", 0), ("L0H0 −3.00", 1)], [("to Tom ", 0), ("L1H0 −2.00", 1)]]
    assert data["blocks"][0]["interval"] == [[[-3.0, 0.5], [-2.0, 0.01]], [[-1.0, 0.5], [0.0, 0.01]]]
    second = sweep_data([grid], prompt=1)
    assert second["blocks"][0]["interval"] is None
    assert second["blocks"][0]["values"] == [[-1.0, 0.5], [-2.0, 0.01]]
    assert "lead of ␣Tom over ␣Mary" in second["about"]
    page = grid.html()
    assert "<Mary>" not in page
    assert "https://" not in page
