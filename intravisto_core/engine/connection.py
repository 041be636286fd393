"""HTTP to a service: connections that are used again, and asked anew where one is lost."""

from __future__ import annotations

import http.client
import json
import math
import random
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from intravisto_core.engine.answers import read_error
from intravisto_core.errors import BusyError, IntravistoError, RequestError, ServiceError, TraceError, expected

JSON, BUNDLE = "application/json", "application/vnd.intravisto"
JOBS = "/v1/jobs"
ANSWER_S = 120.0
# a stream says something at least every ten seconds
SILENT_S = 45.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
MOST_IDLE = 16
PIECE = 1 << 20
LOST = (OSError, http.client.HTTPException)
NOT_NOW = (502, 503, 504)


class Unreachable(ServiceError):
    """Nobody answers at the address, however often it was asked."""


class JobLost(ServiceError):
    """The service does not know a job any more: it began anew, or the job ended long ago."""


class Connection:
    """A service by its address. patience: seconds for which a lost service is asked again.

    Raises:
        RequestError: the address is none, or the token or the patience.
    """

    def __init__(self, url: str, token: str | None, patience: float = 60.0) -> None:
        self._secure, self._host, self._port, self._root = _read_address(url)
        self.url = url.rstrip("/")
        self._headers = {"Accept": BUNDLE}
        if token is not None and not isinstance(token, str):
            raise RequestError("token: expected a text; got something else")
        if token:
            if not (token.isascii() and token.isprintable() and " " not in token):
                raise RequestError("token: expected printable characters without spaces; got others")
            self._headers["Authorization"] = f"Bearer {token}"
        if not isinstance(patience, int | float) or isinstance(patience, bool) or not 0 <= patience < math.inf:
            raise RequestError(expected("patience", "seconds from 0", patience))
        self._patience = patience
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def ask(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        """A small answer in JSON. body: in JSON's own types, or bytes of a bundle. key: so that it is done once.

        Raises:
            IntravistoError: the service's own error, or it cannot be reached.
        """
        headers = {"Accept": JSON} | ({"Idempotency-Key": key} if key else {})
        data = self.fetch(method, path, body, headers)
        try:
            return json.loads(data)
        except ValueError:
            raise self._strange("JSON") from None

    def fetch(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        told: dict[str, str] | None = None,
    ) -> bytes:
        """A whole answer. Where the connection breaks, it is asked again, and goes on where it broke.

        told: is given the headers of the answer.

        Raises:
            IntravistoError: see `ask`.
        """
        got = bytearray()
        tag = ""
        for _ in self.tries():
            more = dict(headers or {})
            if got and tag:
                more |= {"Range": f"bytes={len(got)}-", "If-Range": tag}
            try:
                with self._answer(method, path, body, more) as response:
                    self._check(response, path)
                    if response.status != 206:
                        got.clear()
                    tag, left = response.headers.get("ETag", ""), response.length
                    while piece := response.read(PIECE):
                        got += piece
                        left = None if left is None else left - len(piece)
                    if left:
                        raise ConnectionError("the answer broke off")
                    if told is not None:
                        told.update(response.headers)
                    return bytes(got)
            except LOST:
                continue
        raise self.unreachable()

    def stream(self, path: str, last: int) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Server-sent events after a number, as number, name and what each says. Ends where the stream ends or breaks.

        Raises:
            IntravistoError: the service's own error.
        """
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(last)} if last else {})
        try:
            with self._answer("GET", path, None, headers, SILENT_S) as response:
                self._check(response, path)
                number, name = 0, ""
                while line := response.readline():
                    key, _, value = line.decode("utf-8").rstrip("\r\n").partition(": ")
                    if key == "id" and value.isdecimal():
                        number = int(value)
                    elif key == "event":
                        name = value
                    elif key == "data":
                        yield number, name, json.loads(value)
        except (*LOST, ValueError):
            return

    def pause(self, tries: int) -> float:
        """Seconds to wait before the next try."""
        return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**tries) * random.uniform(0.7, 1.3))

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def tries(self) -> Iterator[int]:
        """One try after another, with pauses, for as long as there is patience."""
        until, tries = time.monotonic() + self._patience, 0
        while True:
            yield tries
            wait = self.pause(tries)
            tries += 1
            if time.monotonic() + wait > until:
                return
            time.sleep(wait)

    @contextmanager
    def _answer(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], timeout: float = ANSWER_S
    ) -> Iterator[http.client.HTTPResponse]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        again = connection is not None
        connection = connection or self._open()
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {**self._headers, **headers}
        if data is not None:
            sent["Content-Type"] = BUNDLE if isinstance(body, bytes) else JSON
        try:
            try:
                response = self._send(connection, method, path, data, sent, timeout)
            except LOST:
                # the service may have closed a connection that was idle
                connection.close()
                if not again:
                    raise
                connection = self._open()
                response = self._send(connection, method, path, data, sent, timeout)
            yield response
        except BaseException:
            connection.close()
            raise
        if response.isclosed() and not response.will_close and len(self._idle) < MOST_IDLE:
            with self._lock:
                self._idle.append(connection)
        else:
            connection.close()

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        data: bytes | None,
        headers: Mapping[str, str],
        timeout: float,
    ) -> http.client.HTTPResponse:
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(timeout)
        connection.request(method, self._root + path, data, dict(headers))
        return connection.getresponse()

    def _open(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=ANSWER_S, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_S)

    def _check(self, response: http.client.HTTPResponse, path: str) -> None:
        """Raises:
        IntravistoError: the service's own error. OSError: it is not there just now.
        """
        if response.status < 300:
            return
        try:
            error = read_error(json.loads(response.read())["error"])
        except (ValueError, KeyError, TypeError):
            if response.status >= 500:
                raise ConnectionError("what stands before the service has lost it just now") from None
            raise self._strange(f"an answer; it was status {response.status}") from None
        if response.status in NOT_NOW and "Retry-After" in response.headers:
            raise ConnectionError("the service is not there just now")
        if response.status == 404 and path.startswith(f"{JOBS}/") and not isinstance(error, TraceError):
            raise JobLost(str(error))
        if isinstance(error, BusyError):
            after = response.headers.get("Retry-After", "")
            raise BusyError(str(error), float(after) if after.isdecimal() else None)
        raise error

    def _strange(self, wanted: str) -> IntravistoError:
        return ServiceError(f"{self.url}: expected an InTraVisTo service that gives {wanted}. Check the address")

    def unreachable(self) -> Unreachable:
        """What is raised where patience has ended."""
        return Unreachable(
            f"{self.url}: expected a service that answers; it did not within {self._patience:.0f} s. Check that "
            "`intravisto serve` runs there, and the network between"
        )


def _read_address(url: Any) -> tuple[bool, str, int | None, str]:
    """Whether it is secure, the host, the port and the path of an address.

    Raises:
        RequestError: it is none.
    """
    wrong = RequestError(expected("url", "the address of a service, as http://127.0.0.1:8400", url))
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        raise wrong
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise wrong
    return parts.scheme == "https", parts.hostname, port, parts.path.rstrip("/")
