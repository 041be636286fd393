"""Many prompts at once: each equals its run alone, whatever the family; what fails is one prompt's alone."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.engine import Job, LocalEngine, batches
from intravisto_core.tracing import batch_run
from tests import tiny
from tests.reference.equal import assert_close

TOLERANCE = 1e-5
P = tiny.FAMILY_PROMPT
PROMPTS = [P, P[:5], P[3:12], P[:1], P[2:7]]
FAMILIES = {
    "learned positions": "GPT-2",
    "learned positions by mask": "OPT",
    "RoPE": "Llama",
    "ALiBi": "Bloom",
    "ALiBi from the last key": "MPT",
    "sliding window": "Mistral",
    "some layers with a window": "Gemma-3",
    "learned sinks": "gpt-oss",
    "mixture of experts": "Mixtral",
    "keys repeated": "Falcon, new decoder",
    "window in a buffer": "GPT-Neo",
}


def assert_equal_runs(one: iv.Trace, other: iv.Trace, n_layers: int) -> None:
    assert [t.id for t in one.tokens] == [t.id for t in other.tokens]
    assert one.fingerprint == other.fingerprint
    for layer in range(n_layers):
        for site in ("resid_pre", "attn_out", "mlp_out", "resid_post", "q", "k", "v", "z", "pattern"):
            assert_close(one.activation(site, layer), other.activation(site, layer), TOLERANCE)
    assert_close(one.logits(), other.logits(), TOLERANCE)
    np.testing.assert_array_equal(one.heatmap().token_ids[:, :, 0], other.heatmap().token_ids[:, :, 0])


@pytest.mark.parametrize("kind", FAMILIES)
def test_each_prompt_of_a_batch_equals_its_run_alone(family: Callable, kind: str, monkeypatch) -> None:
    engine, calls = family(FAMILIES[kind]).engine, []
    run = batch_run.run_batch
    monkeypatch.setattr("intravisto_core.traces.batches.run_batch", lambda *a: calls.append(len(a[1])) or run(*a))
    found = engine.traces(PROMPTS, max_new_tokens=6)
    assert calls == [len(PROMPTS)], "they were run together"
    for prompt, trace in zip(PROMPTS, found, strict=True):
        assert_equal_runs(trace, engine.trace(prompt, max_new_tokens=6), engine.model.n_layers)
        assert not trace.notes


@pytest.mark.parametrize("kind", ["RoPE", "ALiBi", "ALiBi from the last key", "some layers with a window"])
def test_rows_that_have_ended_are_run_no_more(family: Callable, kind: str) -> None:
    engine = family(FAMILIES[kind]).engine
    # what the first two prompts say at their first and third step ends every text that says it
    said = [[t.id for t in engine.trace(p, max_new_tokens=6).tokens[len(p) :]] for p in PROMPTS[:2]]
    options = {"max_new_tokens": 6, "stop": (said[0][0], said[1][2])}
    rows: list[int] = []
    hook = engine.kept_traces.model.blueprint.embed.register_forward_hook(lambda m, x, y: rows.append(len(x[0])))
    found = engine.traces(PROMPTS, **options)
    hook.remove()
    lengths = [len(t.tokens) - t.prompt_length for t in found]
    assert len(set(lengths)) > 1, "they ended at different steps"
    assert rows == [len(PROMPTS), *(sum(n > step for n in lengths) for step in range(max(lengths)))]
    for prompt, trace in zip(PROMPTS, found, strict=True):
        assert_equal_runs(trace, engine.trace(prompt, **options), engine.model.n_layers)


def test_experts_of_a_batch_are_those_of_the_run_alone(family: Callable) -> None:
    engine = family("Mixtral").engine
    for prompt, trace in zip(PROMPTS, engine.traces(PROMPTS, max_new_tokens=2), strict=True):
        alone = engine.trace(prompt, max_new_tokens=2).experts(0, 1)
        np.testing.assert_array_equal(trace.experts(0, 1).chosen, alone.chosen)
        assert_close(trace.experts(0, 1).act, alone.act, TOLERANCE)


def test_a_family_where_padding_is_not_exact_runs_one_by_one_and_says_so(family: Callable) -> None:
    engine = family("Llama-4 with images").engine
    found = engine.traces([P, P[:5]])
    for prompt, trace in zip([P, P[:5]], found, strict=True):
        assert "run alone: the model also reads images" in " ".join(trace.notes)
        np.testing.assert_array_equal(trace.logits(), engine.trace(prompt).logits())


@pytest.fixture(scope="module")
def llama(case):
    return case("llama")


def test_sampling_stops_and_sites_are_each_prompt_s_own(llama) -> None:
    engine = llama.engine
    options = {"max_new_tokens": 12, "temperature": 1.5, "seed": 3, "stop": ("a", "b"), "sites": ("resid_pre",)}
    texts = ["ab c!ab d", "xyz w+xyz", "q", "mnop"]
    found = engine.traces(texts, **options)
    for text, trace in zip(texts, found, strict=True):
        alone = engine.trace(text, **options)
        assert trace.text == alone.text
        assert_close(trace.activation("resid_post", 0), alone.activation("resid_post", 0), TOLERANCE)
        with pytest.raises(iv.TraceError, match="one that this trace kept"):
            trace.activation("k", 0)
    assert len({len(t.tokens) - t.prompt_length for t in found}) > 1, "they ended at different steps"


def test_a_token_by_its_place_from_the_right_in_a_padded_batch(llama) -> None:
    """As nnsight's: the last token of each prompt, whatever its length."""
    texts = ["ab c!", "a", "xyz w+xyz"]
    found = llama.engine.traces(texts)
    for text, trace in zip(texts, found, strict=True):
        ids = torch.tensor([[t.id for t in llama.engine.tokenize(text)]])
        with torch.no_grad():
            plain = llama.model(ids).logits[0, -1].numpy()
        assert_close(trace.logits(-1), plain, TOLERANCE)


