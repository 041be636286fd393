"""Jobs over HTTP: begun once, followed from anywhere, fetched whole or in parts, limited, and taken up again."""

from __future__ import annotations

import dataclasses
import http.client
import json
import logging
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.engine.answers import pack_answer, read_answer
from intravisto_core.service.clients import Clients
from intravisto_core.service.limits import Allowance, ServiceLimits
from tests.engine.test_engine import watching
from tests.service.serving import WAIT_S, serving
from tests.tiny import N_LAYERS, PROMPT

ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdefgh"
JSON = {"Content-Type": "application/json"}


class Http:
    """Plain requests to a service, as a stranger's program makes them."""

    def __init__(self, url: str, token: str = "") -> None:
        self.place = urlsplit(url)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.place.hostname, self.place.port, timeout=WAIT_S)
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        more = {k.replace("_", "-"): v for k, v in headers.items()}
        sent = self.headers | (JSON if data is not None else {}) | more
        connection.request(method, path, data, sent)
        response = connection.getresponse()
        found = response.status, {k.lower(): v for k, v in response.headers.items()}, response.read()
        connection.close()
        return found

    def run(self, request: Any, **body: Any) -> str:
        """Begin a job and wait for its end; its id."""
        status, _, data = self("POST", "/v1/jobs", {"request": json.loads(iv.to_json(request)), **body})
        assert status == 201, data
        id = str(json.loads(data)["id"])
        self.result(id)
        return id

    def result(self, id: str) -> tuple[int, dict[str, str], bytes]:
        """The answer to a job, once it has ended."""
        while (found := self("GET", f"/v1/jobs/{id}/result?wait=30"))[0] == 202:
            pass
        return found


def events(data: bytes) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in data.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


@pytest.fixture(scope="module")
def guarded(tiny_llama: Any) -> Iterator[str]:
    """A service with tokens of two clients; one of them may have one job at once, and few tokens."""
    clients = Clients({"alice": ALICE, "bob": BOB}, allowances={"bob": Allowance(jobs=1, tokens=10)})
    limits = ServiceLimits(most_body=100_000, most_answer=40_000)
    with serving({"llama": iv.ModelSpec(str(tiny_llama))}, clients, limits=limits) as url:
        yield url


def test_a_job_from_its_beginning_to_its_answer(service, case):
    ask = Http(service)
    id = ask.run(iv.TraceRequest(PROMPT, iv.Generation(3)), model="llama")
    told = events(ask("GET", f"/v1/jobs/{id}/events")[2])
    assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][1] == "done"
    assert events(ask("GET", f"/v1/jobs/{id}/events", Last_Event_ID=str(told[-2][0]))[2]) == told[-1:]
    assert ask("GET", f"/v1/jobs/{id}/events", Last_Event_ID="-1")[0] == 400
    status, headers, data = ask("GET", f"/v1/jobs/{id}/result")
    assert (status, headers["content-type"]) == (200, "application/vnd.intravisto")
    info = read_answer(data).value
    assert [t.id for t in info.tokens] == [t.id for t in case("llama").engine.trace(PROMPT, max_new_tokens=3).tokens]
    shown = ask.run(iv.HeatmapView(info.id), model="llama")
    body = json.loads(ask("GET", f"/v1/jobs/{shown}/result", Accept="application/json")[2])
    assert (body["is"], body["kind"]) == ("record", "DecodedGrid")


def test_parts_of_an_answer_make_the_whole(service):
    ask = Http(service)
    id = ask.run(iv.TraceRequest(PROMPT), model="llama")
    _, headers, whole = ask("GET", f"/v1/jobs/{id}/result")
    path, n = f"/v1/jobs/{id}/result", len(whole)
    pieces = [ask("GET", path, Range=f"bytes={at}-{at + 99}")[2] for at in range(0, n, 100)]
    assert b"".join(pieces) == whole
    status, part, tail = ask("GET", path, Range="bytes=-7", If_Range=headers["etag"])
    assert (status, part["content-range"], tail) == (206, f"bytes {n - 7}-{n - 1}/{n}", whole[-7:])
    assert ask("GET", path, Range=f"bytes={n}-")[0] == 416
    assert ask("GET", path, Range="bytes=5-2")[0] == 416
    for other in ("bytes=0-1,4-5", "items=0-3"):
        assert ask("GET", path, Range=other)[::2] == (200, whole), "another kind of range is as none"
    assert ask("GET", path, Range="bytes=0-9", If_Range='"another"')[2] == whole


def test_a_request_sent_twice_runs_once(service):
    ask = Http(service)
    body = {"request": json.loads(iv.to_json(iv.TraceRequest(PROMPT))), "model": "llama"}
    first = ask("POST", "/v1/jobs", body, Idempotency_Key="k1")
    again = ask("POST", "/v1/jobs", body, Idempotency_Key="k1")
    assert (first[0], again[0]) == (201, 200)
    assert json.loads(first[2])["id"] == json.loads(again[2])["id"]
    other = ask("POST", "/v1/jobs", {**body, "slot": "x"}, Idempotency_Key="k1")
    assert other[0] == 400
    assert b"one key for one request" in other[2]


