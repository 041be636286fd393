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
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

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
        """
        with self._lock:
            process = self._idle.pop() if self._idle else None
        line = self._answer(process or _start(), b"" if process else self._setup, json.dumps(what).encode() + b"\n")
        said = json.loads(line) if line else {"limit": f"does not end within {self._seconds:g} s"}
        if "found" in said:
            return said["found"]
        if "limit" in said:
            raise LimitReached(said["limit"])
        raise ProgramError(said.get("broken") or said["error"], broken="broken" in said)

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
