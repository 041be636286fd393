"""JSON files of a model folder: whatever is in them, they are read or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from intravisto_core.errors import ModelError


def parse_object(raw: bytes | str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: it is no JSON, nested too deeply to be read, or no object.
    """
    try:
        found = json.loads(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} at its top")
    return found


def read_object(file: Path, name: str) -> dict[str, Any]:
    """The object in a file. name: how messages call the folder.

    Raises:
        ModelError: it cannot be read, or holds no JSON object.
    """
    try:
        return parse_object(file.read_bytes())
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0][:160]
        raise ModelError(
            f"{name}: expected {file.name} to be JSON with an object at its top; it is damaged ({reason}). Download or "
            "copy it again"
        ) from None
