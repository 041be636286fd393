"""Writing files so that nothing is lost: a file is whole, or as it was before."""

from __future__ import annotations

import glob
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from intravisto_core.errors import RequestError

NEW_FILE = 0o666
BESIDE = ".part"
LEFT_OVER_S = 3600


def write_file(path: str | Path, content: bytes) -> Path:
    """Write a file beside its place and rename it, so that no failure leaves half of it or destroys the old one.

    `~` is the home folder. A link is followed; what is no ordinary file, such as a pipe, is written to as it is.

    Raises:
        RequestError: it cannot be written; the message says why.
    """
    target = Path(path).expanduser()
    try:
        place = Path(os.path.realpath(target))
        if place.exists() and not place.is_file():
            place.write_bytes(content)
        else:
            _replace(place, content)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RequestError(
            f"{target}: expected a file that can be written; got: {reason}. Nothing was changed; choose another place"
        ) from None
    return target


def _replace(place: Path, content: bytes) -> None:
    prefix = f".{place.name[:40]}."
    _clear(place.parent, prefix)
    handle, beside = tempfile.mkstemp(prefix=prefix, suffix=BESIDE, dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, place.stat().st_mode if place.exists() else NEW_FILE & ~_umask())
        os.replace(beside, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def _clear(folder: Path, prefix: str) -> None:
    """Take away what a process that was killed left of the same file; what is new may still be written."""
    for left in folder.glob(f"{glob.escape(prefix)}*{BESIDE}"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_OVER_S:
                left.unlink()


def _umask() -> int:
    """What new files of this process must not allow; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
