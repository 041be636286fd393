"""Keeps one cluster for all processes of a test run, and ends it once none of them is left, however they ended.

python -m tests.service.keeper FOLDER MODEL: FOLDER/users holds a file for each process that uses the cluster.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock

from tests.processes import free_port

ROOT = Path(__file__).parents[2]
OFTEN_S = 0.2
END_S = 60.0


def count_users(folder: Path) -> int:
    """The processes that use the cluster and live."""
    return sum(psutil.pid_exists(int(each.name)) for each in (folder / "users").iterdir())


@contextmanager
def using(folder: Path, model: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The cluster's address and its process, begun here where nobody has begun it yet; it ends with its last user."""
    mine = folder / "users" / str(os.getpid())
    with FileLock(folder / "lock"):
        mine.parent.mkdir(exist_ok=True)
        mine.touch()
        if not (folder / "state").exists():
            with (folder / "log").open("wb") as log:
                command = [sys.executable, "-m", "tests.service.keeper", str(folder), str(model)]
                keeper = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, start_new_session=True)
            while not (folder / "state").exists():
                assert keeper.poll() is None, (folder / "log").read_text(errors="replace")
                time.sleep(OFTEN_S)
        state = json.loads((folder / "state").read_text())
    try:
        yield state["url"], psutil.Process(state["pid"])
    finally:
        mine.unlink()
        if not count_users(folder):
            with suppress(psutil.NoSuchProcess):
                psutil.Process(state["keeper"]).wait(10 * END_S)


def keep(folder: Path, model: str) -> None:
    """Run the cluster until nobody uses it."""
    port = free_port()
    command = [sys.executable, "-m", "intravisto_core", "serve", "--model", model, "--replicas", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    # where others fill the memory of this machine, Ray would end replicas that are small themselves
    environment["RAY_memory_monitor_refresh_ms"] = "0"
    served = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, env=environment)
    state = {"url": f"http://127.0.0.1:{port}", "pid": served.pid, "keeper": os.getpid()}
    (folder / "begun").write_text(json.dumps(state))
    (folder / "begun").rename(folder / "state")
    while served.poll() is None:
        with FileLock(folder / "lock"):
            if not count_users(folder):
                (folder / "state").unlink()
                break
        time.sleep(OFTEN_S)
    with suppress(psutil.NoSuchProcess):
        end(psutil.Process(served.pid))


def end(process: psutil.Process) -> None:
    """End a process and everything that it began."""
    children = process.children(recursive=True)
    process.terminate()
    with suppress(psutil.TimeoutExpired):
        process.wait(END_S)
    for each in (process, *children):
        with suppress(psutil.NoSuchProcess):
            each.kill()


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2])
