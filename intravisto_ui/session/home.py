"""Where the app keeps what outlives a restart: one folder, for this user of the machine alone.

Environment: INTRAVISTO_HOME names another folder; "off" keeps nothing. In the public mode nothing is kept either.
"""

from __future__ import annotations

import os
from pathlib import Path

from intravisto_ui.server.environment import is_public

HOME = "INTRAVISTO_HOME"
PRIVATE = 0o700


def find_folder(name: str) -> Path | None:
    """A folder in it, made where it is missing; None where nothing is to be kept, or where it cannot be made."""
    chosen = os.environ.get(HOME, "").strip()
    if is_public(os.environ) or chosen.lower() == "off":
        return None
    folder = (Path(chosen).expanduser() if chosen else Path.home() / ".intravisto") / name
    try:
        folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder
