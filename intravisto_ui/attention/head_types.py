"""Types of heads, measured once a model: they are kept on this machine by the hash of its weights."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from intravisto_core import __version__
from intravisto_core.engine.answers import pack_answer, read_answer
from intravisto_core.errors import IntravistoError
from intravisto_core.files import write_file
from intravisto_core.records import HeadTypes
from intravisto_core.request import HeadTypesRequest, to_json
from intravisto_ui.session.home import find_folder
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

FOLDER = "heads"
MOST_KEPT = 200


def read_head_types(workspace: Workspace, shown: Shown) -> HeadTypes:
    """What is kept of the model of a run, or what is measured now and kept.

    Raises:
        IntravistoError: why there is no record.
    """
    return workspace.keep(("head types", shown.spec), lambda: _find(workspace, shown))


def _find(workspace: Workspace, shown: Shown) -> HeadTypes:
    file = None if workspace.shows_saved else _file_of(shown)
    found = None if file is None else _read(file, shown)
    if found is not None:
        return found
    found = workspace.read_view(shown.engine, HeadTypesRequest(), "attention-types")
    if file is not None:
        with suppress(IntravistoError):  # a full disk: it is measured again next time
            write_file(file, pack_answer(found))
            _clear(file.parent)
    return found


def _file_of(shown: Shown) -> Path | None:
    """The file of a model, named by what the numbers depend on; None where nothing is to be kept."""
    folder, identity = find_folder(FOLDER), shown.engine.identity
    if folder is None or not identity.get("weights"):
        return None
    named = (identity["weights"], identity["tokenizer"], identity["computes_in"], to_json(HeadTypesRequest()))
    return folder / f"{hashlib.sha256(repr((*named, __version__)).encode()).hexdigest()[:32]}.heads"


def _read(file: Path, shown: Shown) -> HeadTypes | None:
    """What a file holds; None where there is none, or it is damaged or of another model."""
    try:
        found = read_answer(file.read_bytes()).value
    except (OSError, IntravistoError):
        return None
    card = shown.engine.model
    if isinstance(found, HeadTypes) and found.previous.shape == (card.n_layers, card.n_heads):
        return replace(found, model=card.name)
    return None


def _clear(folder: Path) -> None:
    """Of many models the newest stay."""
    with suppress(OSError):
        files = sorted(folder.glob("*.heads"), key=lambda file: file.stat().st_mtime)
        for file in files[:-MOST_KEPT]:
            file.unlink()
