"""Questions at work in one process: each once, whoever listens; bounded; nothing of a text in what is logged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

import intravisto_core as iv
from intravisto_core.service import book, host, works
from intravisto_core.service.backend import Outcome, Step
from intravisto_core.service.limits import ServiceLimits
from intravisto_core.service.verbs import VERBS
from intravisto_core.service.works import Told, Works
from tests.service.serving import serving, wait_until
from tests.service.test_jobs import Http

SECRET = "what somebody typed"


class Desk:
    """Works over questions that are answered when they are told to go on."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.stopped: list[str] = []
        self.go: dict[str, asyncio.Event] = {}
        self.works = Works(self.stop)

    def stop(self, id: str) -> None:
        self.stopped.append(id)
        self.go[id].set()

    async def answer(self, id: str, answer: bytes) -> AsyncGenerator[Told]:
        self.begun.append(id)
        yield Step(done=1, total=2, partial=b"half")
        await self.go[id].wait()
        if answer == b"failure":
            raise ValueError(SECRET)
        yield Step(done=2, total=2)
        yield Outcome("done", answer)

    def follow(self, id: str, answer: bytes = b"whole") -> AsyncGenerator[Told]:
        self.go.setdefault(id, asyncio.Event())
        return self.works.follow(id, lambda: self.answer(id, answer))

    async def hear(self, id: str, answer: bytes = b"whole") -> list[Told]:
        return [told async for told in self.follow(id, answer)]


def run(test: Callable[[Desk], Any]) -> None:
    async def work() -> None:
        await test(Desk())

    asyncio.run(work())


def test_whoever_comes_later_hears_what_is_and_what_comes():
    async def test(desk: Desk) -> None:
        first = desk.follow("a")
        assert await anext(first) == Step(done=1, total=2, partial=b"half")
        await first.aclose()
        second = desk.follow("a")
        assert (await anext(second)).partial == b"half"
        desk.go["a"].set()
        assert [told async for told in second] == [Step(done=2, total=2), Outcome("done", b"whole")]
        assert (await desk.hear("a"))[-1] == Outcome("done", b"whole")
        assert desk.begun == ["a"]
        assert not desk.stopped

    run(test)


def test_work_that_nobody_listens_to_is_stopped(monkeypatch):
    monkeypatch.setattr(works, "ALONE_S", 0.0)

    async def test(desk: Desk) -> None:
        for id in ("left", "kept"):
            await anext(first := desk.follow(id))
            if id == "kept":
                await anext(other := desk.follow(id))
            await first.aclose()
        while not desk.stopped:
            await asyncio.sleep(0)
        assert desk.stopped == ["left"]
        await other.aclose()

    run(test)


def test_answers_are_kept_as_far_as_there_is_room_and_for_a_while(monkeypatch):
    monkeypatch.setattr(works, "MOST_KEPT", 10)

    async def test(desk: Desk) -> None:
        for id in ("a", "b", "c"):
            desk.go[id] = asyncio.Event()
            desk.go[id].set()
            await desk.hear(id, b"four")
        assert [desk.works.has_ended(id) for id in ("a", "b", "c")] == [False, True, True]
        monkeypatch.setattr(works, "KEEP_S", 0.0)
        desk.go["d"] = desk.go["c"]
        await desk.hear("d", b"")
        while desk.works.has_ended("d"):
            await asyncio.sleep(0)
        assert desk.works.has_ended("c")

    run(test)


def test_a_failure_is_told_by_its_place_without_what_it_says(caplog):
    async def test(desk: Desk) -> None:
        desk.go["a"] = asyncio.Event()
        desk.go["a"].set()
        outcome = (await desk.hear("a", b"failure"))[-1]
        assert isinstance(outcome, Outcome)
        assert outcome.error is not None
        assert (outcome.state, outcome.error["kind"]) == ("failed", "ServiceError")
        assert "failed inside (ValueError at test_works.py:" in outcome.error["message"]
        assert SECRET not in str(outcome)

    with caplog.at_level(logging.DEBUG):
        run(test)
    assert "ValueError at test_works.py:" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("path", ["/v1/tokenize", "/v1/models"])
def test_a_fault_of_the_service_says_where_it_is_and_not_what_was_typed(service, monkeypatch, caplog, path):
    def fail(*given: Any, **options: Any) -> Any:
        raise ValueError(SECRET)

    monkeypatch.setitem(VERBS, "tokenize", fail)
    monkeypatch.setattr("intravisto_core.service.desk.Desk.told_models", fail)
    asked = ("POST", path, {"model": "llama", "text": SECRET}) if path.endswith("tokenize") else ("GET", path)
    with caplog.at_level(logging.DEBUG):
        status, _, data = Http(service)(*asked)
    assert status in (500, 503)
    with pytest.raises(iv.ServiceError, match="failed inside"):
        iv.connect(service, "llama").tokenize(SECRET)
    assert "failed inside (ValueError at test_works.py:" in json.loads(data)["error"]["message"]
    assert SECRET not in caplog.text


def test_a_job_that_nobody_asks_about_is_stopped_where_it_is_at_work(tiny_llama, monkeypatch):
    stopped: list[str] = []
    stop = host.Host.stop
    monkeypatch.setattr(host.Host, "stop", lambda self, id: (stopped.append(id), stop(self, id)))
    monkeypatch.setattr(book, "SWEEP_S", 0.01)
    with serving({"llama": iv.ModelSpec(str(tiny_llama))}, limits=ServiceLimits(abandoned_s=0.0)) as url:
        ask = Http(url)
        run = {"request": json.loads(iv.to_json(iv.TraceRequest("ab", iv.Generation(50))))}
        id = json.loads(ask("POST", "/v1/jobs", run)[2])["id"]
        wait_until(lambda: ask("GET", "/metrics")[0] == 200 and stopped)
        assert stopped[0] == id
        state = wait_until(lambda: (told := json.loads(ask("GET", f"/v1/jobs/{id}")[2])["state"]) != "running" and told)
        assert state == "cancelled"
