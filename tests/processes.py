"""Processes that tests start, the ports they listen to, and their end."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from contextlib import suppress

PATIENCE_S = 60
# no system hands these out by itself, so that nobody takes one between its choice and its use
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of this machine that nobody listens to."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with suppress(OSError), socket.socket() as tried:
            tried.bind(("127.0.0.1", port))
            return port


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
