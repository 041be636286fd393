"""Programs that come with a model run in a process of their own, with limits, and are ended.

A chat template is a program; so is a regular expression of a tokenizer. One that never ends, or doubles its strings,
would else hold this process for everybody.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from intravisto_core.errors import Cancelled

PROGRAM = Path(__file__).with_name("limited_program.py")
SECONDS = 5.0
# What the program needs to start; the rest of this process's environment may hold a token.
_PASSED = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")


class LimitReached(Exception):
    """It took more time or memory, or wrote more, than it may."""


class ProgramError(Exception):
    """It ended in an error of its own. broken: it could not even be read."""

    def __init__(self, message: str, broken: bool = False) -> None:
        super().__init__(message)
        self.broken = broken


class Stop:
    """Ends what one thread waits for from another one."""

    def __init__(self) -> None:
        self.asked = False
        self._end: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def ask(self) -> None:
        """End what is waited for now, and whatever would be waited for next."""
        with self._lock:
            self.asked = True
            if self._end is not None:
                self._end()

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Within this context, in this thread, programs are ended when this is asked for."""
        earlier = _heeded.set(self)
        try:
            yield
        finally:
            _heeded.reset(earlier)

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """Within this context something is waited for that `end` would end.

        Raises:
            Cancelled: it was asked for, before or meanwhile.
        """
        with self._lock:
            self._end = end
            if self.asked:
                end()
        try:
            yield
        finally:
            with self._lock:
                self._end = None
        if self.asked:
            raise Cancelled("cancelled before there was anything to show")


_heeded: ContextVar[Stop | None] = ContextVar("_heeded", default=None)


class LimitedProgram:
    """One template or tokenizer, asked elsewhere. Safe in threads: whoever finds its process busy starts another.

    setup: "template" with "variables", or "tokenizer" as JSON. seconds: that one answer may take.
    """

    def __init__(self, setup: Mapping[str, Any], seconds: float = SECONDS) -> None:
        self._setup = json.dumps({**setup, "seconds": seconds}).encode() + b"\n"
        self._seconds = seconds
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _end_all, self._idle)

    def ask(self, what: Any) -> Any:
        """What the program answers; its process is ended where that takes too long.

        Raises:
            LimitReached: it went beyond a limit.
            ProgramError: it ended in an error.
            Cancelled: the `Stop` that this thread heeds was asked for.
        """
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        process, stop = idle or _start(), _heeded.get()
        with stop.ending(process.kill) if stop is not None else nullcontext():
            line = self._answer(process, b"" if idle else self._setup, json.dumps(what).encode() + b"\n")
        said = json.loads(line) if line else {"limit": f"does not end within {self._seconds:g} s"}
        if "found" in said:
            return said["found"]
        if "limit" in said:
            raise LimitReached(said["limit"])
        raise ProgramError(said.get("broken") or said["error"], broken="broken" in said)

    def check(self) -> None:
        """Read the program and run nothing of it; its process is not kept.

        Raises:
            LimitReached: reading went beyond a limit.
            ProgramError: it cannot be read.
        """
        self.ask(None)
        with self._lock:
            idle, self._idle[:] = list(self._idle), []
        _end_all(idle)

    def _answer(self, process: subprocess.Popen[bytes], setup: bytes, asked: bytes) -> bytes:
        """A whole line, or nothing where the process ended or had to be."""
        assert process.stdin is not None
        assert process.stdout is not None
        clock = threading.Timer(self._seconds, process.kill)
        clock.daemon = True
        clock.start()
        line = b""
        try:
            process.stdin.write(setup + asked)
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        finally:
            clock.cancel()
            if line.endswith(b"\n"):
                with self._lock:
                    self._idle.append(process)
            else:
                _end(process)
        return line if line.endswith(b"\n") else b""


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _PASSED if name in os.environ} | {"RAYON_NUM_THREADS": "1"},
    )


def _end_all(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.wait()