def test_an_error_of_one_prompt_is_its_own(llama) -> None:
    found = llama.engine.traces(["ab", (5,) * 4000, (99999,), "cd"])
    assert [type(one).__name__ for one in found] == ["Trace", "RequestError", "RequestError", "Trace"]
    assert "context" in str(found[1])

    def fail_on_second(x, seen):
        if seen.index == 1:
            raise ValueError("no")
        return 2 * x

    edits = [iv.Apply("mlp_out", 0, "all", fail_on_second)]
    mixed = llama.engine.traces(["ab", "cde", "f"], interventions=edits)
    assert "ValueError: no" in str(mixed[1])
    assert isinstance(mixed[1], iv.TraceError)
    for text, trace in (("ab", mixed[0]), ("f", mixed[2])):
        alone = llama.engine.trace(text, interventions=[iv.Scale("mlp_out", 0, "all", factor=2.0)])
        assert_close(trace.logits(), alone.logits(), TOLERANCE)


@pytest.mark.parametrize("form", ["site", "module", "module input"])
def test_the_embeddings_of_one_prompt_are_put_into_another(llama, form: str) -> None:
    """As nnsight's cross-prompt examples; the positions that both have."""
    texts = ["xyz w", "ab c!ab"]

    def transplant(x, seen):
        donor = {
            "site": lambda: seen.prompt(0)["resid_pre", 0],
            "module": lambda: seen.prompt(0)["model.embed_tokens"],
            "module input": lambda: seen.prompt(0)["model.layers.0:input"],
        }[form]()
        if seen.index == 0:
            return None
        out = x.clone()
        axis = donor.ndim - 2
        out.narrow(axis, 0, donor.shape[axis]).copy_(donor)
        return out

    at = {
        "site": iv.Apply("resid_pre", 0, "prompt", transplant),
        "module": iv.Apply(module="model.embed_tokens", fn=transplant),
        "module input": iv.Apply(module="model.layers.0:input", fn=transplant),
    }[form]
    for edits in ([at], [[], [at]]):
        found = llama.engine.traces(texts, interventions=edits, max_new_tokens=2 if form == "site" else 0)
        donor = [t.id for t in llama.engine.tokenize(texts[0])]
        ids = torch.tensor([[t.id for t in found[1].tokens]])

        def put(_, args, out, donor=donor):
            out = out.clone()
            out[:, : len(donor)] = llama.model.model.embed_tokens.weight[donor]
            return out

        handle = llama.model.model.embed_tokens.register_forward_hook(put)
        with torch.no_grad():
            plain = llama.model(ids).logits[0].numpy()
        handle.remove()
        assert_close(found[1].logits(), plain[-1], TOLERANCE)
        assert_close(found[1].logits(found[1].prompt_length - 1), plain[found[1].prompt_length - 1], TOLERANCE)
        own = found[0] if not found[0].interventions else found[0].baseline
        assert_close(found[0].logits(), own.logits(), TOLERANCE)


def test_interventions_without_functions_equal_those_of_single_runs(llama) -> None:
    edits = [iv.Scale("z", 1, "all", head=1, factor=0.0), iv.KnockOut(0, -1, [0])]
    texts = ["ab c!ab d", "xyz"]
    for text, trace in zip(texts, llama.engine.traces(texts, interventions=edits, max_new_tokens=3), strict=True):
        alone = llama.engine.trace(text, interventions=edits, max_new_tokens=3)
        assert trace.text == alone.text
        assert_close(trace.logits(), alone.logits(), TOLERANCE)
        assert trace.baseline.id != trace.id


