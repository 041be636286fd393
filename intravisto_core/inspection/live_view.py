"""The picture of a running script, on this machine alone: which modules run, which are done, what was measured."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from intravisto_core.errors import RequestError, expected
from intravisto_core.records import Architecture
from intravisto_core.records.base import find_figures

HOST = "127.0.0.1"
LARGEST_PORT = 65_535
# the page may ask its own server, and nobody else
ASKS_ITSELF = "default-src 'none'; connect-src 'self'"


class LiveView(AbstractContextManager["LiveView"]):
    """A server of one page. `tell` and `show` are called by the Inspector."""

    def __init__(self, found: Architecture, port: int = 0) -> None:
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= LARGEST_PORT:
            raise RequestError(expected("port", f"a whole number from 0 to {LARGEST_PORT}", port))
        self._lock = Lock()
        self._found, self._runs = found, 0
        # modules in the order in which they began (False) or were done (True), since the run began
        self._events: list[tuple[str, bool]] = []
        try:
            self._server = ThreadingHTTPServer((HOST, port), _handler(self))
        except OSError as error:
            reason = error.strerror or str(error)
            raise RequestError(expected("port", f"one that nothing listens on ({reason})", port)) from error
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, name="architecture", daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}/"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def tell(self, path: str, done: bool) -> None:
        """A module is about to run, or has run. The root begins anew."""
        with self._lock:
            if not path and not done:
                self._events = []
            self._events.append((path, done))

    def show(self, found: Architecture) -> None:
        """A run came to its end."""
        with self._lock:
            self._found = found
            self._runs += 1

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def __exit__(self, *error: Any) -> None:
        self.close()

    def answer(self, target: str) -> tuple[str, str] | None:
        """Type and text of what is asked for: the page, its data, or what ran since; None where there is none."""
        parts = urlsplit(target)
        payload = find_figures("web.architecture_payload")
        with self._lock:
            found, runs, events = self._found, self._runs, list(self._events)
        if parts.path == "/":
            page = found.html(live=True).replace("default-src 'none'", ASKS_ITSELF, 1)
            return "text/html; charset=utf-8", page
        if parts.path == "/data":
            return "application/json", json.dumps(payload.architecture_data(found, live=True))
        if parts.path == "/state":
            since = parse_qs(parts.query).get("since", ["0"])[0]
            start = int(since) if since.isdecimal() and int(since) <= len(events) else 0
            state = {"runs": runs, "from": start, "events": events[start:], "n": len(events)}
            return "application/json", json.dumps(state)
        return None


def _handler(view: LiveView) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # a name that leads here from another site is not ours
            mine = {f"{HOST}:{view.port}", f"localhost:{view.port}"}
            found = view.answer(self.path) if self.headers.get("Host") in mine else None
            if found is None:
                self.send_error(404)
                return
            kind, text = found
            body = text.encode("utf-8", "replace")
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
