"""What every answer of the server passes: headers, closed paths, small uploads for strangers."""

from __future__ import annotations

import ast
import asyncio
import base64
import hashlib
import re
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import streamlit
from starlette.types import Receive, Scope, Send

from intravisto_core.errors import RequestError
from intravisto_ui.server.door import PUBLIC_UPLOAD_BYTES, Door, security_headers
from intravisto_ui.server.environment import frame_ancestors, is_public

ROOT = Path(__file__).parents[2]
UPLOAD = "/_stcore/upload_file/session/file"


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, in a thread: a browser of other tests may have a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """A server that answers everything, with a policy of its own."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-frame-options", b"ALLOWALL")]})
    await send({"type": "http.response.body", "body": b"inner"})


def answer(
    path: str, environment: dict[str, str] | None = None, method: str = "GET", **headers: str
) -> tuple[int, dict[str, list[str]], bytes]:
    """Status, headers by name, and body."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": given}
    run(Door(inner, environment or {})(scope, receive, send))
    found: dict[str, list[str]] = {}
    for name, value in sent[0]["headers"]:
        found.setdefault(name.decode().lower(), []).append(value.decode())
    return sent[0]["status"], found, b"".join(m.get("body", b"") for m in sent[1:])


def policy(headers: dict[str, str]) -> dict[str, list[str]]:
    parts = (part.split() for part in headers["Content-Security-Policy"].split(";"))
    return {part[0]: part[1:] for part in parts}


def test_every_answer_has_each_header_once() -> None:
    for path in ("/", "/flow", "/_stcore/health", "/static/js/index.js", "/_stcore/metrics"):
        _, headers, _ = answer(path)
        for name, value in security_headers({}).items():
            assert headers[name.lower()] == [value], (path, name)


def test_scripts_come_from_this_server_or_are_streamlits_own() -> None:
    allowed = policy(security_headers({}))
    assert allowed["default-src"] == ["'self'"]
    assert allowed["object-src"] == allowed["base-uri"] == ["'none'"]
    scripts = allowed["script-src"]
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "https:", "http:", "data:"} & set(scripts)
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    inline = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in inline if s}
    assert hashes
    assert set(scripts) == {"'self'", "blob:", *hashes}
    assert not any(":" in source and source != "blob:" for source in allowed["connect-src"])


def test_no_other_site_shows_the_app_in_a_frame() -> None:
    headers = security_headers({})
    assert policy(headers)["frame-ancestors"] == ["'self'"]
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_a_space_is_shown_by_hugging_face_and_by_nobody_else() -> None:
    headers = security_headers({"SPACE_ID": "somebody/intravisto"})
    assert policy(headers)["frame-ancestors"] == ["'self'", "https://huggingface.co"]
    assert "X-Frame-Options" not in headers, "it cannot name another origin, and would shut huggingface.co out"
    own = {
        "SPACE_ID": "somebody/intravisto",
        "INTRAVISTO_FRAME_ANCESTORS": "https://a.example https://*.b.example:8443",
    }
    assert frame_ancestors(own) == ("https://a.example", "https://*.b.example:8443")
    assert frame_ancestors({**own, "INTRAVISTO_FRAME_ANCESTORS": ""}) == ()


@pytest.mark.parametrize("wrong", ["*", "example.org", "https://a.example; script-src *", "https://a\nX: y", "'none'"])
def test_a_frame_that_is_no_origin_is_refused(wrong: str) -> None:
    with pytest.raises(RequestError, match="INTRAVISTO_FRAME_ANCESTORS: expected origins"):
        security_headers({"INTRAVISTO_FRAME_ANCESTORS": wrong})


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/metrics/", "/base/_stcore/metrics"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_metrics_are_closed(path: str, method: str) -> None:
    status, _, body = answer(path, method=method)
    assert (status, b"inner" in body) == (404, False)


def test_strangers_upload_little() -> None:
    public = {"INTRAVISTO_PUBLIC": "1"}
    assert answer(UPLOAD, public, "PUT", content_length=str(PUBLIC_UPLOAD_BYTES))[0] == 200
    assert answer(UPLOAD, public, "PUT", content_length=str(PUBLIC_UPLOAD_BYTES + 1))[0] == 413
    assert answer(UPLOAD, public, "PUT")[0] == 411
    assert answer(UPLOAD, public, "PUT", content_length="many")[0] == 411
    assert answer(UPLOAD, public, "DELETE")[0] == 200
    assert answer(UPLOAD, {}, "PUT", content_length=str(50 << 20))[0] == 200


def test_what_is_no_http_passes_untouched() -> None:
    passed: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["type"])

    async def nothing(*_: Any) -> None:
        return None

    for kind in ("lifespan", "websocket"):
        run(Door(app, {})({"type": kind}, nothing, nothing))
    assert passed == ["lifespan", "websocket"]


@pytest.mark.parametrize(("value", "public"), [("1", True), ("yes", True), (" On ", True), ("", False), ("0", False)])
def test_public_is_read_in_one_place(value: str, public: bool) -> None:
    assert is_public({"INTRAVISTO_PUBLIC": value}) is public


def test_streamlit_finds_the_server_in_the_app() -> None:
    """By the name that `streamlit run` looks for: an assignment of `st.App` to `app`."""
    assigned = [
        node
        for node in ast.walk(ast.parse((ROOT / "app.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "app"
    ]
    assert [ast.unparse(node.value.func) for node in assigned if isinstance(node.value, ast.Call)] == ["st.App"]
    assert "Door" in ast.unparse(assigned[0].value)
