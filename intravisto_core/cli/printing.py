"""What the commands print: any text on any terminal, without letting a model's text steer it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from io import TextIOWrapper

from intravisto_core.figures.text import printable

PIPE_CLOSED = 141  # as a shell says of a program that the other side of a pipe ended


def prepare_output() -> None:
    """Let no character end a run: what the terminal's encoding lacks is written as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_text(text: str) -> None:
    """Print lines; control characters in them, with which a text could steer the terminal, are made visible."""
    print("\n".join(printable(line) for line in text.split("\n")))


def print_notes(notes: Iterable[str]) -> None:
    """Print what the reader must know."""
    for note in notes:
        print_text(f"note: {note}")


def print_aside(note: str) -> None:
    """Print what the reader must know now, apart from what the command was asked for."""
    print(f"note: {printable(note)}", file=sys.stderr, flush=True)


def print_error(error: Exception) -> None:
    """Say in one line what could not be done."""
    print(f"intravisto: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)


def close_output() -> None:
    """After the other side of a pipe has gone: what is still to be written goes nowhere, without a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
