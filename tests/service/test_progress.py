"""What is told while a job runs: its place, its progress, and what can be shown by now; and who hears of a rest."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.engine import pool as pool_module
from intravisto_core.engine.dispatcher import Dispatcher
from intravisto_core.engine.jobs.patching_grid import Exchange, GrowingGrid
from intravisto_core.service import host
from intravisto_core.service.backend import find_key
from intravisto_core.tracing import preparing
from tests.engine.test_engine import watching
from tests.service.serving import WAIT_S, serving, wait_until
from tests.service.test_jobs import Http, events
from tests.tiny import PROMPT

PATCH = {"clean": "ab c!ab", "corrupt": "cb c!ab", "target": "a", "contrast": "b", "what": "resid_pre"}


def test_a_grid_grows_in_sight_of_a_client(service, monkeypatch):
    go, shown, run, record = threading.Event(), [], Exchange.run, GrowingGrid.record

    def note(self: Any, *given: Any) -> Any:
        shown.append(record(self, *given))
        return shown[-1]

    def stop_after_the_first(self: Any, *given: Any) -> Any:
        assert not shown or go.wait(WAIT_S)
        return run(self, *given)

    monkeypatch.setattr(GrowingGrid, "record", note)
    monkeypatch.setattr(Exchange, "run", stop_after_the_first)
    monkeypatch.setattr(host, "PARTIAL_S", 0.0)
    job = iv.connect(service, "llama").submit(iv.PatchingRequest(**PATCH))
    try:
        partial = wait_until(lambda: job.progress.partial)
    finally:
        go.set()
    whole = job.result(WAIT_S)
    assert type(partial) is type(whole)
    known = ~np.isnan(partial.effects)
    assert 0 < known.sum() < known.size
    assert np.array_equal(partial.effects[known], whole.effects[known])


def test_events_hold_what_can_be_shown_once(service, monkeypatch):
    monkeypatch.setattr(host, "PARTIAL_S", 0.0)
    monkeypatch.setattr(host, "EVERY_S", 0.001)
    ask = Http(service)
    id = ask.run(iv.PatchingRequest(**PATCH, direction="noise"), model="llama")
    told = events(ask("GET", f"/v1/jobs/{id}/events")[2])
    assert sum(name == "partial" for _, name, _ in told) <= 1
    assert "partial" not in json.loads(ask("GET", f"/v1/jobs/{id}")[2])


def test_work_that_waits_for_something_else_says_so(service, monkeypatch):
    go, prepare = threading.Event(), preparing.prepare

    def wait(*given: Any) -> Any:
        assert go.wait(WAIT_S)
        return prepare(*given)

    engine = iv.connect(service, "llama")
    monkeypatch.setattr(preparing, "_may_take_long", lambda *given: True)
    monkeypatch.setattr(preparing, "prepare", wait)
    job = engine.submit(iv.TraceRequest("cab"))
    try:
        assert wait_until(lambda: job.progress.elsewhere)
    finally:
        go.set()
    assert job.result(WAIT_S).text == "cab"
    assert not job.progress.elsewhere or job.state.ended


def test_a_rest_is_told_wherever_the_session_has_pins(service, monkeypatch):
    asked, ask_host = [], host.Host.ask

    async def note(self: Any, model: str, verb: str, body: Any, key: str = "") -> Any:
        asked.append((verb, key, body["session"]) if verb in ("rest", "resume") else None)
        return await ask_host(self, model, verb, body, key)

    engine = iv.connect(service, "llama")
    traces = [engine.submit(iv.TraceRequest(text), session="mine").result() for text in (PROMPT, "cab", "ab c")]
    for trace in traces[:2]:
        trace.pin()
    edited = traces[2].edit(iv.Ablate("mlp_out", 1, "all"))
    monkeypatch.setattr(host.Host, "ask", note)
    engine.rest("mine")
    keys = sorted(find_key(trace.id) for trace in (*traces[:2], edited))
    assert [each for each in asked if each] == [("rest", key, "local/mine") for key in keys]
    asked.clear()
    traces[0].unpin()
    edited.forget()
    engine.resume("mine")
    assert [each for each in asked if each] == [("resume", find_key(traces[1].id), "local/mine")]
    asked.clear()
    ask = Http(service)
    assert ask("POST", "/v1/session/rest", {"session": "mine", "model": "llama"})[0] == 200
    assert len({each for each in asked if each}) == 3, "a raw client's session is told by what is known of it"
    assert ask("POST", "/v1/session/rest", {"session": "mine", "model": "llama", "traces": "x"})[0] == 400
    ask("POST", "/v1/session/resume", {"session": "mine", "model": "llama"})


def test_one_client_with_many_runs_does_not_hold_up_another(service, monkeypatch):
    order, end = [], Dispatcher._end

    def note(self: Any, task: Any, *given: Any, **options: Any) -> None:
        order.append(task.job.session)
        end(self, task, *given, **options)

    monkeypatch.setattr(Dispatcher, "_end", note)
    engine, entered, go = iv.connect(service, "llama"), threading.Event(), threading.Event()

    def stand() -> None:
        entered.set()
        assert go.wait(WAIT_S)

    def ask(session: str) -> Any:
        # what keeps modules shares no pass
        return engine.submit(iv.TraceRequest("ab c", iv.Generation(2), modules="model.norm"), session=session)

    with watching() as watch:
        watch.at(0, stand)
        try:
            many = [ask("many") for _ in range(12)]
            assert entered.wait(WAIT_S)
            wait_until(lambda: sum(job.place > 0 for job in many) == 11)
            one = ask("one")
            wait_until(lambda: one.place)
        finally:
            go.set()
        for job in (*many, one):
            job.result(WAIT_S)
    assert order.index("local/one") <= 2


@pytest.mark.parametrize("id", ["x.y.z", "nonesuch", ""])
def test_the_key_of_an_id(id):
    assert find_key(id) == {"x.y.z": "z"}.get(id, "")


def test_a_model_that_is_being_loaded_is_waited_for_and_holds_up_no_other(tiny_llama, tiny_gpt2, monkeypatch):
    go, read = threading.Event(), pool_module.LocalEngine

    def open_slowly(spec: iv.ModelSpec, *given: Any, **options: Any) -> Any:
        assert spec.source != str(tiny_gpt2) or go.wait(WAIT_S)
        return read(spec, *given, **options)

    monkeypatch.setattr(pool_module, "LocalEngine", open_slowly)
    monkeypatch.setattr(host, "OPEN_S", 0.2)
    models = {path.name: iv.ModelSpec(str(path)) for path in (tiny_llama, tiny_gpt2)}
    with serving(models) as url:
        slow, quick = tiny_gpt2.name, tiny_llama.name
        asked = Http(url)("GET", f"/v1/capabilities?model={slow}")
        assert asked[0] == 202
        assert list(json.loads(asked[2])) == ["opening"]
        found: list[Any] = []
        waiting = [threading.Thread(target=lambda: found.append(iv.connect(url, slow, patience=0.1))) for _ in range(9)]
        for each in waiting:
            each.start()
        try:
            assert iv.connect(url, quick).trace("cab").text == "cab"
        finally:
            go.set()
        for each in waiting:
            each.join(WAIT_S)
        assert [engine.model.family for engine in found] == ["gpt2"] * 9
