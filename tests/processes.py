"""Processes that tests start, and their end."""

from __future__ import annotations

import os
import signal
import subprocess

PATIENCE_S = 60


def end_process(process: subprocess.Popen, group: bool = False) -> None:
    """Ask the process to end, or its whole group; one that is too busy to listen is ended by force."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            if group:
                os.killpg(process.pid, signal_number)
            else:
                process.send_signal(signal_number)
        try:
            process.wait(PATIENCE_S)
            return
        except subprocess.TimeoutExpired:
            continue
