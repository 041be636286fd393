"""Sixty requests of somebody who means harm: each is refused in words, none ends the service, none tells too much."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.service.body import parse
from intravisto_core.service.clients import Refused
from intravisto_core.service.limits import ServiceLimits
from intravisto_core.storage.bundle import pack_bundle
from tests.service.serving import WAIT_S, serving
from tests.service.test_jobs import ALICE, BOB, Http, guarded

assert guarded  # a fixture that these tests use too
TRACE = json.loads(iv.to_json(iv.TraceRequest("ab")))
BUNDLE = "application/vnd.intravisto"


def bundle(body: dict[str, Any], **arrays: np.ndarray) -> bytes:
    return pack_bundle(body, arrays)


def deep(n: int) -> bytes:
    return b'{"request":' + b"[" * n + b"]" * n + b"}"


UNKNOWN_TRACE = {"kind": "SharesView", "trace": "nonesuch"}
STEER = iv.to_json(iv.TraceRequest("ab", interventions=[iv.Steer("resid_post", 1, -1, direction=[1.0] * 32)]))
HASH = json.loads(STEER)["interventions"][0]["direction"]["hash"]

# what is sent: method, path, body, headers; the status that answers. Bodies are JSON where they are no bytes.
Sent = tuple[str, str, Any, dict[str, str], int]
REQUESTS: dict[str, Sent] = {
    "no token": ("POST", "/v1/jobs", {"request": TRACE}, {"Authorization": ""}, 401),
    "a wrong token": ("POST", "/v1/jobs", {"request": TRACE}, {"Authorization": "Bearer wrong-wrong-wrong"}, 401),
    "a token's beginning": ("GET", "/v1/models", None, {"Authorization": f"Bearer {ALICE[:-1]}"}, 401),
    "a token and more": ("GET", "/v1/models", None, {"Authorization": f"Bearer {ALICE}x"}, 401),
    "another scheme": ("GET", "/v1/models", None, {"Authorization": f"Basic {ALICE}"}, 401),
    "a token without scheme": ("GET", "/v1/models", None, {"Authorization": ALICE}, 401),
    "an empty bearer": ("GET", "/v1/models", None, {"Authorization": "Bearer  "}, 401),
    "a long token": ("GET", "/v1/models", None, {"Authorization": "Bearer " + "x" * 8000}, 401),
    "metrics without token": ("GET", "/metrics", None, {"Authorization": ""}, 401),
    "capabilities without token": ("GET", "/v1/capabilities", None, {"Authorization": ""}, 401),
    "a job without token": ("GET", "/v1/jobs/x/result", None, {"Authorization": ""}, 401),
    "tokens in the address": ("GET", f"/v1/models?token={ALICE}", None, {"Authorization": ""}, 401),
    "an oversized body": ("POST", "/v1/jobs", b"x" * 200_000, {}, 413),
    "a size that is a lie": ("POST", "/v1/jobs", b"{}", {"Content-Length": "99999999999"}, 413),
    "deep JSON": ("POST", "/v1/jobs", deep(40_000), {}, 400),
    "rather deep JSON": ("POST", "/v1/jobs", deep(100), {}, 400),
    "a list": ("POST", "/v1/jobs", b"[]", {}, 400),
    "no JSON": ("POST", "/v1/jobs", b"{", {}, 400),
    "nothing": ("POST", "/v1/jobs", b"", {}, 400),
    "not UTF-8": ("POST", "/v1/jobs", b'{"request": "\xff\xfe"}', {}, 400),
    "a number of many digits": ("POST", "/v1/jobs", b'{"request": ' + b"9" * 20_000 + b"}", {}, 400),
    "a form": ("POST", "/v1/jobs", b"request=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "plain text": ("POST", "/v1/jobs", b"{}", {"Content-Type": "text/plain"}, 415),
    "a pickle": ("POST", "/v1/jobs", b"\x80\x04cposix\nsystem\n", {"Content-Type": BUNDLE}, 400),
    "a bundle that is none": ("POST", "/v1/jobs", b"\xff" * 100, {"Content-Type": BUNDLE}, 400),
    "a bundle cut off": ("POST", "/v1/jobs", bundle({"request": STEER})[:-3], {"Content-Type": BUNDLE}, 400),
    "a header larger than its file": ("POST", "/v1/jobs", b"\xff\xff\xff\xff\0\0\0\0{}", {"Content-Type": BUNDLE}, 400),
    "an array that is another": (
        *("POST", "/v1/jobs", bundle({"request": STEER}, **{f"tensor.{HASH}": np.ones(3, "float32")})),
        *({"Content-Type": BUNDLE}, 400),
    ),
    "no request": ("POST", "/v1/jobs", {}, {}, 400),
    "an unknown kind": ("POST", "/v1/jobs", {"request": {"kind": "Bomb"}}, {}, 400),
    "a class of Python": ("POST", "/v1/jobs", {"request": {"kind": "os.system", "command": "id"}}, {}, 400),
    "a kind that is a list": ("POST", "/v1/jobs", {"request": {"kind": ["TraceRequest"]}}, {}, 400),
    "a function": (
        *("POST", "/v1/jobs"),
        {"request": {"kind": "TraceRequest", "prompt": "ab", "interventions": [{"kind": "Apply", "fn": "print"}]}},
        *({}, 400),
    ),
    "a content beside its hash": (
        *("POST", "/v1/jobs"),
        {"request": {"kind": "TensorRef", "hash": "00", "shape": [3], "content": [1, 2, 3]}},
        *({}, 400),
    ),
    "an unknown option": ("POST", "/v1/jobs", {"request": {**UNKNOWN_TRACE, "foo": 1}}, {}, 400),
    "an empty prompt": ("POST", "/v1/jobs", {"request": {"kind": "TraceRequest", "prompt": ""}}, {}, 400),
    "a session that is a list": ("POST", "/v1/jobs", {"request": TRACE, "session": ["x"]}, {}, 400),
    "a session of another client": ("POST", "/v1/traces/x/describe", {"session": "../bob/"}, {}, 404),
    "a long session": ("POST", "/v1/jobs", {"request": TRACE, "session": "x" * 10_000}, {}, 400),
    "recipes that are none": ("POST", "/v1/jobs", {"request": TRACE, "recipes": {"x": 1}}, {}, 400),
    "a recipe of nothing": ("POST", "/v1/jobs", {"request": TRACE, "recipes": [{}]}, {}, 400),
    "a long key": ("POST", "/v1/jobs", {"request": TRACE}, {"Idempotency-Key": "k" * 5000}, 400),
    "a model by its path": ("POST", "/v1/jobs", {"request": TRACE, "model": "../../etc/passwd"}, {}, 404),
    "a model by a full path": ("POST", "/v1/jobs", {"request": TRACE, "model": "/etc"}, {}, 404),
    "a model that is a number": ("POST", "/v1/jobs", {"request": TRACE, "model": 3}, {}, 404),
    "a model of the Hub": ("GET", "/v1/capabilities?model=openai-community/gpt2", None, {}, 404),
    "traversal in a path": ("GET", "/v1/models/../../etc/passwd", None, {}, 404),
    "encoded traversal": ("GET", "/v1/jobs/..%2f..%2fetc%2fpasswd/result", None, {}, 404),
    "a nul in a path": ("GET", "/v1/jobs/%00/result", None, {}, 404),
    "a job that there is not": ("GET", "/v1/jobs/nonesuch", None, {}, 404),
    "cancelling another's job": ("DELETE", "/v1/jobs/nonesuch", None, {}, 404),
    "a verb of Python": ("POST", "/v1/traces/x/__class__", {}, {}, 404),
    "an unknown verb": ("POST", "/v1/session/close", {}, {}, 404),
    "another method": ("PUT", "/v1/jobs", {"request": TRACE}, {}, 405),
    "an unknown path": ("GET", "/admin", None, {}, 404),
    "a text that is a number": ("POST", "/v1/tokenize", {"text": 3}, {}, 400),
    "a conversation of nonsense": ("POST", "/v1/tokenize", {"text": "a", "chat": True, "messages": [[1, 2]]}, {}, 400),
    "a conversation that is a number": ("POST", "/v1/tokenize", {"text": "a", "messages": 5}, {}, 400),
    "modules that are a number": ("POST", "/v1/estimate", {"prompt_tokens": 1, "modules": 5}, {}, 400),
    "an estimate of less than nothing": ("POST", "/v1/estimate", {"prompt_tokens": -1}, {}, 400),
    "an estimate of too much": ("POST", "/v1/estimate", {"prompt_tokens": "many"}, {}, 400),
    "waiting for a word": ("GET", "/v1/capabilities?finish=soon", None, {}, 400),
    "a wait that is a word": ("GET", "/v1/jobs/x/result?wait=long", None, {}, 400),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_it_is_refused_in_words_and_goes_on(guarded, name, tiny_llama):
    method, path, body, headers, status = REQUESTS[name]
    ask = Http(guarded, ALICE)
    got, _, data = ask(method, path, body, **headers)
    assert got == status, data
    error = json.loads(data)["error"]
    assert error["message"]
    assert error["kind"] in ("RequestError", "ServiceError", "TooLargeError", "LostTraceError")
    for leak in (b"Traceback", str(tiny_llama.parent).encode(), ALICE.encode(), BOB.encode(), b"root:"):
        assert leak not in data
    assert ask("GET", "/health")[0] == 200


def test_there_are_sixty():
    assert len(REQUESTS) >= 60


def raw(url: str, *pieces: bytes) -> bytes:
    """What comes back when pieces are sent, and then nothing more."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=WAIT_S) as connection:
        for piece in pieces:
            connection.sendall(piece)
        found = b""
        while piece := connection.recv(65536):
            found += piece
            if b"\r\n\r\n" in found and found.endswith(b"}"):
                break
        return found


