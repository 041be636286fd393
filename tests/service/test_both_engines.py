"""A model of a service answers as one that is open here: the same methods, the same records bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import intravisto_core as iv
from tests.service.serving import WAIT_S
from tests.tiny import PROMPT

N_NEW = 4


def differences(here: Any, there: Any, ids: Mapping[str, str], place: str = "") -> Iterator[str]:
    """Where two answers differ; ids of traces are matched. Types, shapes and bits count."""
    if type(here) is not type(there):
        yield f"{place}: {type(here).__name__} and {type(there).__name__}"
    elif isinstance(here, np.ndarray):
        if here.dtype != there.dtype or here.shape != there.shape or here.tobytes() != there.tobytes():
            yield f"{place}: arrays"
    elif dataclasses.is_dataclass(here):
        for field in dataclasses.fields(here):
            yield from differences(getattr(here, field.name), getattr(there, field.name), ids, f"{place}.{field.name}")
    elif isinstance(here, Mapping):
        if list(here) != list(there):
            yield f"{place}: keys"
        for key in here:
            yield from differences(here[key], there.get(key), ids, f"{place}.{key}")
    elif isinstance(here, tuple | list):
        if len(here) != len(there):
            yield f"{place}: {len(here)} and {len(there)}"
        for i, (a, b) in enumerate(zip(here, there, strict=False)):
            yield from differences(a, b, ids, f"{place}.{i}")
    elif isinstance(here, float):
        if np.float64(here).tobytes() != np.float64(there).tobytes():
            yield f"{place}: {here} and {there}"
    elif ids.get(here, here) != there if isinstance(here, str) else here != there:
        yield f"{place}: {here!r} and {there!r}"


class Pair:
    """The same model open here and at the service, with the same runs of each."""

    def __init__(self, here: iv.Engine, there: iv.Engine) -> None:
        self.engines = (here, there)
        self.traces = tuple(e.trace(PROMPT, max_new_tokens=N_NEW, modules="model.norm") for e in self.engines)
        self.edits = tuple(t.edit(iv.Ablate("attn_out", 1, "all")) for t in self.traces)
        self.ids = {a.id: b.id for a, b in (self.traces, self.edits)}


@pytest.fixture(scope="module")
def pair(case: Any, case_at_service: Any) -> Pair:
    return Pair(case("llama").engine, case_at_service("llama").engine)


ANSWERS: dict[str, Any] = {
    "heatmap": lambda e, t, d: t.heatmap(watch=["b"]),
    "updates": lambda e, t, d: t.heatmap("mlp", norm="stream"),
    "shares": lambda e, t, d: t.shares(),
    "sinks": lambda e, t, d: t.sinks(),
    "written": lambda e, t, d: t.written("mlp", 1, 2),
    "cell shares": lambda e, t, d: t.cell_shares(1, 2),
    "next tokens": lambda e, t, d: t.next_tokens(temperature=0.7, top_p=0.9),
    "query": lambda e, t, d: t.query("b"),
    "flow": lambda e, t, d: t.flow(position="generated"),
    "disagreement": lambda e, t, d: t.disagreement(),
    "head shares": lambda e, t, d: t.head_shares(2, 3),
    "graph": lambda e, t, d: t.graph(),
    "route": lambda e, t, d: t.route(),
    "attribution": lambda e, t, d: t.attribution(by="neurons"),
    "compare": lambda e, t, d: t.compare(d),
    "links": lambda e, t, d: t.check_links([iv.Link("mlp", 1, -1)]),
    "direction": lambda e, t, d: e.direction("it", ["ab", "ba"], ["c"]),
    "explain": lambda e, t, d: t.explain(),
    "read back": lambda e, t, d: t.read_back(iv.Replace("resid_post", 1, [1], token="b")),
    "saliency": lambda e, t, d: t.saliency(method="integrated_gradients"),
    "layer": lambda e, t, d: t.layer(1),
    "head": lambda e, t, d: t.head(1, 2),
    "neuron": lambda e, t, d: t.neuron(1, 3),
    "neurons": lambda e, t, d: t.neurons(None),
    "attention": lambda e, t, d: t.attention(1),
    "sparse attention": lambda e, t, d: t.sparse_attention(1, 2),
    "head targets": lambda e, t, d: t.head_targets(),
    "head patterns": lambda e, t, d: t.head_patterns(4),
    "score": lambda e, t, d: t.score(1, 2, 5, 3),
    "cut": lambda e, t, d: t.cut(1, 2, 5, 3, "L0H1"),
    "head types": lambda e, t, d: e.head_types(tokens=8, texts=1),
    "composition": lambda e, t, d: e.head_composition(1, 2),
    "activation": lambda e, t, d: t.activation("z", 1),
    "edited activation": lambda e, t, d: d.activation("resid_post", 2),
    "pattern": lambda e, t, d: t.pattern(1, 0),
    "logits": lambda e, t, d: t.logits(),
    "gradient": lambda e, t, d: t.gradient(),
    "decode": lambda e, t, d: e.decode(t.activation("resid_post", 1)),
    "module": lambda e, t, d: t.module("model.norm"),
    "apply": lambda e, t, d: e.apply("model.norm", np.ones((2, 32), "float32")),
    "steered": lambda e, t, d: t.edit(iv.Steer("resid_post", 1, -1, direction=np.arange(32.0), strength=2)).logits(),
    "batch": lambda e, t, d: [r.logits() for r in e.traces(["ab", "c!ab"], max_new_tokens=2)],
    "chat": lambda e, t, d: e.tokenize("ab", add_special_tokens=False),
    "estimate": lambda e, t, d: dataclasses.replace(e.estimate(5, 2, modules="model.norm"), free={}),
    "card": lambda e, t, d: e.finish_check(WAIT_S),
    "identity": lambda e, t, d: dict(e.identity),
    "text": lambda e, t, d: (d.text, d.tokens, d.fingerprint, d.prompt_length, d.mode, d.baseline.fingerprint),
    "patching": lambda e, t, d: e.patching("ab c!ab", "cb c!ab", target="a", contrast="b", what="resid_pre"),
    "sweep": lambda e, t, d: e.sweep("ab c!ab", what="z", how="zero", target="a", contrast="b"),
    "notes": lambda e, t, d: (d.notes, d.request.interventions, e.busy),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_the_same_bit_for_bit(pair, name):
    here, there = (ANSWERS[name](*given) for given in zip(pair.engines, pair.traces, pair.edits, strict=True))
    assert list(differences(here, there, pair.ids)) == []


def test_the_modules_of_a_run_are_the_same_but_for_their_times(pair):
    here, there = (trace.architecture() for trace in pair.traces)
    assert here.tree == there.tree
    assert here.flow == there.flow
    assert [(c.path, c.inputs, c.output) for c in here.run.calls] == [
        (c.path, c.inputs, c.output) for c in there.run.calls
    ]


ERRORS: dict[str, Any] = {
    "an unknown option": lambda e, t: t.heatmap(foo=1),
    "a place out of range": lambda e, t: t.heatmap(positions=[999]),
    "an empty prompt": lambda e, t: e.trace(""),
    "a site that was not kept": lambda e, t: e.trace("ab", sites=["z"]).heatmap(),
    "a trace that there is not": lambda e, t: e.view(iv.SharesView("nonesuch")),
    "no trace": lambda e, t: e.find("nonesuch"),
    "another session's trace": lambda e, t: e.view(iv.SharesView(t.id), session="other"),
    "no request": lambda e, t: e.submit(iv.ModelSpec("demo")).result(),
    "a wrong vector": lambda e, t: e.decode([1.0, 2.0]),
    "a wrong module": lambda e, t: e.apply("model.nrom", [[1.0]]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_refusal_is_the_same(pair, name):
    said = []
    for engine, trace in zip(pair.engines, pair.traces, strict=True):
        with pytest.raises(iv.IntravistoError) as caught:
            ERRORS[name](engine, trace)
        kind = iv.TraceError if isinstance(caught.value, iv.TraceError) else type(caught.value)
        said.append((kind, str(caught.value).replace(pair.traces[1].id, pair.traces[0].id)))
    assert said[0] == said[1]


def test_one_bad_prompt_of_many_has_its_error(pair):
    here, there = (engine.traces(["ab", (10_000_000,)]) for engine in pair.engines)
    assert [type(each) for each in here] == [type(each) for each in there] == [iv.Trace, iv.RequestError]
    assert str(here[1]) == str(there[1])


def test_what_cannot_leave_this_process_is_refused_in_words(pair):
    with pytest.raises(iv.RequestError, match="cannot leave this process"):
        pair.engines[1].trace("ab", interventions=[iv.Apply("resid_post", 1, fn=lambda x: x)])
    with pytest.raises(iv.RequestError, match="hook: expected a model that is open in this process"):
        pair.engines[1].hook()
    with pytest.raises(iv.RequestError, match="inspector: expected a model that is open in this process"):
        _ = pair.engines[1].inspector
    for change in (lambda: pair.engines[1].add_dictionary("folder"), lambda: pair.engines[1].remove_dictionary("x")):
        with pytest.raises(iv.RequestError, match="dictionary: expected a model that is open in this process"):
            change()


def test_a_saved_run_opens_with_an_engine_of_a_service(pair, tmp_path):
    here, there = pair.traces
    path = there.save(tmp_path / "run.intravisto", views=["shares"])
    again = iv.open_trace(path, engine=pair.engines[1])
    assert list(differences(here.shares(), again.shares(), {here.id: again.id})) == []


def test_diagnostics_say_where_the_model_is(pair):
    here, there = map(iv.diagnostics, pair.engines)
    assert "at a service" not in here
    assert "the model is at a service" in there


def test_a_trace_is_forgotten(pair):
    engine = pair.engines[1]
    trace = engine.trace("abc")
    trace.pin()
    trace.unpin()
    assert engine.find(trace.id).tokens == trace.tokens
    trace.forget()
    with pytest.raises(iv.TraceError, match="expected the id of one made here"):
        engine.find(trace.id)
    with pytest.raises(iv.TraceError):
        trace.shares()
