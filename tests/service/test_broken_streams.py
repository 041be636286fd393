"""The events of a job whose stream breaks after every event: what was heard is not asked for again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import intravisto_core as iv
from intravisto_core.engine.connection import Connection
from intravisto_core.engine.job import Job
from intravisto_core.engine.remote_job import Follower
from tests.service.serving import WAIT_S

STEPS = 4


class Breaking(BaseHTTPRequestHandler):
    """Tells the event after the one that was heard last, and breaks the stream; the last event is an error."""

    def answer(self, body: object, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"id": "a-job"}, 201)

    def do_GET(self) -> None:
        if "/result" in self.path:
            self.answer({}, 202)
        elif not self.path.endswith("/events"):
            self.answer({"state": "running"})
        else:
            heard = int(self.headers.get("Last-Event-ID", "0"))
            self.server.heard.append(heard)
            told = {"done": heard, "total": STEPS, "text": f"step {heard + 1}"}
            name = "progress" if heard + 1 < STEPS else "failed"
            if name == "failed":
                told["error"] = {"kind": "RequestError", "message": "as it was asked to"}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"id: {heard + 1}\nevent: {name}\ndata: {json.dumps(told)}\n\n".encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Breaking)
    made.heard = []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_a_stream_goes_on_after_what_was_heard(server):
    connection = Connection(f"http://127.0.0.1:{server.server_port}", None, patience=20.0)
    job = Job(iv.TraceRequest("1 2 3"))
    Follower(connection, job, lambda _: b"a question", lambda reply: reply).start()
    with pytest.raises(iv.RequestError, match="as it was asked to"):
        job.result(WAIT_S)
    assert server.heard == list(range(STEPS))
    assert job.progress.text == f"step {STEPS - 1}"
    connection.close()
