"""`intravisto app`: start the app in the browser."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from intravisto_core.cli.options import FORMAT


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    app = commands.add_parser("app", help="start the app in the browser", **FORMAT)
    app.add_argument("--port", type=int, default=8501, help="port to listen on (default 8501)")
    app.set_defaults(run=_app)


def _app(options: argparse.Namespace) -> int:
    script = Path(__file__).resolve().parents[2] / "app.py"
    if not script.is_file():
        print(
            f"intravisto: error: expected {script.name} beside the package; run this in a checkout",
            file=sys.stderr,
        )
        return 2
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(options.port)]
    return subprocess.call(command, cwd=script.parent)
