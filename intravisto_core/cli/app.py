"""`intravisto app`: start the app in the browser."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from intravisto_core.cli.options import FORMAT
from intravisto_core.errors import MissingProgramError


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    app = commands.add_parser(
        "app",
        help="start the app in the browser (from a clone of the repository)",
        description="Start the app. Its pages are in the repository, not in the installed package: run this in a clone "
        "(an editable install, `pip install -e .`, serves too).",
        **FORMAT,
    )
    app.add_argument("--port", type=int, default=8501, help="port to listen on (default 8501)")
    app.set_defaults(run=_app)


def _app(options: argparse.Namespace) -> int:
    script = Path(__file__).resolve().parents[2] / "app.py"
    if not script.is_file():
        raise MissingProgramError(
            f"app: expected {script.name} beside the package; found none. Run this in a clone of the repository"
        )
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(options.port)]
    return subprocess.call(command, cwd=script.parent)