def test_a_body_that_does_not_come_is_not_waited_for(tiny_llama):
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    slow = head + b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
    with serving({"llama": iv.ModelSpec(str(tiny_llama))}, limits=ServiceLimits(body_s=0.1)) as url:
        assert b" 408 " in raw(url, slow).splitlines()[0]
        assert Http(url)("GET", "/health")[0] == 200


def test_what_is_no_http_is_refused(guarded):
    assert b" 400 " in raw(guarded, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").splitlines()[0]


def test_a_page_of_another_site_cannot_ask_a_service_without_tokens(service):
    ask = Http(service)
    assert ask("GET", "/v1/models", Host="evil.example:8400")[0] == 403
    assert ask("GET", "/v1/models", Host="127.0.0.1.evil.example")[0] == 403
    assert ask("POST", "/v1/jobs", b'{"request": 1}', **{"Content-Type": "text/plain"})[0] == 415
    assert ask("GET", "/v1/models", Host="localhost:8400")[0] == 200


def test_a_sum_of_a_content_and_another_hash_is_refused():
    with pytest.raises(iv.RequestError, match="request"):
        iv.from_json('{"kind": "TensorRef", "hash": "00", "shape": [3], "content": [1, 2, 3]}')


def test_without_tokens_only_this_machine_is_listened_to(tiny_llama):
    from intravisto_core.cli import main

    assert main(["serve", "--model", str(tiny_llama), "--host", "0.0.0.0"]) == 2


def test_lists_in_json_that_would_hold_up_others_are_refused_unread():
    with pytest.raises(Refused, match=r"at most 8\.4 MB.*arrays as a bundle") as caught:
        parse(b'{"request": [' + b"[1]," * (3 << 20) + b"1]}", "application/json")
    assert caught.value.status == 413
