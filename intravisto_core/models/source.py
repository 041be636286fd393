"""From what a spec names to a folder on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from intravisto_core.models import folder as folders
from intravisto_core.request import ModelSpec

Report = Callable[[int, int, str], None]


def quiet(done: int, total: int, text: str) -> None:
    """Tells nobody."""


def locate(spec: ModelSpec, token: str | None = None, report: Report = quiet) -> Path:
    """The folder of a spec's model, downloaded first where it is on the Hub.

    Raises:
        ModelError: it is neither "demo", a folder with a config, nor a model on the Hub that can be had.
    """
    return folders.resolve(spec.source)
