"""Claims tested over prompts: every effect against the same edit on its own, controls, the null, and the record."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.analysis.evidence import judge
from intravisto_core.engine.jobs.evidence import run_evidence
from intravisto_core.experiments.controls import draw_parts, draw_positions, nudge_edits, shuffle_prompt, turn_edits
from intravisto_core.figures.web.evidence_payload import evidence_data
from intravisto_core.progress import Progress, finish_turns, relay_turns
from intravisto_core.sites import ControlKind, Site, Verdict
from intravisto_core.traces.edit_batches import bind_text, list_sites, run_edited_rows, run_texts
from intravisto_core.tracing import RunControl

COUNTRIES = ["Italy", "France", "Spain", "Germany", "Japan", "Egypt", "Greece", "Norway", "Poland", "Austria"]
PROMPTS = [f"The capital of {country} is" for country in COUNTRIES]
CAPITALS = ["Rome", "Paris", "Madrid", "Berlin", "Tokyo", "Cairo", "Athens", "Oslo", "Warsaw", "Vienna"]
HIDE_COUNTRY = tuple(iv.KnockOut(layer, -1, -2) for layer in range(6))
FAMILIES = ("Llama", "GPT-2", "GPT-NeoX, parallel", "Gemma-2", "Qwen3-MoE", "Bloom", "gpt-oss", "Falcon, new decoder")


@pytest.fixture(scope="module")
def demo():
    engine = iv.open_model("demo")
    yield engine
    engine.close()


def edits_of(name: str) -> list[tuple]:
    """One of each kind, at several places."""
    parallel, experts = "parallel" in name or "Falcon" in name, "MoE" in name or "oss" in name
    found = [
        (iv.Scale("z", 1, -1, head=2, factor=-2.0),),
        (iv.Ablate("attn_out", 0, [-3, -1]),),
        (iv.Scale("mlp_out", 1, -2, factor=3.0), iv.KnockOut(1, -1, [1, 3], 1)),
        (iv.KnockOut(0, [-2, -1], -4), iv.KnockOut(1, [-2, -1], -4)),
        (iv.Scale("resid_pre", 0, 0, factor=2.0),),
        (iv.Scale("resid_post", -1, -1, factor=2.0),),
        (iv.FreezePattern(1), iv.Scale("resid_pre", 1, -3, factor=2.0)),
        (iv.Scale("act", 1, -2, neuron=(1, 3) if experts else 3, factor=20.0),),
    ]
    return found if parallel else [*found, (iv.Scale("resid_mid", 1, -1, factor=-1.0),)]


def run_rows(engine: iv.LocalEngine, ids: tuple[int, ...], edits: list[tuple], position: int) -> torch.Tensor:
    traces, control = engine.kept_traces, RunControl()
    with torch.no_grad():
        (base,) = finish_turns(run_texts(traces, [ids], list_sites([e for each in edits for e in each]), control))
        bound = [finish_turns(bind_text(traces, each, base, "", control)) for each in edits]
        return finish_turns(run_edited_rows(traces.model, base, bound, position, control))


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_of_a_batch_are_the_edits_on_their_own(family, name):
    own = family(name)
    trace = own.engine.trace(own.prompt)
    edits = edits_of(name)
    found = run_rows(own.engine, own.prompt, edits, len(own.prompt) - 1)
    for each, row in zip(edits, found, strict=True):
        alone = trace.edit(*each).activation("resid_post", -1)[-1]
        np.testing.assert_allclose(row.float().numpy(), alone, atol=2e-5 * np.abs(alone).max(), err_msg=str(each))


def test_texts_of_a_batch_are_the_runs_alone(case):
    engine = case("llama").engine
    texts = [tuple(t.id for t in engine.tokenize(text)) for text in ("ab c", "d~ab!ab", "x")]
    with torch.no_grad():
        found = finish_turns(run_texts(engine.kept_traces, texts, (Site.RESID_PRE, Site.K, Site.V), RunControl()))
    for ids, data in zip(texts, found, strict=True):
        assert data.ids == ids
        np.testing.assert_allclose(data.final, engine.trace(ids).activation("resid_post", -1), atol=1e-5)


def test_a_planted_claim_is_supported_and_every_number_is_that_of_the_edit_alone(demo):
    """The country is hidden from the last position in all layers: the model cannot know the capital."""
    trace = demo.trace(PROMPTS[0])
    found = trace.test(iv.Claim(HIDE_COUNTRY, [f" {c}" for c in CAPITALS], effect="lowers"), PROMPTS)
    assert found.verdict is Verdict.SUPPORTED, found.sentence
    assert found.verdict == "supported"
    assert (found.n, found.n_new, found.missing) == (10, 9, ())
    assert found.kinds == (ControlKind.POSITION, ControlKind.PROMPT)
    assert [kind for kind, _ in found.left_out] == [ControlKind.PART, ControlKind.DIRECTION]
    assert found.interval[0] > 0
    assert found.mean_effect > found.noise_floor
    for i in (0, 3):
        own = demo.trace(PROMPTS[i])
        edited = own.edit(*HIDE_COUNTRY)
        compared = own.compare(edited, int(found.target_ids[i]), int(found.contrast_ids[i]))
        assert compared.logit_difference[-1] == pytest.approx(found.metrics[i], abs=1e-4)
        change = compared.edited_logit_difference[-1] - compared.logit_difference[-1]
        assert change == pytest.approx(found.effects[i], abs=1e-4)
        place = int(str(found.drawn[i, 0, 0]).split()[1])
        moved = own.edit(*(iv.KnockOut(layer, -1, place) for layer in range(6)))
        compared = own.compare(moved, int(found.target_ids[i]), int(found.contrast_ids[i]))
        change = compared.edited_logit_difference[-1] - compared.logit_difference[-1]
        assert change == pytest.approx(found.draws[i, 0, 0], abs=1e-4)
    assert iv.from_json(found.claim) == iv.Claim(HIDE_COUNTRY, [f" {c}" for c in CAPITALS], effect="lowers")
    again = trace.test(iv.Claim(HIDE_COUNTRY, [f" {c}" for c in CAPITALS], effect="lowers"), PROMPTS, seed=1)
    assert again.verdict is Verdict.SUPPORTED
    assert (again.drawn != found.drawn).any()
    wrong_way = trace.test(iv.Claim(HIDE_COUNTRY, effect="raises"), PROMPTS, "position")
    assert wrong_way.verdict is Verdict.NOT_DISTINGUISHABLE


def test_of_claims_whose_place_is_drawn_anew_for_each_prompt_few_are_supported(demo):
    """200 claims: in each prompt the place follows the law of a control. Two kinds: positions, and heads."""
    model, control = demo.kept_traces.model, RunControl()
    texts = [tuple(t.id for t in demo.tokenize(prompt)) for prompt in PROMPTS]
    n = len(texts[0])
    places = [(layer, p) for layer in range(6) for p in range(1, n)]
    edits = [(iv.Ablate("attn_out", layer, p),) for layer, p in places]
    heads = [(layer, head) for layer in range(6) for head in range(4)]
    edits += [(iv.Ablate("z", layer, -1, head=head),) for layer, head in heads]
    moved = []
    for ids in texts:
        finals = run_rows(demo, ids, [*edits, (iv.Scale("z", 0, -1, factor=1.0),)], n - 1)
        z = model.logits(finals).double()
        first, second = z[-1].topk(2).indices.tolist()
        lead = (z[:, first] - z[:, second]).numpy()
        moved.append(lead[:-1] - lead[-1])
    assert control is not None
    effects, supported = np.array(moved), []
    rng = np.random.default_rng(0)
    for number in range(200):
        layer, by_head = int(rng.integers(6)), number % 2
        pool = [i for i, (there, _) in enumerate(heads) if there == layer] if by_head else None
        offset = len(places) if by_head else 0
        pool = pool if pool is not None else [i for i, (there, _) in enumerate(places) if there == layer]
        drawn = np.array([rng.permutation(pool)[:6] for _ in texts]) + offset
        values = np.take_along_axis(effects, drawn, 1)
        sign = np.sign(values[0, 0]) or 1.0
        found = judge(sign * values[:, 0], values[:, None, 1:], 1e-4, number)
        supported.append(found.verdict is Verdict.SUPPORTED)
    assert sum(supported) <= 10, "5 % of 200"


def test_a_judgement_by_hand():
    """k* is the kind of largest mean, d is less its mean in the same prompt, the rank counts draws of k* alone."""
    moved = np.array([1.0, 3.0, -0.5])
    draws = np.array([[[0.2, -0.4], [-0.5, np.nan]], [[0.1, 0.1], [2.0, -4.0]], [[0.0, 0.3], [0.5, 0.7]]])
    found = judge(moved, draws, 0.1)
    assert found.control == 1
    np.testing.assert_allclose(found.differences, [1.0 - 0.5, 3.0 - 3.0, -0.5 - 0.6])
    assert found.rank == pytest.approx((1 + 1 + 2) / (1 + 5)), "one draw of the second prompt, both of the third"
    assert found.verdict is Verdict.NOT_DISTINGUISHABLE
    assert np.isnan(judge(moved[:1], draws[:1], 0.1).interval).all()


def test_the_interval_is_that_of_scipy_and_chooses_the_control_anew():
    from scipy.stats import bootstrap

    rng = np.random.default_rng(1)
    moved, draws = rng.normal(2, 1, 12), rng.normal(0, 1, (12, 1, 5))
    found = judge(moved, draws, 0.0)
    theirs = bootstrap((found.differences,), np.mean, n_resamples=10_000, method="percentile", rng=2)
    np.testing.assert_allclose(found.interval, theirs.confidence_interval, atol=0.04)
    # two kinds, each strong in half of the prompts: whichever a resample finds stronger is taken away
    half = np.where(np.arange(12)[:, None, None] % 2 == np.arange(2)[None, :, None], 3.0, 0.0)
    low, high = judge(np.full(12, 2.0), half, 0.0).interval
    assert high == pytest.approx(0.5), "with as many of both kinds a mean of 1.5 is taken away, never less"
    assert low < 0.5


def test_controls_are_other_places_each_once():
    rng, show = np.random.default_rng(0), str
    found = draw_positions((iv.Ablate("mlp_out", 1, -2),), 9, 7, 5, rng, show)
    places = [each.edit[0].positions[0] for each in found]
    assert len(set(places)) == 5
    assert set(places) <= {1, 2, 3, 4, 5, 6}, "not its own, not position 0, none after the metric"
    few = draw_positions((iv.Ablate("mlp_out", 1, -2),), 4, 3, 5, rng, show)
    assert sorted(each.edit[0].positions[0] for each in few) == [1, 3], "all that there are"
    cut = draw_positions((iv.KnockOut(0, -1, [2, 3]), iv.KnockOut(1, -1, [2])), 9, 8, 5, rng, show)
    for each in cut:
        assert each.edit[0].queries == (-1,)
        assert not set(each.edit[0].keys) & {0, 2, 3}
        assert each.edit[1].keys[0] == each.edit[0].keys[0], "one move for all edits"


def test_controls_of_heads_are_other_heads_of_the_layer(case):
    model = case("llama").engine.kept_traces.model
    rng = np.random.default_rng(0)
    found = draw_parts(model, (iv.Ablate("z", 1, -1, head=2),), 5, rng)
    assert sorted(each.edit[0].head for each in found) == [0, 1, 3], "all that there are"
    pair = draw_parts(model, (iv.KnockOut(0, -1, 1, [0, 1]), iv.Ablate("z", 2, -1, head=0)), 5, rng)
    assert all(set(each.edit[0].heads) == {2, 3} and each.edit[1].head != 0 for each in pair)
    neurons = draw_parts(model, (iv.Ablate("act", 1, -1, neuron=3),), 5, rng)
    assert len({each.edit[0].neuron for each in neurons} - {3}) == 5


def test_a_shuffled_prompt_keeps_its_special_tokens():
    found = shuffle_prompt((1, 5, 6, 7, 8, 2), frozenset({1, 2}), 5, np.random.default_rng(0))
    assert len(set(found)) == 5
    for ids in found:
        assert (ids[0], ids[-1]) == (1, 2)
        assert sorted(ids) == [1, 2, 5, 6, 7, 8]
        assert ids != (1, 5, 6, 7, 8, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_nudge_is_one_step_of_the_dtype_and_a_turned_edit_as_long_as_the_edit(case, dtype):
    own = case("llama")
    traces = own.engine.kept_traces
    edit = (iv.Scale("z", 1, [2, 4], head=1, factor=3.0),)
    with torch.no_grad():
        (base,) = finish_turns(run_texts(traces, [own.ids], list_sites(edit), RunControl()))
        edits = finish_turns(bind_text(traces, edit, base, "", RunControl()))
    old = torch.tensor([[1.1, -1.5, 0.0, 100.0, 0.007, -3e-3]] * 2, dtype=dtype)
    (site,) = nudge_edits(traces.model, edits, 3).sites
    assert (site.site, site.layer, site.places, site.columns) == (Site.Z, 1, (2, 4), slice(8, 16))
    new = site.change(old, [2, 4]).to(dtype)
    ways = [torch.nextafter(old.float(), torch.full_like(old.float(), w)) for w in (np.inf, -np.inf)]
    step = (new.double() - old.double()).abs()
    assert ((step > 0) | (old == 0)).all()
    assert (step <= 2 * torch.finfo(dtype).eps * old.double().abs()).logical_or(old == 0).all()
    if dtype is torch.float32:
        assert ((new == ways[0]) | (new == ways[1]) | (old == 0)).all()
    (turned,) = turn_edits(edits, 3).sites
    change = turned.change(old.float(), [2, 4]) - old.float()
    np.testing.assert_allclose(change.norm(dim=-1), 2 * old.float().norm(dim=-1), rtol=1e-5)


def test_the_discovery_prompt_counts_only_where_it_is_listed(demo):
    trace, edit = demo.trace(PROMPTS[0]), iv.Ablate("mlp_out", 5, -1)
    alone = trace.test(iv.Claim(edit))
    assert (alone.n, alone.n_new, alone.verdict) == (1, 0, "n = 1: an anecdote")
    assert "anecdote" in alone.sentence
    assert np.isnan(alone.interval).all()
    others = trace.test(iv.Claim(edit), PROMPTS[1:3], "direction")
    assert (others.n, others.n_new) == (2, 2)
    assert others.own_effect == pytest.approx(alone.effects[0])
    assert others.effect == ("lowers" if alone.effects[0] < 0 else "raises")
    assert not others.effect_was_given
    assert others.verdict is Verdict.NOT_DISTINGUISHABLE
    assert "at least 8 prompts" in others.missing[0]


def test_default_targets_are_each_prompts_own(demo):
    found = demo.trace(PROMPTS[0]).test(iv.Claim(iv.Ablate("mlp_out", 5, -1)), PROMPTS[:3], "direction")
    for prompt, target, contrast in zip(PROMPTS, found.target_ids, found.contrast_ids, strict=False):
        top = demo.trace(prompt).next_tokens(n=2).token_ids
        assert (target, contrast) == tuple(top)
    assert found.targets == ("␣Rome", "␣Paris", "␣Madrid")


REFUSED = [
    (lambda t: iv.Claim(iv.Patch("resid_pre", 1, -1, source=t)), {}, "takes its values from one trace"),
    (lambda t: iv.Claim(iv.Apply("resid_pre", 1, -1, fn=lambda x: x)), {}, "a function"),
    (lambda t: iv.Claim(()), {}, "edit"),
    (lambda t: iv.Claim(iv.Ablate("mlp_out", 1, iv.Generated(0))), {}, "generated step"),
    (lambda t: iv.Claim(iv.Ablate("mlp_out", 1, 3)), {"prompts": [PROMPTS[1], "The capital"]}, "counted from"),
    (lambda t: iv.Claim(iv.Ablate("mlp_out", 1, -1), position=3), {"prompts": ["The capital"]}, "counted from"),
    (lambda t: iv.Claim(iv.Ablate("mlp_out", 1, -1), [" Rome"]), {"prompts": PROMPTS[:2]}, "target"),
    (lambda t: iv.Claim(iv.Ablate("mlp_out", 1, -1)), {"prompts": [PROMPTS[0]] * 2}, "every prompt once"),
    (lambda t: iv.Claim(iv.Ablate("mlp_out", 1, -1)), {"draws": 4}, "draws"),
    (lambda t: iv.Claim(iv.Ablate("mlp_out", 1, -1)), {"controls": "part"}, "no single head"),
    (lambda t: iv.Claim(iv.Ablate("mlp_out", 1, -1)), {"controls": ["luck"]}, "controls"),
    (lambda t: iv.Claim(iv.Ablate("mlp_out", 9, -1)), {}, "layer"),
    (lambda t: iv.Claim(iv.FreezePattern(1)), {}, "changes something"),
]


@pytest.mark.parametrize(("make", "options", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_what_cannot_be_tested_is_refused(demo, make, options, words):
    trace = demo.trace(PROMPTS[0])
    with pytest.raises(iv.RequestError, match=words):
        trace.test(make(trace), **options)


def test_an_edited_trace_is_refused(demo):
    edited = demo.trace(PROMPTS[0]).edit(iv.Ablate("mlp_out", 1, -1))
    with pytest.raises(iv.RequestError, match="baseline"):
        edited.test(iv.Claim(iv.Ablate("mlp_out", 1, -1)))


def test_a_claim_in_bfloat16_has_a_floor_of_steps(case, tiny_llama):
    engine = iv.open_model(str(tiny_llama), dtype="bfloat16")
    found = engine.trace("ab c").test(iv.Claim(iv.Ablate("z", 1, -1, head=0)), ["ab c", "ba d"])
    exact = case("llama").engine.trace("ab c").test(iv.Claim(iv.Ablate("z", 1, -1, head=0)), ["ab c", "ba d"])
    assert found.noise_floor > 1000 * exact.noise_floor > 0
    engine.close()


@pytest.mark.parametrize("prompts", [PROMPTS[:4], [*PROMPTS[1:3], PROMPTS[0], PROMPTS[4]], PROMPTS[1:4]])
def test_what_is_there_by_now_grows_prompt_by_prompt_and_is_final(demo, prompts):
    """The discovery prompt is run first, listed or not: without it the claim has no way."""
    trace = demo.trace(PROMPTS[0])
    view = iv.EvidenceView(trace.id, iv.Claim(iv.Ablate("mlp_out", 5, -1)), prompts, "direction")
    parts: list[iv.Evidence] = []

    def note(told: Progress) -> None:
        if told.partial is not None and all(told.partial is not part for part in parts):
            parts.append(told.partial)

    with torch.no_grad():
        whole = finish_turns(relay_turns(run_evidence(demo.kept_traces, view, trace.session, RunControl()), note))
    assert [part.n for part in parts] == list(range(1, len(prompts)))
    for part in parts:
        at = [whole.prompts.index(prompt) for prompt in part.prompts]
        assert at == sorted(at)
        assert part.effect == whole.effect
        np.testing.assert_array_equal(part.effects, whole.effects[at])
        np.testing.assert_array_equal(part.draws, whole.draws[at])
    assert whole.n == len(prompts)
    shown = evidence_data(parts[-1], progress={"done": 3, "total": 4})
    assert (shown["verdict"], shown["kind"]) == ("No verdict yet", "open")
    assert not any("distinguishable" in line or "supported" in line for line in shown["said"])
    assert any("distinguishable" in line for line in evidence_data(whole)["said"])