def test_what_is_too_large_is_refused_with_a_slice_that_fits(guarded):
    engine = iv.connect(guarded, token=ALICE)
    trace = engine.trace("abc" * 20)
    with pytest.raises(iv.TooLargeError, match=r"a slice of HeatmapView: positions=iv\.Span\(0, (\d+)\)") as caught:
        trace.heatmap(top_k=32)
    n = int(str(caught.value).split("Span(0, ")[1].split(")")[0])
    assert trace.heatmap(top_k=32, positions=iv.Span(0, n)).p_max.shape[1] == n
    id = Http(guarded, ALICE).run(iv.HeatmapView(trace.id, top_k=32))
    assert Http(guarded, ALICE)("GET", f"/v1/jobs/{id}/result")[0] == 413


def test_a_job_of_another_client_is_not_there(guarded):
    alice, bob = Http(guarded, ALICE), Http(guarded, BOB)
    id = alice.run(iv.TraceRequest(PROMPT))
    trace = read_answer(alice("GET", f"/v1/jobs/{id}/result")[2]).value.id
    unknown = bob("GET", "/v1/jobs/nonesuch")
    for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/result"), ("DELETE", "")):
        status, _, data = bob(method, f"/v1/jobs/{id}{path}")
        assert (status, data) == (404, unknown[2])
    assert bob("POST", f"/v1/traces/{trace}/describe", {})[0] == 404
    assert alice("POST", f"/v1/traces/{trace}/describe", {})[0] == 200


def test_a_client_that_used_up_what_it_may_is_told_when_to_come_again(guarded):
    bob = Http(guarded, BOB)
    bob.run(iv.TraceRequest("a" * 30))
    status, headers, data = bob("POST", "/v1/jobs", {"request": json.loads(iv.to_json(iv.TraceRequest("ab")))})
    assert status == 429
    assert int(headers["retry-after"]) > 60
    assert b"tokens: expected at most 10 an hour" in data
    with pytest.raises(iv.BusyError, match="used up") as caught:
        iv.connect(guarded, token=BOB).trace("ab")
    assert caught.value.after > 60
    Http(guarded, ALICE).run(iv.TraceRequest("ab"))


def test_cancelling_ends_a_run_with_what_there_is(service):
    ask, engine = Http(service), iv.connect(service, "llama")
    finished_steps = 2
    with watching() as watch:
        entered, go = threading.Event(), threading.Event()

        def stand() -> None:
            entered.set()
            go.wait(WAIT_S)

        watch.at(N_LAYERS * (1 + finished_steps) + 1, stand)
        run = {"request": json.loads(iv.to_json(iv.TraceRequest(PROMPT, iv.Generation(8)))), "model": "llama"}
        id = json.loads(ask("POST", "/v1/jobs", run)[2])["id"]
        assert entered.wait(WAIT_S)
        assert ask("GET", f"/v1/jobs/{id}/result")[0] == 202
        assert ask("DELETE", f"/v1/jobs/{id}")[0] == 202
        go.set()
        _, headers, data = ask.result(id)
    assert headers["x-job-state"] == "cancelled"
    info = read_answer(data).value
    assert info.cancelled
    assert len(info.tokens) == info.prompt_length + finished_steps
    assert engine.find(info.id).shares().attention.shape == (N_LAYERS, len(info.tokens))


def test_a_service_that_began_anew_makes_lost_traces_again(tiny_llama):
    models = {"llama": iv.ModelSpec(str(tiny_llama))}
    with socket.socket() as keeper:
        # nobody else is given this port while one service has ended and the next has not begun
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        port = keeper.getsockname()[1]
        with serving(models, port=port) as url:
            engine = iv.connect(url, patience=WAIT_S)
            trace = engine.trace(PROMPT, max_new_tokens=3)
            other = engine.trace("cab ab!")
            edited = trace.edit(iv.Patch("resid_post", 1, [2], source=other, source_positions=[1]))
            before = trace.heatmap(), edited.logits(), trace.compare(edited)
        ended: list[Any] = []
        waiting = threading.Thread(target=lambda: ended.append(edited.logits()))
        waiting.start()
        with serving(models, port=port):
            waiting.join(WAIT_S)
            assert ended[0].tobytes() == before[1].tobytes()
            assert edited.baseline.id == trace.id
            again = trace.heatmap(), edited.logits(), trace.compare(edited)
            assert again[0].logits.tobytes() == before[0].logits.tobytes()
            assert again[2].frame().equals(before[2].frame())
            trace.pin()
            with pytest.raises(iv.TraceError, match="expected the id of one made here"):
                iv.connect(url).view(iv.SharesView(f"{'x' * 16}.{trace.id.rpartition('.')[2]}"))


