"""A Hub on this machine: the endpoints that a download asks, real small repositories, and faults on demand."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

GOOD_TOKEN = "hf_goodGOODgoodGOOD1234"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 2000


@dataclass
class Faults:
    """What goes wrong.

    cut_after: bytes of the weights after which the connection breaks, `cuts` times. spoilt: a byte of the large files
    is another. trickle: seconds before each kilobyte. limited, broken: a part of the paths that are answered by status
    429 and 503. no_ranges: a request for the rest of a file gets all of it. expires: an address of the storage serves
    for one request. closed: the storage gives nothing to anybody.
    """

    cut_after: int | None = None
    cuts: int = 0
    spoilt: bool = False
    trickle: float = 0.0
    limited: str = ""
    broken: str = ""
    no_ranges: bool = False
    expires: bool = False
    closed: bool = False


@dataclass
class Hub:
    """One running server. repositories: folders by name. gated: needs `GOOD_TOKEN`, whose account was let in when
    `let_in`; private: not to be seen without it. told: what a user could see of what went on here, by the tests.
    pull_requests: titles by repository. revisions: that there are besides main."""

    url: str = ""
    storage: str = ""
    repositories: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    let_in: bool = True
    faults: Faults = field(default_factory=Faults)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    told: list[object] = field(default_factory=list)
    pull_requests: dict[str, tuple[str, ...]] = field(default_factory=dict)
    revisions: tuple[str, ...] = ()

    def asked(self, part: str) -> list[tuple[str, str, dict[str, str]]]:
        """Requests whose path has that part."""
        return [r for r in self.requests if part in r[1]]


def checksum(content: bytes) -> str:
    """The etag that the Hub gives a file: SHA-256 where it is large, git's hash else."""
    if len(content) >= LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path, hub = urlparse(self.path).path, self.hub
        hub.requests.append((self.command, self.path, {name.title(): value for name, value in self.headers.items()}))
        if hub.faults.limited and hub.faults.limited in path:
            return self._say(429, **{"Retry-After": "17"})
        if hub.faults.broken and hub.faults.broken in path:
            return self._say(503)
        if path.startswith("/storage/"):
            return self._stored(path, body)
        if path.startswith("/api/models/") and path.endswith("/discussions"):
            return self._discussions(path.removeprefix("/api/models/").removesuffix("/discussions"))
        if path.startswith("/api/models/"):
            return self._model(path.removeprefix("/api/models/"))
        if "/resolve/" in path:
            return self._resolve(path, body)
        return self._say(404)

    def _say(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _refused(self, name: str, files: bool) -> bool:
        """Whether this request may not see that repository; then it was answered."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token != GOOD_TOKEN:
            self._say(401, **{"X-Error-Message": "Invalid credentials in Authorization header"})
            return True
        if name not in self.hub.repositories or (name in self.hub.private and not token):
            self._say(401 if not token else 404, **{"X-Error-Code": "RepoNotFound"})
            return True
        if files and name in self.hub.gated and not (token and self.hub.let_in):
            self._say(403 if token else 401, **{"X-Error-Code": "GatedRepo"})
            return True
        return False

    def _model(self, rest: str) -> None:
        name, _, revision = rest.partition("/revision/")
        if self._refused(name, files=False):
            return
        if unquote(revision) not in ("", "main", COMMIT, *self.hub.revisions):
            self._say(404, **{"X-Error-Code": "RevisionNotFound"})
            return
        blobs = "blobs" in parse_qs(urlparse(self.path).query)
        siblings = []
        for file in sorted(p for p in self.hub.repositories[name].rglob("*") if p.is_file()):
            about: dict[str, object] = {"rfilename": file.relative_to(self.hub.repositories[name]).as_posix()}
            if blobs:
                content = file.read_bytes()
                about |= {"size": len(content), "blobId": checksum(content)}
                if len(content) >= LARGE:
                    about["lfs"] = {"sha256": checksum(content), "size": len(content), "pointerSize": 1}
            siblings.append(about)
        info = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
        self._say(200, json.dumps(info).encode(), **{"Content-Type": "application/json"})

    def _discussions(self, name: str) -> None:
        titles = self.hub.pull_requests.get(name, ())
        about = {"status": "open", "repo": {"name": name, "type": "model"}, "isPullRequest": True}
        about |= {"author": {"name": "SFconvertbot"}, "createdAt": "2023-03-03T03:03:03.000Z"}
        listed = [about | {"num": i + 1, "title": title} for i, title in enumerate(titles)]
        said = {"discussions": listed, "start": 0, "count": len(listed)}
        self._say(200, json.dumps(said).encode(), **{"Content-Type": "application/json"})

    def _resolve(self, path: str, body: bool) -> None:
        name, _, rest = path.lstrip("/").partition("/resolve/")
        _, _, inside = rest.partition("/")
        if self._refused(name, files=True):
            return
        file = self.hub.repositories[name] / inside
        if not file.is_file():
            self._say(404, **{"X-Error-Code": "EntryNotFound"})
            return
        content = file.read_bytes()
        about = {"X-Repo-Commit": COMMIT, "ETag": f'"{checksum(content)}"'}
        if len(content) < LARGE:
            self._say(200, content, **about)
            return
        where = f"{self.hub.storage}/storage/{name}/{inside}?signature={len(self.hub.requests)}"
        linked = {"X-Linked-Etag": f'"{checksum(content)}"', "X-Linked-Size": str(len(content)), "Location": where}
        self._say(302, **about, **linked)

    def _stored(self, path: str, body: bool) -> None:
        if "Authorization" in self.headers:
            self._say(400)
            return
        used = sum(r[1] == self.path for r in self.hub.requests) > 1
        if self.hub.faults.closed or (self.hub.faults.expires and used):
            self._say(403)
            return
        parts = path.removeprefix("/storage/").split("/")
        name = "/".join(parts[:2]) if "/".join(parts[:2]) in self.hub.repositories else parts[0]
        inside = path.removeprefix(f"/storage/{name}/")
        content = (self.hub.repositories[name] / inside).read_bytes()
        faults = self.hub.faults
        if faults.spoilt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        asked = self.headers.get("Range", "")
        start, stop = 0, len(content)
        if asked and not faults.no_ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(stop, int(last) + 1 if last else stop)
        self.send_response(206 if (start, stop) != (0, len(content)) else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.end_headers()
        self._send(content[start:stop], cut=inside.endswith(".safetensors"))

    def _send(self, content: bytes, cut: bool) -> None:
        faults = self.hub.faults
        if cut and faults.cut_after is not None and faults.cuts > 0:
            faults.cuts -= 1
            self.wfile.write(content[: faults.cut_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        step = 1024 if faults.trickle else max(1, len(content))
        try:
            for at in range(0, len(content), step):
                self.wfile.write(content[at : at + step])
                time.sleep(faults.trickle)
        except OSError:
            self.close_connection = True


@contextmanager
def running(repositories: dict[str, Path]) -> Iterator[Hub]:
    """A server for these repositories. Large files come from another host name, as the Hub's storage does."""
    hub = Hub(repositories=dict(repositories))
    handler: Callable[..., BaseHTTPRequestHandler] = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    hub.storage = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
