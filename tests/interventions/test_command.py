"""`intravisto edit`, and the pictures and tables of what an edit changed."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.cli import edit as command
from intravisto_core.cli import main


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("attn_out:2:-1", {"site": "attn_out", "layer": 2, "positions": (-1,)}),
        ("mlp_out:0", {"site": "mlp_out", "layer": 0, "positions": "all"}),
        ("resid_pre:-1:prompt", {"site": "resid_pre", "layer": -1, "positions": "prompt"}),
        ("z.3:1:2,-4", {"site": "z", "layer": 1, "positions": (2, -4), "head": 3}),
        ("act.17:1:-3..5", {"site": "act", "layer": 1, "positions": iv.Span(-3, 5), "neuron": 17}),
        ("resid_post:1:g2", {"site": "resid_post", "layer": 1, "positions": iv.Generated(2)}),
    ],
)
def test_places_as_they_are_typed(text, place):
    assert command.place(text) == place


@pytest.mark.parametrize("text", ["attn_out", "attn_out:x", "attn_out:1:a", "z.h:1:2", "attn_out:1:1..", ""])
def test_what_is_no_place_is_told(text):
    with pytest.raises(iv.RequestError, match="SITE:LAYER:POSITIONS"):
        command.place(text)


def test_the_command_edits_in_the_order_given(tiny_folder, tmp_path, capsys):
    folder, out = str(tiny_folder("llama")), tmp_path / "found.json"
    ask = ["edit", "ab c!", "--model", folder, "--max-new-tokens", "2", "--text", "held"]
    edits = ["--scale", "2@mlp_out:1:-1", "--inject", "z@mlp_out:1:-1", "--ablate", "z.1:2:prompt"]
    assert main([*ask, *edits, "--knock-out", "0:-1:0,1:0", "--target", "a", "--contrast", "b", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "before: " in said
    assert "noise floor" in said
    found = json.loads(out.read_text())
    assert (found["kind"], found["mode"], len(found["edits"])) == ("Comparison", "held", 4)
    engine = iv.open_model(folder)
    trace = engine.trace("ab c!", max_new_tokens=2)
    edited = trace.edit(
        iv.Scale("mlp_out", 1, -1, factor=2.0),
        iv.Replace("mlp_out", 1, -1, token="z"),
        iv.Ablate("z", 2, "prompt", head=1),
        iv.KnockOut(0, -1, [0, 1], 0),
    )
    assert np.allclose(found["edited_logit_difference"], trace.compare(edited, "a", "b").edited_logit_difference)
    engine.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "at least one"),
        (["--ablate", "attn_out:2:-99"], "-6 to 5"),
        (["--inject", " Paris"], "TOKEN@SITE"),
        (["--inject", "a@z:1:0"], "not the stream"),
        (["--knock-out", "1:2"], "LAYER:QUERIES:KEYS"),
        (["--steer", "a@mlp_out:1"], "float"),
    ],
)
def test_wrong_words_give_one_line(tiny_folder, capsys, arguments, said):
    command_line = ["edit", "ab c!", "--model", str(tiny_folder("llama")), *arguments]
    try:
        code = main(command_line)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_records_of_effects_are_drawn_tabled_and_saved(case, tmp_path):
    tiny = case("llama")
    edited = tiny.trace.edit(iv.Scale("mlp_out", 1, -1, factor=2.0))
    records = (
        tiny.trace.compare(edited, positions=[3, -1]),
        tiny.trace.compare(edited, component="mlp"),
        tiny.trace.check_links([iv.Link("mlp", layer, -1) for layer in range(3)]),
        tiny.engine.direction("c or d", "ab c!", "zz"),
    )
    for number, record in enumerate(records):
        assert record.figure(dark=True).data
        assert len(record.frame())
        saved = json.loads(record.save(tmp_path / f"{number}.json").read_text())
        assert saved["kind"] == type(record).__name__
        assert record.save(tmp_path / f"{number}.csv").stat().st_size
    for colour in ("kl", "distance", "difference"):
        assert records[0].figure(colour=colour).data[0].z.shape == (5, 2)


def test_the_command_on_the_demo_model(tmp_path, capsys):
    """An ablation and an injection: the other answer is said, and the page can be opened offline."""
    out = tmp_path / "x.html"
    edits = ["--ablate", "attn_out:2:-1", "--inject", " Paris@resid_post:3:-1"]
    assert main(["edit", "Q: What is the capital of Italy? A:", *edits, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    floor = next(i for i, line in enumerate(said.splitlines()) if line.startswith("noise floor"))
    assert "␣Paris" in said.splitlines()[floor - 1]
    assert "note: layer 3, position 11, stream after the block: the new vector reads back as ␣Paris (>99.9 %)" in said
    assert "nan" not in said
    page = out.read_text("utf-8")
    assert "What the edits changed" in page
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
