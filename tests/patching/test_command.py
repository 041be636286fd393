"""`intravisto patch`: what it asks for, what it prints, what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.cli import main

CLEAN, CORRUPT = "Q: What is the capital of Italy? A:", "Q: What is the capital of France? A:"
TOKENS = ("--target", " Rome", "--contrast", " Paris")


def test_the_command_writes_the_grid_and_says_what_carries_the_difference(tmp_path, capsys):
    out = tmp_path / "grid.json"
    assert main(["patch", "--clean", CLEAN, "--corrupt", CORRUPT, *TOKENS, "--out", str(out)]) == 0
    assert "clean +" in capsys.readouterr().out
    engine = iv.open_model("demo")
    grid = engine.patching(CLEAN, CORRUPT, target=" Rome", contrast=" Paris")
    found = json.loads(out.read_text())
    assert (found["kind"], found["what"]) == ("PatchGrid", "resid_pre")
    assert np.allclose(found["effects"], grid.effects)
    engine.close()
    assert main(["patch", "--clean", CLEAN, "--swap", " Italy", " France", "--what", "z", *TOKENS]) == 0
    said = capsys.readouterr().out
    assert "24 cells run, 0 need not" in said
    assert "layer 0, head 0" in said
    assert main(["patch", "--clean", CLEAN, "--corrupt", CORRUPT, "--receiver", "5.1.q", "--sender", "4.2"]) == 0
    assert "what heads say to the queries of L5H1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of --corrupt, --swap, --resample, --noise"),
        (["--corrupt", CORRUPT, "--swap", "a", "b"], "--corrupt and --swap"),
        (["--corrupt", CORRUPT, "--receiver", "5.q"], "LAYER.HEAD.q"),
        (["--corrupt", "a"], "They part at position"),
    ],
)
def test_what_does_not_serve_is_told(capsys, arguments, said):
    assert main(["patch", "--clean", CLEAN, *arguments]) == 2
    assert said in capsys.readouterr().err
