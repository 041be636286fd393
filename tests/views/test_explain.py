"""Where a token comes from: every number of the record against plain transformers and against edits of the trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.analysis.attribution import Direction, compute_reader
from intravisto_core.analysis.division import Moved
from intravisto_core.analysis.explanation import divide_heads_by_source, find_written_words
from intravisto_core.engine.dispatcher import Priority
from intravisto_core.engine.jobs.registry import kind_of
from intravisto_core.tracing import RunControl
from intravisto_core.tracing.value_constants import compute_value_constants
from intravisto_core.views.flow.shares import read_attention
from tests.inside import context_of
from tests.reference.families import LLAMA_PATHS, PATHS
from tests.tiny import CONFIGS

TARGET, CONTRAST, POSITION = 20, 41, 6
LITERAL = ("llama", "gpt2", "qwen2", "granite", "gemma2")
KINDS = ("Llama", "GPT-2", "Phi", "GPT-NeoX, parallel", "gpt-oss", "Mixtral", "OLMo-2", "Bloom")


def value_constant(plain, layer: int) -> np.ndarray:
    """W_V β_in + b_V of one layer, from the weights of the plain model; (Hkv·d_v,)."""
    block, d = plain.layers[layer], plain.config.hidden_size
    heads = plain.config.num_attention_heads
    if plain.kind == "gpt2":
        weight, bias, beta = block.attn.c_attn.weight[:, 2 * d :].T, block.attn.c_attn.bias[2 * d :], block.ln_1.bias
    elif plain.kind in ("gpt_neox", "bloom"):
        fused = block.get_submodule("attention" if plain.kind == "gpt_neox" else "self_attention").query_key_value
        weight = fused.weight.unflatten(0, (heads, 3, -1))[:, 2].flatten(0, 1)
        bias, beta = fused.bias.unflatten(0, (heads, 3, -1))[:, 2].flatten(), block.input_layernorm.bias
    else:
        proj, norm = block.self_attn.v_proj, getattr(block, "input_layernorm", None)
        weight, bias, beta = proj.weight, proj.bias, getattr(norm, "bias", None)
    out = torch.zeros(weight.shape[0], dtype=torch.float64)
    if beta is not None:
        out += weight.double() @ beta.double()
    if bias is not None:
        out += bias.double()
    return out.detach().numpy()


def brought(plain, layer: int, position: int) -> np.ndarray:
    """What every head brings to a position from each source, constants left out: (H, T, d), written out."""
    block, heads = plain.layers[layer], plain.config.num_attention_heads
    w_o = block.get_submodule(PATHS.get(plain.kind, LLAMA_PATHS)[2])
    weight = w_o.weight.detach().double().numpy()
    weight = (weight if plain.kind == "gpt2" else weight.T).reshape(heads, -1, plain.config.hidden_size)
    v, pattern = plain.sites["v"][layer].astype(np.float64), plain.patterns[layer].astype(np.float64)[:, position]
    c = value_constant(plain, layer).reshape(len(v), 1, -1)
    whole = np.einsum("hj,hjv,hvd->d", pattern, np.repeat(v, heads // len(v), 0), weight)
    parts = np.einsum("hj,hjv,hvd->hjd", pattern, np.repeat(v - c, heads // len(v), 0), weight)
    if plain.kind == "gemma2":
        gamma = block.post_attention_layernorm.weight.detach().double().numpy() + 1
        parts = gamma * parts / np.sqrt((whole**2).mean() + plain.config.rms_norm_eps)
    return parts * getattr(plain.config, "residual_multiplier", 1.0)


@pytest.mark.parametrize("name", LITERAL)
def test_words_and_rise_are_the_literal_reading(case, name):
    tiny = case(name)
    d, plain = tiny.decoder, tiny.plain
    final = tiny.run.sites["resid_post"][-1][POSITION].astype(np.float64)
    for contrast in (CONTRAST, None):
        found = tiny.trace.explain(TARGET, contrast, POSITION, tests=False)
        other = d.unembed[CONTRAST] if contrast else d.unembed.mean(0)
        along = d.gamma / d.sigma(final) * (d.unembed[TARGET] - other) * d.scale
        wanted = np.zeros(len(tiny.ids))
        for layer in range(d.n_layers):
            parts = brought(plain, layer, POSITION)
            wanted += np.abs((parts - parts.mean(-1, keepdims=True) if d.centred else parts) @ along).sum(0)
        np.testing.assert_allclose(found.source, wanted, rtol=2e-3, atol=1e-4)
        assert (found.source[POSITION + 1 :] == 0).all()
    assert found.rows["half"].tolist() == ["block", *["attention", "mlp"] * d.n_layers]
    for step, (row, half) in enumerate(zip(found.stream_row, found.stream_half, strict=True)):
        x = plain.sites["resid_mid"][row - 1][POSITION] if half == "attention" else tiny.cells.stream(row, POSITION)
        z = d.logits(d.normed(x.astype(np.float64), "final", final), "output", int(row))
        chance = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        assert found.stream_probability[step] == pytest.approx(chance[TARGET], rel=2e-3), (row, half)
        assert abs(found.rank[step] - (1 + (z > z[TARGET]).sum())) <= 1


@pytest.mark.parametrize("name", CONFIGS)
def test_every_family_adds_up(family, name):
    tiny = family(name)
    logits = tiny.trace.logits(POSITION).astype(np.float64)
    for contrast in (CONTRAST, None):
        found = tiny.trace.explain(TARGET, contrast, POSITION, tests=False)
        whole = tiny.trace.attribution(TARGET, contrast, POSITION, "heads")
        np.testing.assert_array_equal(found.part_value, whole.value)
        assert found.part_value.sum() + found.remainder == pytest.approx(found.logit)
        assert abs(found.remainder) <= 1e-4 * max(1.0, abs(found.logit))
        assert found.probability == pytest.approx(
            np.exp(logits - logits.max())[TARGET] / np.exp(logits - logits.max()).sum()
        )
        if contrast:
            assert found.lead == pytest.approx(logits[TARGET] - logits[CONTRAST], abs=1e-5)
        assert found.stream_probability[-1] == pytest.approx(found.probability, rel=1e-3)
        assert found.tests is None
        assert np.isnan(found.without).all()
        assert found.sentence.endswith("One prompt, so an anecdote.")


@pytest.mark.parametrize("name", KINDS)
def test_what_a_head_brings_and_its_constant_are_all_that_it_adds(family, name):
    tiny = family(name)
    context = context_of(tiny.engine, tiny.trace)
    model, data = context.model, context.data
    constants = compute_value_constants(model, data.ids[0])
    found = tiny.trace.attribution(TARGET, CONTRAST, POSITION, "heads")
    g = compute_reader(model, Direction.of(model, TARGET, CONTRAST), data.final[POSITION])
    for layer in range(model.dimensions.n_layers):
        np.testing.assert_allclose(constants[layer].flatten(), value_constant(tiny.plain, layer), atol=1e-5)
        _, what, _ = read_attention(context, layer, "value_weighted", torch.tensor([POSITION]))
        without = divide_heads_by_source(what, constants[layer], g)
        whole = divide_heads_by_source(what, torch.zeros_like(constants[layer]), g)
        value = found.value[(found.kind == "head") & (found.layer == layer)]
        np.testing.assert_allclose(whole.sum(1).numpy(), value, atol=2e-4)
        weights = what.weights[:, 0]
        moved = (whole - without) / weights.clamp(min=1e-9)
        seen = weights > 1e-6
        for head in range(len(weights)):
            each = moved[head][seen[head]]
            assert float(each.max() - each.min()) <= 1e-2 * float(each.abs().max()) + 1e-3, "one constant a head"


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Phi", "Mixtral", "OLMo-2", "gpt-oss"])
def test_a_test_is_the_edit_that_it_says(family, name):
    tiny = family(name)
    n_layers = tiny.engine.model.n_layers
    for contrast in (CONTRAST, None):
        found = tiny.trace.explain(TARGET, contrast, POSITION)
        tests = found.tests
        assert set(tests["kind"]) == {"head", "mlp", "word"}
        assert len(tests) == len(found.word_part) + POSITION
        for kind in ("head", "mlp", "word"):
            one = tests[tests["kind"] == kind].iloc[0]
            if kind == "word":
                edits = [iv.KnockOut(layer, (POSITION,), (int(one["index"]),)) for layer in range(n_layers)]
            elif kind == "head":
                edits = [iv.Ablate("z", int(one["layer"]), (POSITION,), head=int(one["index"]))]
            else:
                edits = [iv.Ablate("mlp_out", int(one["layer"]), (POSITION,))]
            edited = tiny.trace.edit(*edits)
            z = torch.from_numpy(edited.logits(POSITION)).double()
            after = float(z[TARGET] - z[CONTRAST] if contrast else z.softmax(-1)[TARGET])
            assert one["metric_after"] == pytest.approx(after, rel=1e-4, abs=1e-5), (kind, contrast)
            assert one["metric_before"] == pytest.approx(found.metric)
            edited.forget()
        assert 0 < found.noise < 1e-3
        assert np.isfinite(found.without).sum() == len(found.word_part)
        assert np.isfinite(found.hidden).sum() == POSITION


def test_the_tables_and_their_order(case):
    trace = case("llama").trace
    found = trace.explain("c", "d", POSITION)
    heads, parts, sources = found.heads, found.parts, found.sources
    assert list(found.rows) == ["row", "half", "rank", "probability"]
    assert list(parts) == ["kind", "layer", "index", "value", "without"]
    assert list(found.tests) == ["kind", "index", "layer", "metric_before", "metric_after"]
    assert heads["value"].is_monotonic_decreasing
    assert sources["contribution"].is_monotonic_decreasing
    assert sorted(sources["position"]) == list(range(1, POSITION)), "without position 0 and the last"
    assert [trace.tokens[p].shown for p in sources["position"]] == sources["token"].tolist()
    assert len(heads) == (parts["kind"] == "head").sum()
    largest = parts[parts["kind"].isin(["head", "mlp"])].sort_values("value", key=lambda v: -abs(v), kind="stable")
    assert largest.index[:10].tolist() == found.word_part.tolist()
    for layer, head, at, weight in heads[["layer", "head", "looks_at", "weight"]].itertuples(index=False):
        row = trace.pattern(layer, head)[POSITION].copy()
        row[0] = -1
        assert (at, weight) == (row.argmax(), pytest.approx(row.max(), abs=1e-6))


def test_positions_and_targets(case):
    trace = case("llama").trace
    default = trace.explain(tests=False)
    assert default.position == trace.prompt_length - 1
    assert default.target_id == trace.tokens[trace.prompt_length].id, "it says the first generated token"
    assert (default.contrast_id, default.contrast) == (-1, "")
    assert trace.explain(position=-1, tests=False).position == len(trace.tokens) - 1
    alone = trace.explain(position=0)
    assert len(alone.sources) == 0
    assert alone.source[0] >= 0
    assert (alone.looks_at == -1).all()
    assert set(alone.tests["kind"]) <= {"head", "mlp"}
    assert alone.sentence


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "c", "contrast": "c"}, "same"),
        ({"target": 10**6}, "token id"),
        ({"target": ""}, "token"),
        ({"position": 99}, "position"),
        ({"position": 1.5}, "position"),
        ({"tests": "maybe"}, "tests"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_cannot_be_asked_is_refused(case, options, said):
    with pytest.raises(iv.RequestError, match=said):
        case("llama").trace.explain(**options)


def test_an_edited_trace_is_explained_as_it_is(case):
    trace = case("llama").trace
    edit = iv.Ablate("mlp_out", 1, (POSITION,))
    edited = trace.edit(edit)
    found = edited.explain("c", "d", POSITION)
    z = edited.logits(POSITION)
    assert found.lead == pytest.approx(float(z[found.target_id]) - float(z[found.contrast_id]), abs=1e-5)
    head = found.tests[found.tests["kind"] == "head"].iloc[0]
    both = trace.edit(edit, iv.Ablate("z", int(head["layer"]), (POSITION,), head=int(head["index"])))
    w = both.logits(POSITION)
    wanted = float(w[found.target_id]) - float(w[found.contrast_id])
    assert head["metric_after"] == pytest.approx(wanted, abs=1e-4)


def test_a_head_that_an_edit_silenced_brings_nothing(case):
    trace = case("llama").trace
    edited = trace.edit(*(iv.Ablate("z", layer, (POSITION,)) for layer in range(trace.engine.model.n_layers)))
    assert edited.explain(TARGET, CONTRAST, POSITION, tests=False).source.sum() == 0


def test_tests_come_one_by_one_and_can_be_ended(case):
    tiny = case("llama")
    view = iv.ExplainView(tiny.trace.id, TARGET, CONTRAST, POSITION)
    work = kind_of(view).work(tiny.engine.kept_traces, view, "", RunControl())
    seen: list[iv.Progress] = []
    while len(seen) < 5:
        seen += [step for step in [next(work)] if step.partial is not None]
    with pytest.raises(iv.Cancelled):
        work.throw(iv.Cancelled("enough"))
    known = [len(step.partial.tests) for step in seen]
    assert known == list(range(5))
    assert [step.done for step in seen] == known
    assert seen[0].total == len(seen[0].partial.test_kind)


def test_a_card_goes_before_a_run_and_its_tests_do_not():
    assert kind_of(iv.ExplainView("id", tests=False)).priority is Priority.VIEW
    assert kind_of(iv.ExplainView("id")).priority is Priority.TRACE


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_words_are_told_by_angle(case, name):
    tiny = case(name)
    d, model = tiny.decoder, context_of(tiny.engine, tiny.trace).model
    u = d.gamma * (d.unembed - d.unembed.mean(0))
    u = u - u.mean(1, keepdims=True) if d.centred else u
    part = tiny.run.sites["mlp_out"][1][POSITION].astype(np.float64)
    centred = part - part.mean() if d.centred else part
    lengths = np.linalg.norm(u, axis=1)
    cosines = u @ centred / lengths
    context = context_of(tiny.engine, tiny.trace)
    found = find_written_words(
        model, torch.from_numpy(part)[None].float(), context.token_lengths().at(1.0), torch.tensor([TARGET]), 5
    )
    assert found.up[0].tolist() == np.argsort(-cosines)[:5].tolist()
    assert found.down[0].tolist() == np.argsort(cosines)[:5].tolist()
    assert int(found.rank_up[0]) == 1 + (cosines > cosines[TARGET]).sum()
    assert int(found.rank_down[0]) == 1 + (cosines < cosines[TARGET]).sum()


def test_two_heads_and_two_words_by_hand():
    """One query, two heads of one value each; W_O writes head 0 to dimension 0 and head 1 to dimension 1."""
    weights = torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]]])
    v = torch.tensor([[[3.0], [5.0]], [[2.0], [-1.0]]])
    w_o = torch.zeros(2, 2, 1)
    w_o[0, 0], w_o[1, 1] = 1.0, 2.0
    nothing = torch.zeros(1, 2)
    moved = Moved(weights, v, w_o, None, 2.0, nothing, nothing)
    found = divide_heads_by_source(moved, torch.tensor([[1.0], [0.0]]), torch.tensor([1.0, 10.0]))
    # head 0: 2 · ½ · (v − 1); head 1: 2 · 10 · 2 · p · v
    assert found.tolist() == [[2.0, 4.0], [20.0, -30.0]]


def test_half_precision_has_a_floor_of_its_own(tiny_folder):
    engine = iv.open_model(str(tiny_folder("llama")), dtype="bfloat16")
    found = engine.trace("abcdefgh", max_new_tokens=1).explain("c", "d")
    assert np.isfinite(found.tests["metric_after"]).all()
    z = max(abs(float(v)) for v in engine.trace("abcdefgh").logits()[[found.target_id, found.contrast_id]])
    assert found.noise >= 2 * 2.0**-7 * 2 ** np.floor(np.log2(z))
    engine.close()
