"""A published finding: one file that is tested again, here and on another model, and what it says."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.cli import main

PROMPTS = ["ab c", "ba c", "c ab!", "d~ab", "ab!ab", "cab d", "ddab", "b a c", "abab"]


@pytest.fixture(scope="module")
def finding(case, tmp_path_factory):
    """A finding that names a direction by an array, and prompts of other lengths."""
    trace = case("llama").engine.trace("ab c")
    steer = iv.Steer("resid_post", 1, -1, direction=np.arange(1.0, 33.0), strength=3.0)
    view = iv.EvidenceView(trace.id, iv.Claim([steer, iv.Scale("z", 2, -1, head=1, factor=3.0)]), PROMPTS, seed=3)
    path = tmp_path_factory.mktemp("finding") / "claim.intravisto"
    trace.save(path, views=[view])
    return path, trace.view(view)


def test_a_finding_is_read_without_the_model_and_tested_again(finding, case):
    path, evidence = finding
    opened = iv.open_trace(path)
    (view,) = opened.engine.held[opened.id].views
    stored = opened.view(view)
    assert stored.sentence == evidence.sentence
    np.testing.assert_array_equal(stored.draws, evidence.draws)
    found = iv.retest(path, case("llama").engine)
    assert found.same_model
    assert found.same_prompts
    assert found.largest_change == 0
    assert found.holds == (evidence.verdict == "supported")
    assert found.now.effect_was_given, "the direction of the finding is claimed now"
    assert found.sentence in found.html().replace("&#x27;", "'")


def test_a_finding_on_another_model_and_other_prompts(finding, case):
    path, evidence = finding
    found = iv.retest(path, case("qwen2").engine, prompts=PROMPTS[:4])
    assert not found.same_model
    assert not found.same_prompts
    assert not found.holds, "four prompts are too few"
    assert np.isnan(found.largest_change)
    assert "another model" in found.sentence
    assert found.before.effects.tolist() == evidence.effects.tolist()


def test_what_holds_no_claim_is_refused(case, tmp_path):
    engine = case("llama").engine
    with pytest.raises(iv.TraceError, match="holds none"):
        iv.retest(engine.trace("ab").save(tmp_path / "run.intravisto", views=["shares"]), engine)
    with pytest.raises(iv.RequestError, match="engine"):
        iv.retest(tmp_path / "run.intravisto", None)


def test_ids_of_another_tokenizer_are_refused(case, family, tmp_path):
    trace = case("llama").engine.trace("ab c")
    view = iv.EvidenceView(trace.id, iv.Claim(iv.Ablate("mlp_out", 0, -1), target=20))
    path = trace.save(tmp_path / "claim.intravisto", views=[view])
    with pytest.raises(iv.RequestError, match="another tokenizer"):
        iv.retest(path, family("Llama").engine)


def test_the_command_tests_publishes_and_tests_again(capsys, tiny_llama, tiny_gpt2, tmp_path):
    prompts, claim = tmp_path / "prompts.txt", tmp_path / "claim.intravisto"
    prompts.write_text("\n".join(PROMPTS) + "\n\n")
    options = ["--ablate", "z.1:1:-1", "--prompts", str(prompts), "--out", str(claim)]
    assert main(["test", "ab c", "--model", str(tiny_llama), *options]) in (0, 1)
    printed = capsys.readouterr().out
    assert f"wrote {claim}" in printed
    assert "Over 9 prompts (8 of them new)" in printed
    code = main(["test", str(claim)])
    printed = capsys.readouterr().out
    assert "the model of the finding" in printed, "without --model it is the model of the file"
    assert code == (0 if "The claim holds" in printed else 1)
    page = tmp_path / "again.html"
    main(["test", str(claim), "--model", str(tiny_gpt2), "--out", str(page)])
    assert "on another model" in capsys.readouterr().out
    assert page.read_text().startswith("<!doctype html>")
    for wrong, words in (
        (["ab c", "--model", str(tiny_llama)], "at least one of --inject"),
        ([str(claim), "--ablate", "z.1:1:-1"], "a finding alone"),
        (["ab c", "--ablate", "z.1:1:-1", "--prompts", str(tmp_path / "none.txt")], "one a line"),
        (["ab c", "--ablate", "z.1:1:-1", "--controls", "luck"], "controls"),
    ):
        assert main(["test", *wrong]) == 2
        assert words in capsys.readouterr().err
