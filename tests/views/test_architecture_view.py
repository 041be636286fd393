"""The modules of an engine's model, over the text of a trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from tests import tiny


def test_the_architecture_of_a_trace_has_tree_flow_run_and_what_layers_say(case) -> None:
    found = case("llama").trace.architecture()
    trace = case("llama").trace
    assert found.model == case("llama").engine.model.name
    assert found.run.n_tokens == len(trace.tokens)
    assert found.run.tokens == tuple(t.shown for t in trace.tokens)
    assert list(found.says) == [f"model.layers.{i}" for i in range(3)]
    grid = trace.heatmap(top_k=1)
    shown = [grid.shown[i] for i in grid.token_ids[2, :, 0].tolist()]
    assert [token for token, _ in found.says["model.layers.1"]] == shown
    sizes = {out.path: out.values[0] for out in found.outputs}
    norms = np.linalg.norm(trace.activation("resid_post", layer=1), axis=-1)
    assert np.allclose(sizes["model.layers.1"], norms, rtol=1e-5)


def test_blocks_are_measured_and_leave_nothing_behind(case) -> None:
    trace = case("llama").trace
    block = iv.ModuleBlock("model.layers.1.mlp:input", "summary")
    assert (block.path, block.what) == ("model.layers.1.mlp", "input")
    found = {(o.path, o.statistic): o for o in trace.architecture(blocks=[block]).outputs}
    one = found["model.layers.1.mlp", "summary"]
    assert one.trace == trace.id
    alone = trace.view(iv.ModuleOutputView(trace.id, "model.layers.-2.mlp", "input", "summary"))
    assert np.allclose(alone.values, one.values)
    assert {o.statistic for o in trace.architecture(says=False).outputs} == {"size"}
    network = case("llama").engine.kept_traces.model.network
    assert not any(m._forward_pre_hooks for m in network.model.layers[1].mlp.modules())


def test_an_output_equals_the_activation_of_the_trace(case) -> None:
    trace = case("llama").trace
    found = trace.view(iv.ModuleOutputView(trace.id, "model.layers.1.mlp", statistic="matrix"))
    assert np.allclose(found.values[0], trace.activation("mlp_out", layer=1), atol=1e-5)


def test_vectors_are_read_by_the_lens_and_attention_is_that_of_the_trace(case) -> None:
    trace = case("llama").trace
    read = trace.view(iv.ModuleOutputView(trace.id, "model.layers.1", statistic="tokens"))
    grid = trace.heatmap(rows=iv.Span(2, 3), top_k=5)
    assert (read.first, read.token_ids.shape) == (0, (len(trace.tokens), 5))
    assert np.array_equal(read.token_ids[:, 0], grid.token_ids[0, :, 0])
    assert np.allclose(read.values, grid.probabilities[0], atol=1e-5)
    assert read.shown[int(read.token_ids[0, 0])] == grid.shown[int(grid.token_ids[0, 0, 0])]
    scores = trace.view(iv.ModuleOutputView(trace.id, "lm_head", statistic="tokens"))
    assert scores.values.shape == (1, 5)  # of the last position alone
    looks = trace.view(iv.ModuleOutputView(trace.id, "model.layers.2.self_attn", statistic="attention"))
    assert np.allclose(looks.values, trace.attention(2).weights, atol=1e-5)
    assert len(read.frame()) == read.values.size
    assert list(looks.frame().columns) == ["path", "head", "query", "key", "value"]
    assert read.figure().data
    with pytest.raises(iv.RequestError, match="as wide as the stream"):
        trace.view(iv.ModuleOutputView(trace.id, "model.layers.1.mlp.up_proj", statistic="tokens"))
    with pytest.raises(iv.RequestError, match="gives its attention weights"):
        trace.view(iv.ModuleOutputView(trace.id, "model.layers.1.mlp", statistic="attention"))


def test_what_is_watched_follows_every_token_and_changes_nothing(case) -> None:
    engine = case("llama").engine
    request = iv.TraceRequest(tiny.PROMPT, iv.Generation(4))
    with engine.hook() as hooks:
        sizes = hooks.watch(iv.ModuleBlock("model.layers", "size"))
        tokens = hooks.watch(iv.ModuleBlock("model.layers.-1", "tokens"))
        looks = hooks.watch(iv.ModuleBlock("model.layers.0.self_attn", "attention"))
        given = hooks.watch(iv.ModuleBlock("model.layers.1.mlp:input", "summary"))
        wrong = hooks.watch(iv.ModuleBlock("model.norm", "attention"))
        with pytest.raises(iv.RequestError, match="nearest"):
            hooks.watch(iv.ModuleBlock("model.layer"))
        job = engine.submit(request)
    trace = job.result()
    assert trace.fingerprint == engine.submit(request).result().fingerprint
    assert [watch.calls for watch in (sizes, tokens, looks, given, wrong)] == [5, 5, 5, 5, 0]
    assert "gives its attention weights" in wrong.refused
    assert [found.path for found in sizes.outputs] == [f"model.layers.{i}" for i in range(3)]
    for layer, found in enumerate(sizes.outputs):
        norms = np.linalg.norm(trace.activation("resid_post", layer=layer), axis=-1)
        assert np.allclose(found.values[0], norms, rtol=1e-4)
    (read,) = tokens.outputs
    assert np.array_equal(read.token_ids[:, 0], trace.heatmap(rows=iv.Span(3, 4), top_k=1).token_ids[0, :, 0])
    # all else is of the newest call alone
    assert np.allclose(looks.outputs[0].values, trace.attention(0, queries=[-1]).weights, atol=1e-5)
    assert given.outputs[0].shape[:2] == (1, 1)
    network = engine.kept_traces.model.network
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in network.model.layers[1].mlp.modules())


def test_an_edited_trace_answers_of_what_it_kept(case) -> None:
    trace = case("llama").trace
    edited = trace.edit(iv.Ablate("mlp_out", 1, "all"))
    with pytest.raises(iv.RequestError, match="module that this edited trace kept"):
        edited.view(iv.ModuleOutputView(edited.id, "model.layers.1"))
    assert "without the edits" in edited.architecture().notes[0]
    edited.forget()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"path": "model.layer.1"}, "The nearest"),
        ({"path": "model", "statistic": "median"}, "statistic: expected one of"),
        ({"path": "model", "x": 1}, "x: expected None, but for a matrix"),
        ({"path": "model.norm", "statistic": "matrix", "x": 7}, "different dimensions"),
    ],
)
def test_wrong_questions_are_refused(case, wrong: dict, message: str) -> None:
    trace = case("llama").trace
    with pytest.raises(iv.RequestError, match=message):
        trace.view(iv.ModuleOutputView(trace.id, **wrong))


def test_the_engines_inspector_runs_in_turn(case) -> None:
    engine = case("llama").engine
    inspector = engine.inspector
    assert inspector is engine.inspector
    assert inspector.node("model.layers.-1") is engine.kept_traces.model.network.model.layers[2]
    with inspector.hook() as hook:
        hook.post("model.norm", lambda module, input, output: output * 0)
        logits = inspector.forward_text("ab").logits
        # runs that others ask the engine for meanwhile are as they were
        beside = engine.trace("ab").logits()
    assert torch.all(logits == 0)
    assert np.abs(beside).max() > 0
    assert inspector.run.tokens == ("<bos>", "a", "b")
    again = engine.trace("ab")
    assert np.abs(again.logits()).max() > 0
    assert iv.compare_trees(engine, engine).different == ()
    again.forget()


@pytest.mark.parametrize("name", ["Bloom", "GPT-Neo", "GPT-J", "Gemma-2", "OPT", "Mixtral"])
def test_families_of_other_kinds_are_drawn(family, name: str) -> None:
    found = family(name).trace.architecture()
    assert found.run.failed_at is None
    for scope, (nodes, links) in found.flow.scopes.items():
        joined = {link.source for link in links} | {link.target for link in links}
        lonely = [n.name for n in nodes if n.kind == "module" and n.name not in joined]
        assert lonely == [], scope


def test_a_saved_run_answers_it_without_the_model(case, tmp_path) -> None:
    trace = case("llama").trace
    found = trace.architecture()
    saved = iv.open_trace(trace.save(tmp_path / "run.intravisto", views=[iv.ArchitectureView(trace.id)]))
    again = saved.architecture()
    assert (again.tree, again.run, again.flow, again.says) == (found.tree, found.run, found.flow, found.says)
    assert np.array_equal(again.outputs[0].values, found.outputs[0].values)
