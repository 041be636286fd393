"""Models and traces over HTTP: what is on offer, what it can show, and what needs no turn of a model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from intravisto_core import __version__
from intravisto_core.errors import LostTraceError, RequestError, TraceError, expected
from intravisto_core.request import to_json
from intravisto_core.service.backend import OPENING, find_key
from intravisto_core.service.body import JSON, parse, read_bytes
from intravisto_core.service.clients import Refused
from intravisto_core.service.desk import NO_STORE, At, Client, Desk
from intravisto_core.storage.migrations import SCHEMA

LONGEST_SESSION = 200
MOST_TRACES = 1000
BODY = {"requestBody": {"content": {JSON: {"schema": {"type": "object"}}}}}
TRACE_VERBS = ("describe", "forget", "pin", "unpin")
SESSION_VERBS = ("rest", "resume")

routes = APIRouter(prefix="/v1")


@routes.get("/models", tags=["models"])
async def models(client: Client, desk: At) -> JSONResponse:
    """The models on offer, and how each is loaded."""
    listed = [{"name": name, "spec": json.loads(to_json(spec))} for name, spec in desk.told_models().items()]
    return JSONResponse({"models": listed}, headers=NO_STORE)


@routes.get("/capabilities", tags=["models"])
async def capabilities(client: Client, desk: At, model: str | None = None, finish: float = 0.0) -> JSONResponse:
    """What a model can show, checked on it, and what names it exactly. finish: seconds to wait for all checks.

    202 and `{"opening": …}` while the model is being loaded, here and where else a model is asked: ask again.
    """
    name = desk.choose_model(model)
    found = await desk.backend.ask(name, "card", {"finish": finish})
    if OPENING in found:
        return JSONResponse(found, 202, NO_STORE)
    found |= {"spec": to_json(desk.told_models()[name]), "model": name}
    return JSONResponse(found | {"schema": SCHEMA, "version": __version__, "limits": dict(desk.told)}, headers=NO_STORE)


@routes.post("/tokenize", tags=["models"], openapi_extra=BODY)
async def tokenize(request: Request, client: Client, desk: At) -> JSONResponse:
    """The tokens of a text: `{"text": …, "add_special_tokens": true, "chat": false, "messages": []}`."""
    return await _ask(desk, request, client, "tokenize")


@routes.post("/estimate", tags=["models"], openapi_extra=BODY)
async def estimate(request: Request, client: Client, desk: At) -> JSONResponse:
    """What a run takes: `{"prompt_tokens": 100, "new_tokens": 10, "sites": null, "modules": []}`."""
    return await _ask(desk, request, client, "estimate")


@routes.post("/traces/{id}/{verb}", tags=["traces"], openapi_extra=BODY)
async def on_trace(id: str, verb: str, request: Request, client: Client, desk: At) -> JSONResponse:
    """describe, forget, pin or unpin a trace: `{"session": ""}`."""
    if verb not in TRACE_VERBS:
        raise Refused(404, expected("verb", TRACE_VERBS, verb))
    return await _ask(desk, request, client, verb, trace=id)


@routes.post("/session/{verb}", tags=["traces"], openapi_extra=BODY)
async def on_session(verb: str, request: Request, client: Client, desk: At) -> JSONResponse:
    """rest or resume a session: `{"session": "", "traces": []}`; while it rests, its pins keep nothing.

    traces: those that are pinned; whichever machines hold them are told. Without it all that are known of the session.
    """
    if verb not in SESSION_VERBS:
        raise Refused(404, expected("verb", SESSION_VERBS, verb))
    body = await _read_body(desk, request, client)
    traces = body.pop("traces", None)
    if traces is None:
        traces = desk.book.known_traces(body["session"])[-MOST_TRACES:]
    if not isinstance(traces, list) or not all(isinstance(id, str) for id in traces) or len(traces) > MOST_TRACES:
        raise RequestError(expected("traces", f"a list of at most {MOST_TRACES} ids", type(traces).__name__))
    model = desk.choose_model(body.get("model"))
    for key in sorted({find_key(id) for id in traces}) or [""]:
        await desk.backend.ask(model, verb, body, key)
    return JSONResponse({}, headers=NO_STORE)


async def _ask(desk: Desk, request: Request, client: str, verb: str, trace: str = "") -> JSONResponse:
    body = await _read_body(desk, request, client) | ({"trace": trace} if trace else {})
    if verb == "forget":
        desk.book.drop_recipe(body["session"], trace)
    try:
        found = await desk.backend.ask(desk.choose_model(body.get("model")), verb, body, find_key(trace))
    except TraceError as error:
        raise LostTraceError(str(error)) from None
    return JSONResponse(found, 202 if OPENING in found else 200, NO_STORE)


async def _read_body(desk: Desk, request: Request, client: str) -> dict[str, Any]:
    """The body, with its session as that of the client."""
    data = await read_bytes(request, desk.limits)
    body: dict[str, Any] = {}
    if data:
        body, _ = await asyncio.to_thread(parse, data, request.headers.get("content-type", ""))
    session = body.get("session", "")
    if not isinstance(session, str) or len(session) > LONGEST_SESSION:
        raise RequestError(expected("session", f"a text of at most {LONGEST_SESSION} characters", session))
    return body | {"session": f"{client}/{session}"}
