"""`intravisto app`: start the app in the browser."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from intravisto_core.cli.options import announce_waiting
from intravisto_core.cli.parser import add_command
from intravisto_core.errors import MissingProgramError, expected

ROOT = Path(__file__).resolve().parents[2]


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    app = add_command(
        commands,
        "app",
        description="Start the app: that of the clone that this program runs from, else that of the installed package.",
    )
    app.add_argument("--port", type=read_port, default=8501, help="port to listen on (default 8501)")
    app.add_argument("--engine", metavar="URL", help="use the models of a service; token: $INTRAVISTO_TOKEN")
    app.set_defaults(run=_app)


def read_port(text: str) -> int:
    """A port as it is typed."""
    if not text.isdecimal() or not 1 <= int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(expected("port", "a number from 1 to 65535", text))
    return int(text)


def _app(options: argparse.Namespace) -> int:
    script = find_script()
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(options.port)]
    environment = dict(os.environ)
    if options.engine is not None:
        announce_waiting(options.engine)
        environment["INTRAVISTO_ENGINE"] = options.engine
    # Streamlit reads its settings from the folder where it is started
    return subprocess.call(command, cwd=script.parent, env=environment)


def find_script(root: Path = ROOT) -> Path:
    """What Streamlit is to run. root: the folder of the packages: of a clone, or where packages are installed.

    Raises:
        MissingProgramError: it is in neither place.
    """
    places = (root / "app.py", root / "intravisto_ui" / "app" / "app.py")
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise MissingProgramError(
            f"app: expected app.py in {places[0].parent} (a clone) or {places[1].parent} (an installed package); found "
            "none. Install the package again, or run this in a clone of the repository"
        )
    return found
