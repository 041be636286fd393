"""What every answer of the server passes: its headers are set, and what nobody should reach is closed.

Streamlit takes this as a middleware of its `st.App`; it stands before Streamlit's own.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import streamlit
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intravisto_ui.server.environment import frame_ancestors, is_public

METRICS = "/_stcore/metrics"
UPLOADS = "/_stcore/upload_file/"
PUBLIC_UPLOAD_BYTES = (1 << 20) + (64 << 10)
"""One file of 1 MB, with what a browser puts around it."""

_START = Path(streamlit.__file__).parent / "static" / "index.html"
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def security_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """The headers of every answer.

    Scripts come from this server alone, or are the one that Streamlit's start page holds, which is named by its hash;
    `blob:` is how Streamlit loads the scripts of components that it was given as text. Styles are allowed in the page,
    since Streamlit makes all of its own there. A script that a model or a prompt could smuggle in is none of these.

    Raises:
        RequestError: the environment names frames wrongly.
    """
    frames = frame_ancestors(environment)
    policy = {
        "default-src": "'self'",
        "script-src": " ".join(("'self'", "blob:", *_hashes_of_inline_scripts())),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "frame-src": "'self'",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": " ".join(("'self'", *frames)),
    }
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        # the address of a page holds the key to its workspace
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    }
    if not frames:
        # for browsers that do not know frame-ancestors; it cannot name other origins
        headers["X-Frame-Options"] = "SAMEORIGIN"
    return headers


def _hashes_of_inline_scripts() -> list[str]:
    """Of Streamlit's start page, as a policy names them."""
    scripts = _INLINE.findall(_START.read_text(encoding="utf-8"))
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


class Door:
    """Streamlit's server with these headers, without its metrics, and in public mode with small uploads alone."""

    def __init__(self, app: ASGIApp, environment: Mapping[str, str] = os.environ) -> None:
        self._app = app
        self._headers = security_headers(environment)
        self._public = is_public(environment)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        answer = self._refuse(scope) or self._app
        await answer(scope, receive, send_with_headers)

    def _refuse(self, scope: Scope) -> PlainTextResponse | None:
        path = scope["path"]
        # with a base path of the server before it, or a slash after it
        if path.rstrip("/").endswith(METRICS):
            return PlainTextResponse("Not Found", 404)
        if self._public and UPLOADS in path and scope["method"] == "PUT":
            stated = dict(scope["headers"]).get(b"content-length", b"").decode("latin-1")
            if not stated.isdecimal():
                return PlainTextResponse("An upload says how long it is", 411)
            if int(stated) > PUBLIC_UPLOAD_BYTES:
                return PlainTextResponse("Files are at most 1 MB on this public server", 413)
        return None
