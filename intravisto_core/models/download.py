"""One file from the Hub: in pieces that can be stopped, from where it was left, and whole or not at all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from intravisto_core.errors import HubError
from intravisto_core.records.memory import size

RETRIES = 4
FIRST_PAUSE_S = 1.0
_PIECE = 1 << 20


def fetch(source: str, name: str, commit: str, token: str | None, blobs: Path, report: Callable[[int], None]) -> None:
    """Put a file into the cache's folder of contents, under its checksum.

    report: is told the bytes that are there; what it raises stops the download, and what is there is kept.

    Raises:
        HubError: it broke off, or is not what its checksum says.
        HTTPError, OSError: what network, Hub or disk say.
    """
    asked = hf_hub_url(source, name, revision=commit, endpoint=constants.ENDPOINT)
    about = get_hf_file_metadata(asked, token=token)
    etag, wanted = about.etag or hashlib.sha256(asked.encode()).hexdigest(), about.size
    if (blobs / etag).exists():
        return
    blobs.mkdir(parents=True, exist_ok=True)
    part = blobs / f"{etag}.intravisto.incomplete"
    headers = build_hf_headers(token=token)
    if urlparse(about.location).netloc != urlparse(asked).netloc:
        # the storage behind the Hub has an address that is signed, and must not see the token
        headers.pop("authorization", None)
    _complete(about.location, headers, part, wanted, report, f"{source}: {name}")
    report(part.stat().st_size)
    if not _matches(part, etag):
        part.unlink()
        raise HubError(
            f"{source}: {name}: what arrived is not what its checksum says, and was thrown away. Start it again; if it "
            "happens twice, something on the way changes files",
            "damaged",
        )
    part.replace(blobs / etag)


def _complete(
    url: str, headers: dict[str, str], part: Path, wanted: int | None, report: Callable[[int], None], what: str
) -> None:
    """Append to `part` until it has its size; a connection that breaks is made again from there."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        if wanted is not None and before >= wanted:
            return
        try:
            _append(url, headers, part, before, report)
            if wanted is None or part.stat().st_size >= wanted:
                return
        except HfHubHTTPError as error:
            if error.response is not None and error.response.status_code < 500:
                raise
        except HTTPError:
            pass
        there = part.stat().st_size if part.exists() else 0
        failures = 0 if there > before else failures + 1
        if failures > RETRIES:
            of = f" of {size(wanted)}" if wanted else ""
            raise HubError(
                f"{what}: the download broke off after {size(there)}{of}. What is there is kept: start it again to go "
                "on from there",
                "interrupted",
            )
        report(there)
        time.sleep(FIRST_PAUSE_S * 2 ** max(0, failures - 1))


def _append(url: str, headers: dict[str, str], part: Path, start: int, report: Callable[[int], None]) -> None:
    asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=asked, timeout=timeout, follow_redirects=True) as response:
        hf_raise_for_status(response)
        # a server that knows no ranges sends all of it again
        resumed = start > 0 and response.status_code == 206
        done = start if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            for piece in response.iter_bytes():
                file.write(piece)
                done += len(piece)
                report(done)


def _matches(file: Path, etag: str) -> bool:
    """Whether a file's content is what its etag says: SHA-256 of large files, git's own hash of small ones."""
    if len(etag) == 64:
        digest = hashlib.sha256()
    elif len(etag) == 40:
        digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return True
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest() == etag
