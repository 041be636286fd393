"""What a workspace needs to come back after a restart of the server: small JSON, written beside and renamed.

Prompts, models, edits, options and the question; never activations, never tokens of the Hub.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from intravisto_core.errors import IntravistoError
from intravisto_core.files import write_file
from intravisto_core.request import Intervention, ModelSpec, TraceRequest, from_json, to_json
from intravisto_ui.session import address
from intravisto_ui.session.asked import Against, Asked
from intravisto_ui.session.edit_tree import Card
from intravisto_ui.session.home import find_folder
from intravisto_ui.session.stack_file import read_stack, write_stack
from intravisto_ui.session.workspace import Ran

SCHEMA = 1
FOLDER = "workspaces"
ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
MOST_FILES = 200
OLDEST_S = 30 * 24 * 3600.0
MOST_BYTES = 4_000_000
MOST_BYTES_IN_ALL = 64_000_000
NEVER_KEPT = ("hub_token", "edits_loaded")
log = logging.getLogger("intravisto")


@dataclass(frozen=True)
class Entry:
    """A workspace as it is written down.

    ran: models and requests, the one that was shown first. cards: its edits, each on or off. options: of the widgets.
    cell: row and position that were selected.
    """

    ran: tuple[Ran, ...] = ()
    cards: tuple[tuple[Intervention, bool], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    asked: Asked = field(default_factory=Asked)
    cell: tuple[int | None, int | None] = (None, None)


def describe(ran: tuple[Ran, ...], cards: tuple[Card, ...], options: Mapping[str, Any], asked: Asked, cell: Any) -> str:
    """The text of an entry; equal entries have equal texts."""
    body = {
        "intravisto_workspace": SCHEMA,
        "ran": [[to_json(spec), to_json(request)] for spec, request in ran],
        "edits": json.loads(write_stack(cards)),
        "options": {name: value for name, value in options.items() if _is_plain(name, value)},
        "choices": {name: str(options[name]) for name, kind in address.CHOICES.items() if name in options},
        "asked": {name: str(value) if name == "against" else value for name, value in asdict(asked).items()},
        "cell": list(cell),
    }
    return json.dumps(body, sort_keys=True)


def _is_plain(name: str, value: Any) -> bool:
    """Whether a widget's value is kept: plain values, of which each is what it was when it is read again."""
    if name in NEVER_KEPT or "@" in name or name in address.CHOICES:
        return False
    if isinstance(value, list):
        return all(_is_plain(name, each) for each in value)
    return value is None or type(value) in (str, int, float, bool)


def write(id: str, text: str) -> None:
    """Keep an entry. What cannot be written is logged once a process, and nothing else happens."""
    folder = find_folder(FOLDER)
    if folder is None or not ID.fullmatch(id) or len(text) > MOST_BYTES:
        return
    place = folder / f"{id}.json"
    try:
        if not place.exists():
            _tidy(folder)
        write_file(place, text.encode())
        place.chmod(0o600)
    except (IntravistoError, OSError) as error:
        log.warning("a workspace could not be written down: %s", error)


def read(id: str | None) -> Entry | None:
    """The entry of a workspace, or None where there is none, or where it is damaged."""
    folder = find_folder(FOLDER)
    if folder is None or not id or not ID.fullmatch(id):
        return None
    place = folder / f"{id}.json"
    try:
        if place.stat().st_size > MOST_BYTES or time.time() - place.stat().st_mtime > OLDEST_S:
            return None
        return _built(json.loads(place.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, IntravistoError):
        return None


def _built(body: dict[str, Any]) -> Entry:
    if body["intravisto_workspace"] != SCHEMA:
        raise ValueError
    ran = tuple((from_json(spec), from_json(request)) for spec, request in body["ran"])
    if not all(isinstance(spec, ModelSpec) and isinstance(request, TraceRequest) for spec, request in ran):
        raise TypeError
    options = {str(name): value for name, value in body["options"].items() if _is_plain(name, value)}
    choices = {str(name): str(value) for name, value in body["choices"].items()}
    asked = dict(body["asked"])
    row, position = body["cell"]
    return Entry(
        ran,
        read_stack(json.dumps(body["edits"]).encode()),
        options | address.read_options(choices),
        Asked(**(asked | {"against": Against(asked["against"])})),
        (row if type(row) is int else None, position if type(position) is int else None),
    )


def forget(id: str) -> None:
    """Drop the entry of a workspace."""
    folder = find_folder(FOLDER)
    if folder is not None and ID.fullmatch(id):
        (folder / f"{id}.json").unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Drop entries that are old, and the oldest where there are many or all are too large."""
    found = sorted(((file.stat(), file) for file in folder.glob("*.json")), key=lambda e: e[0].st_mtime, reverse=True)
    now, total = time.time(), 0
    for number, (known, file) in enumerate(found):
        total += known.st_size
        if number >= MOST_FILES - 1 or now - known.st_mtime > OLDEST_S or total > MOST_BYTES_IN_ALL - MOST_BYTES:
            file.unlink(missing_ok=True)
