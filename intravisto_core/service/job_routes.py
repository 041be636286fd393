"""Jobs over HTTP: begin, follow, fetch, cancel."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from intravisto_core.engine.answers import Question, read_question
from intravisto_core.errors import IntravistoError, RequestError, expected
from intravisto_core.service.body import BUNDLE, JSON, parse, read_bytes
from intravisto_core.service.desk import NO_STORE, At, Client, status_of
from intravisto_core.service.ranges import answer_range, make_tag
from intravisto_core.storage.bundle import read_head

BEAT_S = 10.0
LONGEST_KEY = 200
LONGEST_WAIT_S = 30.0
BODY = {"requestBody": {"content": {JSON: {"schema": {"type": "object"}}, BUNDLE: {}}}}

routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@routes.post("", status_code=201, openapi_extra=BODY)
async def submit(request: Request, client: Client, desk: At) -> JSONResponse:
    """Queue a request: `{"request": …, "model": "demo", "session": "", "slot": ""}`; gives the job's id.

    Sent twice with one `Idempotency-Key` it runs once.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= LONGEST_KEY:
        raise RequestError(expected("Idempotency-Key", f"1 to {LONGEST_KEY} characters", len(key)))
    data = await read_bytes(request, desk.limits)
    # a large body is read beside what others ask
    name, question, digest = await asyncio.to_thread(_read, data, request.headers.get("content-type", ""))
    model = desk.choose_model(name)
    question = replace(question, session=f"{client}/{question.session}")
    entry, new = desk.book.start(client, model, question, key, digest)
    headers = NO_STORE | {"Location": f"/v1/jobs/{entry.ticket.id}"}
    return JSONResponse(entry.describe(), 201 if new else 200, headers)


def _read(data: bytes, content_type: str) -> tuple[Any, Question, str]:
    """The model that is named, the question, and a hash of all."""
    body, arrays = parse(data, content_type)
    try:
        return body.get("model"), read_question(body, arrays), hashlib.sha256(data).hexdigest()
    except IntravistoError as error:
        raise RequestError(str(error)) from None


@routes.get("/{id}")
async def describe(id: str, client: Client, desk: At) -> JSONResponse:
    """How far a job is."""
    return JSONResponse(desk.find_entry(client, id).describe(), headers=NO_STORE)


@routes.get("/{id}/events")
async def events(id: str, request: Request, client: Client, desk: At) -> StreamingResponse:
    """Server-sent events: queued, progress, and at last done, failed or cancelled. `Last-Event-ID` resumes."""
    entry = desk.find_entry(client, id)
    last = request.headers.get("last-event-id", "0")
    if not (last.isascii() and last.isdecimal()) or len(last) > 12:
        raise RequestError(expected("Last-Event-ID", "the number of an event", last[:40]))

    async def lines() -> AsyncIterator[str]:
        async for told in desk.book.follow(entry, int(last), BEAT_S):
            if told is None:
                yield ": still here\n\n"
            else:
                number, name, body = told
                yield f"id: {number}\nevent: {name}\ndata: {json.dumps(body)}\n\n"

    headers = NO_STORE | {"X-Accel-Buffering": "no"}
    return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)


@routes.get("/{id}/result", responses={200: {"content": {BUNDLE: {}, JSON: {}}}, 202: {}, 206: {}})
async def result(id: str, request: Request, client: Client, desk: At, wait: float = 0.0) -> Response:
    """The answer: safetensors whose header holds the record as JSON; `Range` serves.

    With `Accept: application/json` that JSON alone. 202 while the job has not ended; wait: seconds to wait for that.
    """
    entry = desk.find_entry(client, id)
    await desk.book.wait(entry, min(wait, LONGEST_WAIT_S))
    outcome = entry.outcome
    if outcome is None:
        return JSONResponse(entry.describe(), 202, NO_STORE)
    if outcome.answer is None:
        error = dict(outcome.error or {"kind": "Cancelled", "message": "cancelled"})
        return desk.refuse(status_of(error), error)
    if JSON in request.headers.get("accept", ""):
        headers = NO_STORE | {"X-Job-State": outcome.state}
        return Response(read_head(outcome.answer)["manifest"], media_type=JSON, headers=headers)
    # once: an answer may be fetched in many parts
    entry.tag = entry.tag or await asyncio.to_thread(make_tag, outcome.answer)
    return answer_range(outcome.answer, entry.tag, request.headers, BUNDLE, NO_STORE | {"X-Job-State": outcome.state})


@routes.delete("/{id}", status_code=202)
async def cancel(id: str, client: Client, desk: At) -> JSONResponse:
    """Stop a job; it ends at the next layer, with what there is."""
    entry = desk.find_entry(client, id)
    await desk.book.cancel(entry)
    return JSONResponse(entry.describe(), 202, NO_STORE)