def test_another_trace_is_not_taken_for_the_lost_one(service):
    engine = iv.connect(service, "llama")
    trace = engine.trace(PROMPT, max_new_tokens=2)
    info = engine.describe(trace.id)
    lie = dataclasses.replace(info, id=f"{'y' * 16}.{trace.id.rpartition('.')[2]}", fingerprint="another")
    engine._infos["", lie.id] = lie
    with pytest.raises(iv.TraceError, match="made again, it is another one"):
        engine.view(iv.SharesView(lie.id))


def test_a_stranger_cannot_take_the_id_of_anothers_trace(guarded):
    alice, mallory = iv.connect(guarded, token=ALICE), iv.connect(guarded, token=ALICE)
    trace = alice.trace(PROMPT)
    mallory._infos["other", trace.id] = alice.describe(trace.id)
    with pytest.raises(iv.TraceError, match="one that is taken"):
        mallory.view(iv.SharesView(trace.id), session="other")
    assert trace.shares().attention.shape[0]


def test_models_are_listed_without_folders(guarded, tiny_llama, service):
    status, _, data = Http(guarded, ALICE)("GET", "/v1/models")
    assert status == 200
    assert str(tiny_llama.parent).encode() not in data
    card = Http(guarded, ALICE)("GET", "/v1/capabilities?finish=30")[2]
    assert str(tiny_llama.parent).encode() not in card
    with pytest.raises(iv.RequestError, match=r"model: expected one of demo, llama, gpt2.*several"):
        iv.connect(service)
    with pytest.raises(iv.RequestError, match="expected one of demo, llama, gpt2"):
        iv.connect(service, "nonesuch")


def test_no_log_has_a_text_or_a_token(guarded, caplog, capfd):
    secret = "cab!cab!cab!"
    with caplog.at_level(logging.DEBUG):
        engine = iv.connect(guarded, token=ALICE)
        engine.trace(secret).heatmap(positions=[0])
        with pytest.raises(iv.IntravistoError):
            engine.trace(secret, sites=["z"]).heatmap()
        metrics = Http(guarded, ALICE)("GET", "/metrics")[2].decode()
    heard = caplog.text + "".join(capfd.readouterr()) + metrics
    assert secret not in heard
    assert ALICE not in heard
    assert 'intravisto_jobs_total{kind="TraceRequest",model="llama",state="done"}' in metrics


def test_the_page_of_what_is_answered_loads_nothing_from_elsewhere(service):
    status, _, page = Http(service)("GET", "/docs")
    assert status == 200
    assert b"/v1/jobs/{id}/events" in page
    assert b"http://" not in page
    assert b"https://" not in page
    assert "/v1/estimate" in json.loads(Http(service)("GET", "/openapi.json")[2])["paths"]
    assert json.loads(Http(service)("GET", "/health")[2])["status"] == "ok"
    assert b"`" not in page


def test_whoever_opens_the_address_alone_is_led_to_that_page(service):
    status, headers, _ = Http(service)("GET", "/")
    assert (status, headers["location"]) == (307, "docs")
    for method, path in (("GET", "/nothing"), ("PUT", "/v1/jobs")):
        status, _, answer = Http(service)(method, path)
        assert status in (404, 405)
        said = json.loads(answer)["error"]["message"]
        assert (
            said
            == f"address: expected one of the addresses, each with its methods, that /docs lists; got '{method} {path}'"
        )


def test_half_precision_travels_in_half_the_bytes():
    values = np.random.default_rng(0).standard_normal((100, 64)).astype("float32")
    bits = (values.view("<u4") & 0xFFFF0000).view("<f4")
    record = iv.Activation("id", iv.Site.Z, 0, None, bits)
    packed = pack_answer(record, "bfloat16")
    assert len(packed) < 0.6 * bits.nbytes + 2000
    assert read_answer(packed).value.values.tobytes() == bits.tobytes()
    uneven = iv.Activation("id", iv.Site.Z, 0, None, values)
    assert read_answer(pack_answer(uneven, "bfloat16")).value.values.tobytes() == values.tobytes()


@pytest.mark.parametrize("cut", [0, 7, 8, 100, -1])
def test_a_damaged_answer_is_refused(cut):
    packed = pack_answer(iv.Activation("id", iv.Site.Z, 0, None, np.zeros((3, 4), "float32")))
    with pytest.raises(iv.TraceError, match="answer: expected"):
        read_answer(packed[:cut])
    (length,) = struct.unpack("<Q", packed[:8])
    changed = bytearray(packed)
    changed[8 + length] ^= 1
    with pytest.raises(iv.TraceError, match="hash differs"):
        read_answer(bytes(changed))
