"""An answer in pieces: whole, or the bytes that were asked for (RFC 9110, one range)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping

from fastapi.responses import Response, StreamingResponse

PIECE = 1 << 20
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def make_tag(data: bytes) -> str:
    """What names exactly these bytes, as an `ETag`."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def answer_range(
    data: bytes, tag: str, asked: Mapping[str, str], media_type: str, headers: Mapping[str, str]
) -> Response:
    """The response to a request with those headers: 200, 206 for a part, 416 for one that there is not.

    A part is given only of the same answer (`If-Range`), which its tag names.
    """
    more = {**headers, "Accept-Ranges": "bytes", "ETag": tag}
    found = _RANGE.fullmatch(asked.get("range", "").strip())
    # several ranges, or another unit, are answered as if none were asked for
    if found is None or asked.get("if-range", tag) != tag:
        return StreamingResponse(
            _pieces(data, 0, len(data)), 200, {**more, "Content-Length": str(len(data))}, media_type
        )
    first, last = found.groups()
    if first:
        start, stop = int(first), min(int(last) + 1 if last else len(data), len(data))
    else:
        # the last so many bytes
        start, stop = len(data) - min(int(last), len(data)) if last else len(data), len(data)
    if start >= stop:
        return Response(status_code=416, headers={**more, "Content-Range": f"bytes */{len(data)}"})
    more |= {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}", "Content-Length": str(stop - start)}
    return StreamingResponse(_pieces(data, start, stop), 206, more, media_type)


def _pieces(data: bytes, start: int, stop: int) -> Iterator[bytes]:
    view = memoryview(data)
    for at in range(start, stop, PIECE):
        yield bytes(view[at : min(at + PIECE, stop)])
