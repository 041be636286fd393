"""One file from the Hub: in pieces that can be stopped, from where it was left, and whole or not at all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from intravisto_core.errors import HubError
from intravisto_core.records.memory import size

Report = Callable[[int, str], None]

RETRIES = 4
FIRST_PAUSE_S = 1.0
DOWNLOADING, CHECKING, WAITING = "downloading", "checking", "the connection broke, trying again:"
BEGUN = ".intravisto.incomplete"
_PIECE = 1 << 20
_LOOK_S = 0.2


def fetch(source: str, name: str, commit: str, token: str | None, blobs: Path, report: Report) -> None:
    """Put a file into the cache's folder of contents, under its checksum.

    report: is told the bytes that are there, or checked, and which; what it raises stops the download, and what is
    there is kept.

    Raises:
        HubError: it broke off, or is not what its checksum says.
        HTTPError, OSError: what network, Hub or disk say.
    """
    asked = _Asked(hf_hub_url(source, name, revision=commit, endpoint=constants.ENDPOINT), token)
    etag = asked.found.etag or hashlib.sha256(asked.url.encode()).hexdigest()
    if (blobs / etag).exists():
        return
    blobs.mkdir(parents=True, exist_ok=True)
    part = blobs / f"{etag}{BEGUN}"
    _complete(asked, part, report, f"{source}: {name}")
    if not _matches(part, etag, report):
        part.unlink()
        raise HubError(
            f"{source}: {name}: what arrived is not what its checksum says, and was thrown away. Start it again; if it "
            "happens twice, something on the way changes files",
            "damaged",
        )
    part.replace(blobs / etag)


def part(source: str, name: str, commit: str, token: str | None, start: int, stop: int) -> bytes:
    """Some bytes of a file of the Hub, from `start` up to, not with, `stop`.

    Raises:
        HTTPError: what network or Hub say.
    """
    asked = _Asked(hf_hub_url(source, name, revision=commit, endpoint=constants.ENDPOINT), token)
    headers = {**asked.headers(), "Range": f"bytes={start}-{stop - 1}"}
    options: dict[str, Any] = {"timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT, "follow_redirects": True}
    with get_session().stream("GET", asked.found.location, headers=headers, **options) as response:
        hf_raise_for_status(response)
        # a server that knows no ranges sends all of it
        skipped = start if response.status_code != 206 else 0
        found = bytearray()
        for piece in response.iter_bytes():
            found += piece
            if len(found) >= skipped + stop - start:
                break
    return bytes(found[skipped : skipped + stop - start])


class _Asked:
    """A file of the Hub, and where it is at present: the storage behind has addresses that are signed, and expire."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url, self._token = url, token
        self.look()

    def look(self) -> None:
        """Ask the Hub where it is."""
        self.found = get_hf_file_metadata(self.url, token=self._token)

    @property
    def elsewhere(self) -> bool:
        """Whether another server than the Hub has it."""
        return urlparse(self.found.location).netloc != urlparse(self.url).netloc

    def headers(self) -> dict[str, str]:
        """For a request of the file; the storage must not see the token."""
        headers = build_hf_headers(token=self._token)
        if self.elsewhere:
            headers.pop("authorization", None)
        return {**headers, "Accept-Encoding": "identity"}


def _complete(asked: _Asked, part: Path, report: Report, what: str) -> None:
    """Append to `part` until it has its size; a connection that breaks is made again from there."""
    failures, wanted = 0, asked.found.size
    while True:
        before = _there(part)
        if wanted is not None and before >= wanted:
            return
        try:
            if failures:
                asked.look()
            _append(asked, part, before, report)
            if wanted is None or _there(part) >= wanted:
                return
        except HTTPError as error:
            if not _passes(error):
                raise
        failures = 1 if _there(part) > before else failures + 1
        if failures > RETRIES:
            of = f" of {size(wanted)}" if wanted else ""
            raise HubError(
                f"{what}: the download broke off after {size(_there(part))}{of}. What is there is kept: start it again "
                "to go on from there",
                "interrupted",
            )
        _pause(FIRST_PAUSE_S * 2 ** (failures - 1), _there(part), report)


def _passes(error: HTTPError) -> bool:
    """Whether the same may go well in a moment: the network, a server in trouble."""
    response = error.response if isinstance(error, HfHubHTTPError) else None
    return response is None or response.status_code >= 500


def _there(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _pause(seconds: float, there: int, report: Report) -> None:
    """Wait, but not longer than somebody wants it."""
    until = time.monotonic() + seconds
    report(there, WAITING)
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_S))
        report(there, WAITING)


def _append(asked: _Asked, part: Path, start: int, report: Report) -> None:
    headers = {**asked.headers(), **({"Range": f"bytes={start}-"} if start else {})}
    options: dict[str, Any] = {"timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT, "follow_redirects": True}
    with get_session().stream("GET", asked.found.location, headers=headers, **options) as response:
        hf_raise_for_status(response)
        # a server that knows no ranges sends all of it again
        resumed = start > 0 and response.status_code == 206
        done = start if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            for piece in response.iter_bytes():
                file.write(piece)
                done += len(piece)
                report(done, DOWNLOADING)


def _matches(file: Path, etag: str, report: Report) -> bool:
    """Whether a file's content is what its etag says: SHA-256 of large files, git's own hash of small ones."""
    if len(etag) == 64:
        digest = hashlib.sha256()
    elif len(etag) == 40:
        digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return True
    done = 0
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
            done += len(piece)
            report(done, CHECKING)
    return digest.hexdigest() == etag
