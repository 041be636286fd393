"""A batch: each prompt exactly once, whatever ends it on the way; its records are those of single runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import intravisto_core as iv
from intravisto_core.cli import main
from intravisto_core.engine.answers import read_answer
from intravisto_core.service import batch_plan
from intravisto_core.service.batch import run_batch
from intravisto_core.service.batch_means import Z_95
from intravisto_core.service.batch_plan import BatchPlan, read_prompts
from intravisto_core.service.batch_work import Worker

TEXTS = ["ab c!ab", "cab", "ab", "b!a", "ccc", "ab", "a" * 200]
VIEWS = ("heatmap", "attribution", "saliency")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    lines = [json.dumps({"prompt": text, "id": f"p{i}"}) for i, text in enumerate(TEXTS[:-1])]
    path.write_text("\n".join([*lines, "", json.dumps(TEXTS[-1])]))
    return path


def plan(folder: Path) -> BatchPlan:
    return BatchPlan(iv.to_json(iv.ModelSpec(str(folder))), VIEWS)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((folder / "parts").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_a_batch_that_is_ended_anywhere_answers_each_prompt_once(prompts, tiny_llama, tmp_path, monkeypatch, case):
    monkeypatch.setattr(batch_plan, "IN_PART", 2)
    out, asked, write, calls = tmp_path / "out", read_prompts(prompts), Worker.write, []

    def end_before(self: Worker, name: str, part: list[Any]) -> int:
        calls.append(name)
        if len(calls) in (2, 4):
            raise KeyboardInterrupt
        return write(self, name, part)

    monkeypatch.setattr(Worker, "write", end_before)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_batch(plan(tiny_llama), asked, out)
    summary = run_batch(plan(tiny_llama), asked, out)
    assert sorted(set(calls)) == [f"part-{i:06d}.parquet" for i in range(4)]
    assert len(calls) == 4 + 2, "what was written is not written again"
    found = rows(out)
    assert [row["prompt"] for row in found] == TEXTS
    assert [row["line"] for row in found] == [0, 1, 2, 3, 4, 5, 7]
    assert [row["id"] for row in found] == [*(f"p{i}" for i in range(6)), ""]
    assert "64 tokens" in found[-1]["error"]
    assert (summary.n_prompts, summary.n_failed) == (7, 1)
    engine = case("llama").engine
    singles = [engine.trace(text) for text in TEXTS[:-1]]
    for row, trace in zip(found, singles, strict=False):
        # in a padded batch the last bits may differ
        assert np.allclose(read_answer(row["heatmap"]).value.logits, trace.heatmap(top_k=32).logits, atol=1e-5)
        assert read_answer(row["saliency"]).value.scores.shape == (len(trace.tokens),)
    own = [trace.heatmap(positions=[-1], top_k=1) for trace in singles]
    said = [
        trace.heatmap(positions=[-1], watch=[int(g.token_ids[-1, 0, 0])]) for trace, g in zip(singles, own, strict=True)
    ]
    curves = np.array([grid.watch[0].probability[:, 0] for grid in said])
    assert np.allclose(summary.curve[0], curves.mean(0), atol=1e-5)
    half = Z_95 * curves.std(0, ddof=1) / np.sqrt(len(curves))
    assert np.allclose(summary.curve[2] - summary.curve[0], half, atol=1e-5)
    heads = np.array([trace.attribution(by="heads").head_values for trace in singles])
    assert np.allclose(summary.heads[0], heads.mean(0), atol=1e-4)
    first = np.array([trace.attention(head="mean", keys=[0]).weights[:, 1:, 0].mean(1) for trace in singles])
    assert np.allclose(summary.first[0], first.mean(0), atol=1e-5)
    assert (out / "summary.html").read_text().startswith("<!doctype html>")
    assert "<h1>Batch summary</h1>" in (out / "summary.html").read_text()
    assert str(summary.figure().layout.title.text).count("<br>") == 1, "the model is named once"


def test_another_batch_is_not_mixed_into_a_folder(prompts, tiny_llama, tmp_path):
    asked = read_prompts(prompts)[:2]
    run_batch(plan(tiny_llama), asked, tmp_path / "out")
    with pytest.raises(iv.RequestError, match="there differ: prompts"):
        run_batch(plan(tiny_llama), asked[:1], tmp_path / "out")
    more = replace(plan(tiny_llama), max_new_tokens=3, views=("heatmap",))
    with pytest.raises(iv.RequestError, match="there differ: views, number of new tokens"):
        run_batch(more, asked, tmp_path / "out")
    (tmp_path / "out" / "plan.json").write_text("[" * 100_000)
    with pytest.raises(iv.RequestError, match=r"plan\.json cannot be read"):
        run_batch(plan(tiny_llama), asked, tmp_path / "out")


def test_a_slip_of_the_first_start_does_not_take_the_folder(prompts, tiny_llama, tmp_path):
    asked = read_prompts(prompts)[:2]
    with pytest.raises(iv.RequestError, match="max_new_tokens"):
        run_batch(replace(plan(tiny_llama), max_new_tokens=-1), asked, tmp_path / "out")
    assert run_batch(plan(tiny_llama), asked, tmp_path / "out").n_prompts == 2


def test_a_folder_that_cannot_be_written_to_is_refused(prompts, tiny_llama, tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/in/it"):
        with pytest.raises(iv.RequestError, match="out: expected a folder that can be written to"):
            run_batch(plan(tiny_llama), read_prompts(prompts), tmp_path / place)
    assert main(["batch", str(prompts), "--out", str(tmp_path / "file")]) == 2


def test_two_models_are_not_mixed_into_one_mean(prompts, tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_plan, "IN_PART", 1)
    asked, out = read_prompts(prompts)[:2], tmp_path / "out"
    run_batch(plan(tiny_llama), asked, out)
    (out / "parts" / "part-000001.parquet").unlink()
    left = out / "parts" / "part-000000.parquet"
    pq.write_table(pq.read_table(left).replace_schema_metadata({"model": "another"}), left)
    with pytest.raises(iv.RequestError, match="model: expected the model of the answers that are there, another"):
        run_batch(plan(tiny_llama), asked, out)
    assert len(list((out / "parts").glob("*.parquet"))) == 1, "nothing of the other model is left there"


def test_the_command_runs_at_a_service(prompts, service, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["batch", str(prompts), "--engine", service, "--model", "llama", "--out", str(out)]) == 0
    assert "7 prompts, 1 failed" in capsys.readouterr().out
    assert len(rows(out)) == 7


def test_a_text_may_hold_whatever_json_lets_it_hold(tmp_path):
    texts = ["a\u2028b", "a\x85b", "\u0000", "🙂é", " ", "x" * 100_000]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\ufeff" + "\r\n".join(json.dumps(text, ensure_ascii=False) for text in texts), newline="")
    assert [prompt.text for prompt in read_prompts(path)] == texts
    path.write_text('"whole"\n"\\ud83d half"')
    with pytest.raises(iv.RequestError, match="line 2: expected whole characters"):
        read_prompts(path)


@pytest.mark.parametrize("text", ["", "{", '{"text": "a"}', "3", '{"prompt": ""}'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "x").write_text(text)
    with pytest.raises(iv.RequestError, match=r"line 1|prompts"):
        read_prompts(tmp_path / "x")
