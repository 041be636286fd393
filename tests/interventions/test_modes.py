"""Exact no-ops, held and free text, order, transplants, and what a run says of itself."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv
from tests.inside import entry_of

SITES = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post", "q", "k", "v", "z", "act", "pattern")


def no_ops(trace: iv.Trace) -> list:
    current = trace.activation("mlp_out", 1)
    return [
        iv.Scale("resid_pre", 0, "all", factor=1.0),
        iv.Scale("attn_out", 1, "all", factor=1.0),
        iv.Steer("resid_mid", 1, "prompt", direction="a", strength=0.0),
        iv.Patch("z", 2, "all", source=trace),
        iv.SetValue("mlp_out", 1, "all", value=current),
        iv.Patch("act", 0, "all", neuron=3, source=trace),
        iv.Scale("resid_post", 2, "all", factor=1.0),
        iv.FreezePattern(1),
        iv.KnockOut(0, [2, 3], [5, 6]),
    ]


def test_an_edit_of_nothing_is_refused(case):
    trace = case("llama").trace
    with pytest.raises(iv.RequestError, match="edit: expected at least one intervention"):
        trace.edit()
    edited = trace.edit(iv.Ablate("mlp_out", 1, "all"))
    assert edited.edit(text="free").interventions == edited.interventions


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "granite"])
def test_doing_nothing_changes_no_bit(case, family):
    """All no-ops at once: a full run on the same kernels, so every site of every layer is the same to the bit."""
    trace = case(family).trace
    for text in ("held", "free"):
        same = trace.edit(*no_ops(trace), text=text)
        assert entry_of(same).reused is None
        assert same.text == trace.text
        assert np.array_equal(same.logits(), trace.logits())
        for site in SITES:
            for layer in range(3):
                assert np.array_equal(same.activation(site, layer), trace.activation(site, layer)), (site, layer)
    later = trace.edit(iv.Patch("mlp_out", 2, -1, source=trace))
    assert entry_of(later).reused is None
    assert np.array_equal(later.logits(), trace.logits())
    record = trace.compare(same)
    assert record.exact
    assert set(record.noise.values()) == {0.0}
    assert record.kl.max() == 0


def test_only_changed_elements_are_written_back(tiny_folder):
    """Granite multiplies what it adds: in bfloat16 a value that went there and back would be rounded."""
    engine = iv.open_model(str(tiny_folder("granite")), dtype="bfloat16", device_map="cpu")
    trace = engine.trace("ab c!ab d~ab")
    same = trace.edit(iv.Scale("attn_out", 0, "all", factor=1.0), iv.Patch("mlp_out", 1, "all", source=trace))
    assert np.array_equal(same.activation("resid_post", 2), trace.activation("resid_post", 2))
    new = np.full(32, 2.0)
    new[5:] = trace.activation("attn_out", 1)[-1][5:]
    changed = trace.edit(iv.SetValue("attn_out", 1, -1, value=new)).activation("attn_out", 1)[-1]
    assert np.array_equal(changed[5:], trace.activation("attn_out", 1)[-1][5:])
    assert np.allclose(changed[:5], 2.0, rtol=1e-2)
    engine.close()


def test_edits_at_one_site_run_in_the_order_given(case):
    trace = case("llama").trace
    old = trace.activation("mlp_out", 1)[-1]
    at = {"site": "mlp_out", "layer": 1, "positions": len(trace.tokens) - 1}
    add, double = iv.Steer(**at, direction=np.eye(32)[0], strength=1.0, unit="absolute"), iv.Scale(**at, factor=2.0)
    one, other = (trace.edit(*edits).activation("mlp_out", 1)[-1] for edits in ((add, double), (double, add)))
    assert np.allclose(one, 2 * (old + np.eye(32)[0]), atol=1e-5)
    assert np.allclose(other, 2 * old + np.eye(32)[0], atol=1e-5)


def test_edits_at_several_sites_run_in_the_order_of_the_forward_pass(case):
    """However they are listed; the later one sees what the earlier one did."""
    trace = case("llama").trace
    first, second = iv.Scale("attn_out", 0, 4, factor=-2.0), iv.Scale("resid_post", 0, 4, factor=0.5)
    one, other = trace.edit(first, second), trace.edit(second, first)
    assert np.array_equal(one.activation("resid_post", 2), other.activation("resid_post", 2))
    alone = trace.edit(first).activation("resid_post", 0)[4]
    assert np.allclose(one.activation("resid_post", 0)[4], 0.5 * alone, atol=1e-6)


def test_held_text_stays_and_free_text_goes_its_way(case):
    tiny = case("llama")
    edit = iv.Replace("resid_post", 1, -1, token="z", match_norm=False)
    held, free = (tiny.trace.edit(edit, text=text) for text in ("held", "free"))
    assert [t.id for t in held.tokens] == list(tiny.ids)
    assert (held.mode, free.mode, tiny.trace.mode) == ("held", "free", None)
    assert free.text != tiny.trace.text
    record = tiny.trace.compare(free)
    at = next(i for i, t in enumerate(free.tokens) if t.id != tiny.ids[i])
    assert (record.differs_at, record.n_compared) == (at, at)
    assert record.edited_text == free.text
    blank = record.positions >= at
    for cells in (record.grid_kl, record.grid_distance, record.grid_difference):
        assert np.isnan(cells[:, blank]).all()
        assert np.isfinite(cells[:, ~blank]).all()
    assert (record.grid_ids[:, blank] == -1).all()
    assert (record.grid_ids[:, ~blank] >= 0).all()
    # The last compared position is the one that says the first differing token.
    assert int(record.edited_top_ids[-1]) == free.tokens[at].id != int(record.top_ids[-1]) == tiny.ids[at]
    assert any("texts differ" in note for note in record.notes)


def test_sampled_text_draws_by_seed_and_step(case):
    engine = case("llama").engine
    trace = engine.trace("ab c!", max_new_tokens=6, temperature=1.0, seed=3)
    again = trace.edit(iv.Scale("mlp_out", 0, "all", factor=1.0), text="free")
    assert [t.id for t in again.tokens] == [t.id for t in trace.tokens]


def test_the_baseline_is_kept_until_the_edit_is_forgotten(tiny_folder):
    engine = iv.open_model(str(tiny_folder("llama")), device_map="cpu")
    trace = engine.trace("ab c!", max_new_tokens=2)
    edited = trace.edit(iv.Ablate("mlp_out", 1))
    assert edited.baseline.id == trace.id
    assert trace.baseline is None
    engine.kept_traces.store.budget = 1
    engine.trace("zz")
    assert ("trace", trace.id) in engine.kept_traces.store
    found = edited.activation("resid_post", 2)
    engine.kept_traces.store.drop(("trace", edited.id))
    assert np.array_equal(edited.activation("resid_post", 2), found)
    engine.forget(edited.id)
    engine.trace("zzz")
    assert ("trace", trace.id) not in engine.kept_traces.store
    with pytest.raises(iv.TraceError):
        edited.logits()
    engine.close()


def test_an_edit_of_an_edit_has_the_same_baseline(case):
    trace = case("llama").trace
    first, second = iv.Scale("mlp_out", 0, 3, factor=2.0), iv.Scale("mlp_out", 1, 3, factor=2.0)
    step = trace.edit(first).edit(second)
    assert step.interventions == (first, second)
    assert step.baseline.id == trace.id
    assert np.array_equal(step.logits(), trace.edit(first, second).logits())
    assert step.fingerprint == trace.edit(first, second).fingerprint


def test_equal_edits_have_equal_names_whatever_their_handles(case):
    engine = case("llama").engine
    one, other = (engine.trace("ab c!") for _ in range(2))
    donors = [engine.trace("ab d!") for _ in range(2)]
    names = {t.edit(iv.Patch("mlp_out", 1, source=d)).fingerprint for t, d in zip((one, other), donors, strict=True)}
    assert len(names) == 1


def test_interventions_of_a_first_run_make_its_baseline(case):
    engine = case("llama").engine
    edited = engine.trace("ab c!", max_new_tokens=3, interventions=[iv.Replace("resid_post", 1, -1, token="z")])
    assert edited.baseline.text == engine.trace("ab c!", max_new_tokens=3).text
    assert (edited.mode, edited.baseline.mode) == ("free", None)


def test_only_unedited_traces_of_this_session_are_sources(case):
    tiny = case("llama")
    edited = tiny.trace.edit(iv.Ablate("mlp_out", 1))
    with pytest.raises(iv.RequestError, match="unedited"):
        tiny.trace.edit(iv.Patch("mlp_out", 1, source=edited))
    with pytest.raises(iv.TraceError, match="id of one made here"):
        tiny.trace.edit(iv.Patch("mlp_out", 1, source="nobody's"))
    elsewhere = tiny.engine.submit(iv.TraceRequest("ab"), session="other").result()
    with pytest.raises(iv.TraceError, match="id of one made here"):
        tiny.trace.edit(iv.Ablate("mlp_out", 1, how="resample", source=elsewhere))


def test_the_main_component_tells_what_it_came_to(case):
    trace = case("llama").trace
    edited = trace.edit(iv.ReplaceMain("resid_post", 1, [3, 4], token="z"))
    said = [note for note in edited.notes if "main component" in note]
    assert len(said) == 2
    assert "layer 1, position 3" in said[0]
    assert "the top token there is now" in said[0]
    same = str(
        trace.heatmap(rows=[2], positions=[3]).shown[int(trace.heatmap(rows=[2], positions=[3]).token_ids[0, 0, 0])]
    )
    unchanged = trace.edit(iv.ReplaceMain("resid_post", 1, 3, token=same))
    assert np.array_equal(unchanged.activation("resid_post", 1), trace.activation("resid_post", 1))


def test_means_over_other_texts(case):
    engine = case("llama").engine
    trace, other = engine.trace("ab c!"), engine.trace("zz top zz")
    by_trace = trace.edit(iv.Ablate("mlp_out", 1, 2, how="mean", source=other)).activation("mlp_out", 1)[2]
    assert np.allclose(by_trace, other.activation("mlp_out", 1).mean(0), atol=1e-6)
    prompts = iv.PromptSet("two", ["zz top zz", "abc"])
    by_set = trace.edit(iv.Ablate("mlp_out", 1, 2, how="mean", source=prompts)).activation("mlp_out", 1)[2]
    rows = np.concatenate([engine.trace(p).activation("mlp_out", 1) for p in prompts.prompts])
    assert np.allclose(by_set, rows.mean(0), atol=1e-6)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_text_is_transplanted_into_another_by_its_embeddings(case, family):
    """The model goes on as for the text itself; learned positions (GPT-2) come along, and are the same here."""
    engine = case(family).engine
    text, blanks = engine.trace("ab c!ab d", max_new_tokens=4), engine.trace("_________", max_new_tokens=4)
    assert text.prompt_length == blanks.prompt_length
    edited = blanks.edit(iv.Patch("resid_pre", 0, "prompt", source=text), text="free")
    assert [t.id for t in edited.tokens[blanks.prompt_length :]] == [t.id for t in text.tokens[text.prompt_length :]]
    assert np.allclose(edited.logits(), text.logits(), atol=1e-5)
    assert not np.allclose(blanks.logits(), text.logits(), atol=1e-2)
    with pytest.raises(iv.RequestError, match="one for all"):
        blanks.edit(iv.Patch("resid_pre", 0, "prompt", source=engine.trace("ab")))


def test_the_transplant_on_the_demo_model():
    """Words of one prompt put into the blanks of another, as in the paper that made the figure known."""
    engine = iv.open_model("demo")
    known = engine.trace("Madison square garden is located in the city of New", max_new_tokens=4)
    lines = ("_" + " _" * n for n in range(60))
    empty = next(x for x in lines if len(engine.tokenize(x)) == known.prompt_length)
    blank = engine.trace(empty, max_new_tokens=4)
    filled = blank.edit(iv.Patch("resid_pre", 0, "prompt", source=known), text="free")
    assert [t.id for t in filled.tokens[blank.prompt_length :]] == [t.id for t in known.tokens[known.prompt_length :]]
    assert [t.id for t in blank.tokens[blank.prompt_length :]] != [t.id for t in known.tokens[known.prompt_length :]]
    assert np.allclose(filled.logits(), known.logits(), atol=1e-4)
    text = engine.trace("Q: What is the capital of Italy? A:", max_new_tokens=3)
    blanks = engine.trace(tuple([text.tokens[0].id] * text.prompt_length), max_new_tokens=3)
    edited = blanks.edit(iv.Patch("resid_pre", 0, "prompt", source=text), text="free")
    assert edited.text.endswith(text.text[-6:])
    assert " Rome" in edited.text
    engine.close()


def test_a_recovered_share_says_which_way(case):
    engine = case("llama").engine
    clean, corrupt = engine.trace("ab c!ab d"), engine.trace("ab z!ab d")
    whole = corrupt.edit(iv.Patch("resid_pre", 0, "prompt", source=clean))
    record = corrupt.compare(whole, "c", "z", patching="denoise")
    assert record.recovered == pytest.approx(1, abs=1e-4)
    assert record.m_clean == pytest.approx(record.m_edit, abs=1e-4)
    nothing = corrupt.edit(iv.Patch("resid_pre", 0, 1, source=clean))
    assert corrupt.compare(nothing, "c", "z", patching="denoise").recovered == pytest.approx(0, abs=1e-4)
    noised = clean.edit(iv.Patch("resid_pre", 0, "prompt", source=corrupt))
    record = clean.compare(noised, "c", "z", patching="noise")
    assert record.recovered == pytest.approx(1, abs=1e-4), "1 is where the corrupt run stands"
    with pytest.raises(iv.RequestError, match="Patch"):
        clean.compare(clean.edit(iv.Ablate("mlp_out", 1)), patching="noise")


def test_a_comparison_is_what_the_logits_say(case):
    tiny = case("llama")
    edited = tiny.trace.edit(iv.Scale("mlp_out", 1, [4, -1], factor=-2.0))
    record = tiny.trace.compare(edited, "c", "d")
    before, after = (
        np.stack([t.logits(p) for p in range(len(tiny.ids))]).astype(np.float64) for t in (tiny.trace, edited)
    )
    log_p, log_q = (z - np.log(np.exp(z).sum(-1, keepdims=True)) for z in (before, after))
    following = np.array(tiny.ids[1:])
    every = np.arange(len(following))
    assert np.allclose(record.log_prob[:-1], log_p[every, following], atol=1e-4)
    assert np.allclose(record.edited_log_prob[:-1], log_q[every, following], atol=1e-4)
    assert np.isnan(record.log_prob[-1])
    assert np.allclose(record.kl, (np.exp(log_p) * (log_p - log_q)).sum(-1), atol=1e-4)
    assert np.allclose(record.logit_difference, before[:, record.target] - before[:, record.contrast], atol=1e-4)
    assert np.allclose(record.edited_logit_difference, after[:, record.target] - after[:, record.contrast], atol=1e-4)
    assert np.allclose(record.grid_kl[-1], record.kl, atol=1e-4)
    x, y = tiny.trace.activation("resid_post", 1), edited.activation("resid_post", 1)
    assert np.allclose(record.grid_distance[2], np.linalg.norm(y - x, axis=-1) / np.linalg.norm(x, axis=-1), atol=1e-4)
    assert not record.exact
    assert 0 < record.noise["kl"] < 1e-5
    assert np.array_equal(np.argwhere(record.edited_cells), [[2, 4], [2, tiny.trace.prompt_length - 1]])
    record.figure()
    assert len(record.frame()) == record.n_compared