def test_batches_split_by_memory_and_still_come_in_order(llama, monkeypatch) -> None:
    monkeypatch.setattr("intravisto_core.traces.batches.MOST_ROWS", 3)
    texts = ["ab", "abcdefg", "a", "abcd", "abc", "x", "abcde"]
    found = llama.engine.traces(texts)
    assert [t.text for t in found] == texts


def test_a_cancel_keeps_what_was_run(tiny_llama) -> None:
    engine = LocalEngine(iv.ModelSpec(str(tiny_llama)))
    try:
        texts = tuple(iv.TraceRequest(text, iv.Generation(40)) for text in ("ab c!ab", "xyz", "q"))
        job = engine.submit(iv.TraceBatch(texts))
        while not job.progress.done and not job.state.ended:
            pass
        job.cancel()
        try:
            found = job.result(60)
        except iv.Cancelled:
            return
        assert all(isinstance(one, iv.Trace | iv.Cancelled) for one in found)
        assert engine.trace("ab").text
    finally:
        engine.close()


class Bar:
    """In place of tqdm's: what it was told."""

    def __init__(self, **options: object) -> None:
        self.total, self.n, self.said, self.closed = options["total"], 0, [], False
        BARS.append(self)

    def set_description(self, text: str, refresh: bool) -> None:
        self.said.append((text, self.n, self.total))

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True


BARS: list[Bar] = []


def test_a_bar_says_how_far_it_is_where_somebody_sees_it(llama, monkeypatch: pytest.MonkeyPatch) -> None:
    BARS.clear()
    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    monkeypatch.setattr(batches, "OFTEN", 0.001)
    # another test of this process may have read a notebook
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    llama.engine.traces(["ab c!", "xyz"], max_new_tokens=20)
    llama.engine.traces(["ab c!", "xyz"], max_new_tokens=20, progress=False)
    assert not BARS, "nobody sees this process"
    llama.engine.traces(["ab c!", "xyz"], max_new_tokens=20, progress=True)
    (bar,) = BARS
    assert bar.closed
    assert bar.said
    assert all(total is None or n <= total for _, n, total in bar.said)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    llama.engine.traces(["ab"])
    assert len(BARS) == 2, "a terminal is seen"


@pytest.mark.parametrize("shown", [True, False])
def test_ctrl_c_cancels_what_is_waited_for(shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(iv.TraceBatch((iv.TraceRequest("a"),)))

    def interrupted(timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    monkeypatch.setattr(job, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        batches.wait_with_bar(job, shown)
    assert job.cancelled


def test_what_does_not_fit_is_refused(llama) -> None:
    with pytest.raises(iv.RequestError, match="one list for all, or 2 lists"):
        llama.engine.traces(["a", "b"], interventions=[[iv.Scale("z", 0, "all", factor=1)]])
    with pytest.raises(iv.RequestError, match="requests: expected 1 to 10,000 TraceRequests"):
        iv.TraceBatch([])
    assert llama.engine.traces([]) == []
    with pytest.raises(iv.RequestError, match="options of traces"):
        llama.engine.traces([], warmth=3)
    with pytest.raises(iv.RequestError, match="options of traces"):
        llama.engine.traces(["a"], warmth=3)


def test_records_of_many_traces_are_one_table(llama) -> None:
    found = llama.engine.traces(["ab", (99999,), "cde"])
    table = iv.frame(found, "next_tokens", n=3)
    assert list(table.columns[:3]) == ["trace", "prompt", "error"]
    assert table.trace.tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert table.prompt.tolist() == ["ab"] * 3 + [""] + ["cde"] * 3
    assert "token id" in table.error[3]
    own = found[2].next_tokens(n=3).frame()
    assert table[table.trace == 2].token_id.tolist() == own.token_id.tolist()
    by_request = iv.frame(found, lambda trace: iv.LogitsView(trace))
    assert len(by_request) == 2 * llama.engine.model.d_vocab + 1
    for view, options in (("neurons", {"layer": 1}), ("head_targets", {})):
        assert set(iv.frame(found[:1], view, **options).trace) == {0}
    assert len(iv.frame([], "heatmap")) == 0
    for view, message in (("nothing", "the name of a view"), (lambda t: 3, "a record or a table")):
        with pytest.raises(iv.RequestError, match=message):
            iv.frame(found[:1], view)
    with pytest.raises(iv.RequestError, match="traces: expected traces"):
        iv.frame(["a"], "heatmap")
