"""Runs that were kept on this machine: a file each, and beside it what people call it."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from intravisto_core.engine import SavedEngine, Trace
from intravisto_core.errors import IntravistoError, RequestError, expected
from intravisto_core.files import write_file
from intravisto_core.storage.bundle import SUFFIX
from intravisto_ui.session.home import find_folder

FOLDER = "runs"
MOST_IMPORTED = 64 << 20
LONGEST = 2000
GONE = ".deleted"
GONE_KEPT_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run on the shelf. text: what the run reads. saved: seconds since 1970. nbytes: of its file."""

    id: str
    name: str
    note: str = ""
    tags: tuple[str, ...] = ()
    model: str = ""
    text: str = ""
    n_tokens: int = 0
    edited: bool = False
    saved: float = 0.0
    nbytes: int = 0

    def matches(self, sought: str) -> bool:
        """Whether every word that is sought stands somewhere in it."""
        held = " ".join((self.name, self.note, *self.tags, self.model, self.text)).casefold()
        return all(word in held for word in sought.casefold().split())


class KeptRuns:
    """The runs of one folder. Damaged files are left alone and not listed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list_runs(self, sought: str = "") -> list[KeptRun]:
        """All of them that match, the newest first."""
        found = [run for file in self._folder.glob("*.json") if (run := self._read(file)) is not None]
        return sorted((run for run in found if run.matches(sought)), key=lambda run: run.saved, reverse=True)

    def keep(self, name: str, save: Callable[[Path], object], note: str = "", tags: tuple[str, ...] = ()) -> KeptRun:
        """Put a run on the shelf. save: writes its file to the path that it is given.

        Raises:
            IntravistoError: it cannot be written.
        """
        self._purge()
        id = secrets.token_hex(8)
        save(self._file(id))
        return self._describe_new(id, name, note, tags)

    def take_in(self, content: bytes, name: str) -> KeptRun:
        """A file from elsewhere. It is read whole before it is kept.

        Raises:
            IntravistoError: it is too large, or no saved run.
        """
        if len(content) > MOST_IMPORTED:
            size = f"{len(content) >> 20} MB"
            raise RequestError(expected("file", f"a saved run of at most {MOST_IMPORTED >> 20} MB", size))
        id = secrets.token_hex(8)
        write_file(self._file(id), content)
        return self._describe_new(id, name.removesuffix(SUFFIX), "", ())

    def open(self, id: str) -> Trace:
        """The run as a trace, without its model.

        Raises:
            IntravistoError: it is gone or damaged.
        """
        engine = SavedEngine(self._file(_checked(id)))
        return engine.find(engine.first)

    def read_file(self, id: str) -> bytes:
        """The content of its file.

        Raises:
            RequestError: it is gone.
        """
        try:
            return self._file(_checked(id)).read_bytes()
        except OSError:
            raise RequestError("run: expected one that is kept here; its file is gone") from None

    def change(self, run: KeptRun, name: str, note: str, tags: tuple[str, ...]) -> KeptRun:
        """Another name, note or tags."""
        changed = replace(run, name=_shortened(name) or run.name, note=_shortened(note), tags=_plain_tags(tags))
        self._write(changed)
        return changed

    def delete(self, id: str) -> None:
        """Put a run aside; `restore` brings it back for some days.

        Raises:
            RequestError: the folder cannot be written to.
        """
        for file in self._files(id):
            if file.exists():
                _rename(file, gone := file.with_name(file.name + GONE))
                os.utime(gone)  # the days count from now

    def restore(self, id: str) -> None:
        """Bring a deleted run back.

        Raises:
            RequestError: it is gone for good, or the folder cannot be written to.
        """
        pairs = [(file.with_name(file.name + GONE), file) for file in self._files(id)]
        if not all(gone.exists() for gone, _ in pairs):
            raise RequestError("run: expected one that was deleted some days ago at most; its file is gone for good")
        for gone, file in pairs:
            _rename(gone, file)

    def _describe_new(self, id: str, name: str, note: str, tags: tuple[str, ...]) -> KeptRun:
        """The description of a file that is new; one that cannot be described does not stay."""
        try:
            return self._describe(id, name, note, tags)
        except BaseException:
            self._file(id).unlink(missing_ok=True)
            raise

    def _describe(self, id: str, name: str, note: str, tags: tuple[str, ...]) -> KeptRun:
        trace = self.open(id)
        run = KeptRun(
            id,
            _shortened(name) or " ".join(trace.text.split())[:60] or trace.engine.model.name,
            _shortened(note),
            _plain_tags(tags),
            trace.engine.model.name,
            trace.text[:LONGEST],
            len(trace.tokens),
            bool(trace.interventions),
            time.time(),
            self._file(id).stat().st_size,
        )
        self._write(run)
        return run

    def _write(self, run: KeptRun) -> None:
        write_file(self._folder / f"{_checked(run.id)}.json", json.dumps(asdict(run)).encode())

    def _read(self, file: Path) -> KeptRun | None:
        try:
            run = _read_description(str(file), file.stat().st_mtime_ns)
            return run if run.id == file.stem and self._file(_checked(run.id)).exists() else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, IntravistoError):
            return None

    def _file(self, id: str) -> Path:
        return self._folder / f"{id}{SUFFIX}"

    def _files(self, id: str) -> tuple[Path, Path]:
        return self._file(_checked(id)), self._folder / f"{id}.json"

    def _purge(self) -> None:
        """Drop what was deleted some days ago."""
        for file in self._folder.glob(f"*{GONE}"):
            if time.time() - file.stat().st_mtime > GONE_KEPT_S:
                file.unlink(missing_ok=True)


def find_kept_runs() -> KeptRuns | None:
    """The shelf of this user; None where nothing is kept."""
    folder = find_folder(FOLDER)
    return None if folder is None else KeptRuns(folder)


@lru_cache(maxsize=4096)
def _read_description(path: str, changed: int) -> KeptRun:
    """What a file says of a run; it is read again when it has changed. changed: when it did, in nanoseconds."""
    body = json.loads(Path(path).read_bytes())
    run = KeptRun(**(body | {"tags": tuple(body["tags"])}))
    texts = (run.id, run.name, run.note, *run.tags, run.model, run.text)
    if not all(isinstance(text, str) for text in texts) or not isinstance(run.saved + run.nbytes, float):
        raise ValueError
    return run


def _rename(file: Path, place: Path) -> None:
    try:
        file.rename(place)
    except OSError as error:
        raise RequestError(
            f"{file.parent}: expected a folder that can be written to; got: {error.strerror}. Nothing was changed"
        ) from None


def _checked(id: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{16}", id):
        raise RequestError(expected("run", "the id of one that is kept here", id[:40]))
    return id


def _shortened(text: str) -> str:
    return " ".join(text.split())[:LONGEST]


def _plain_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for each in tags if (tag := " ".join(each.split())[:40])))
