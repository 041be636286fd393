"""What comes in over HTTP, read with a bound on its size, its time and its depth."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
from fastapi import Request
from starlette.requests import ClientDisconnect

from intravisto_core.errors import IntravistoError, RequestError, expected
from intravisto_core.service.clients import Refused
from intravisto_core.service.limits import ServiceLimits
from intravisto_core.storage.bundle import DEEPEST, is_shallow, unpack_bundle

# lists of numbers in JSON take seconds to read, in which nobody else is answered; arrays in a bundle take none
MOST_JSON = 8 << 20
JSON, BUNDLE = "application/json", "application/vnd.intravisto"


async def read_bytes(request: Request, limits: ServiceLimits) -> bytes:
    """The body.

    Raises:
        Refused: it is too large, or does not arrive in time.
    """
    most = limits.most_body
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most:
        raise _too_large(most)
    found = bytearray()
    try:
        async with asyncio.timeout(limits.body_s):
            async for piece in request.stream():
                found += piece
                if len(found) > most:
                    raise _too_large(most)
    except ClientDisconnect:
        raise Refused(400, "body: expected it whole; the connection broke off") from None
    except TimeoutError:
        raise Refused(408, f"body: expected it within {limits.body_s:g} s; it did not arrive") from None
    return bytes(found)


def parse(data: bytes, content_type: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A body as JSON and arrays: JSON alone, or a bundle as `pack_question` writes it.

    Raises:
        Refused: another content type. RequestError: it is neither.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == BUNDLE:
        try:
            bundle = unpack_bundle(data, "body")
        except IntravistoError as error:
            raise RequestError(str(error)) from None
        return bundle.manifest, dict(bundle.arrays)
    if kind != JSON:
        # a form of another site's page cannot send either
        raise Refused(415, f"content-type: expected {JSON} or {BUNDLE}; got another one")
    if len(data) > MOST_JSON:
        raise _too_large(MOST_JSON)
    try:
        body = json.loads(data)
        shallow = is_shallow(body, DEEPEST)
    except (ValueError, RecursionError):
        body, shallow = None, False
    if not isinstance(body, dict) or not shallow:
        raise RequestError(f"body: expected an object in JSON, nested at most {DEEPEST} deep; got something else")
    return body, {}


def _too_large(most: int) -> Refused:
    return Refused(
        413,
        expected(
            "body",
            f"at most {most / 1e6:.1f} MB",
            "more",
            "Send fewer prompts, or only those rows of an array that the request needs, and arrays as a bundle",
        ),
    )
