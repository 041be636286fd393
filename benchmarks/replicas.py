"""`intravisto serve --replicas`: views, runs a second with one replica and two, and the wait after kill -9."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from common import ROOT, end_process, free_port, machine, median_seconds, seconds, table

PROMPT = "Q: What is the capital of Italy? A:"
CLIENTS = 8
NEW = 5
PATIENCE_S = 120.0
REPLICA, INGRESS = "ServeReplica:intravisto:models", "ServeReplica:intravisto:ingress"


@contextmanager
def serving(model: str, replicas: int) -> Iterator[tuple[str, int]]:
    """The command as a process of its own: its address and its process."""
    port = free_port()
    command = [sys.executable, "-m", "intravisto_core", "serve", "--model", model, "--port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*command, "--replicas", str(replicas)], cwd=ROOT, **quiet)
    try:
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        end_process(process)


def connect(url: str) -> Any:
    """An engine, as soon as there is one."""
    import intravisto_core as iv

    until = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < until:
        with suppress(iv.ServiceError):
            return iv.connect(url, patience=PATIENCE_S)
        time.sleep(0.2)
    raise SystemExit(f"nothing answers at {url} after {PATIENCE_S:.0f} s")


def find(pid: int, name: str, n: int) -> list[Any]:
    """The processes of that name under the command, once there are so many."""
    import psutil

    until = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < until:
        found = []
        for each in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):
                found += [each] if name in " ".join(each.cmdline()) else []
        if len(found) == n:
            return found
        time.sleep(0.1)
    raise SystemExit(f"there are not {n} processes {name} after {PATIENCE_S:.0f} s")


def measure_rate(engine: Any, n: int) -> float:
    """Runs with a heatmap a second, of as many clients at once; no prompt twice."""

    def ask(i: int) -> None:
        engine.trace(f"{i} {i + 1} {i + 2}", max_new_tokens=NEW).heatmap()

    for i in range(CLIENTS):
        ask(10_000 + i)
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(ask, range(n)))
    return n / (time.perf_counter() - began)


def measure_kill(kill: Callable[[], None], ask: Callable[[], object]) -> float:
    """Seconds from kill -9 until an answer."""
    kill()
    return seconds(ask)


def try_kills(engine: Any, pid: int, times: int) -> list[tuple[str, str]]:
    """A killed replica, whose traces are made again; and a killed ingress, which forgets its jobs."""
    found: dict[str, list[float]] = {"replica": [], "again two": [], "ingress": []}
    for turn in range(times):
        traces = [engine.trace(f"{turn} {i} a b c") for i in range(4)]
        (one, _) = find(pid, REPLICA, 2)
        answers = [lambda t=t: t.shares() for t in traces]
        found["replica"].append(measure_kill(one.kill, lambda answers=answers: [answer() for answer in answers]))
        began = time.perf_counter()
        find(pid, REPLICA, 2)
        engine.trace(f"{turn} again")
        found["again two"].append(found["replica"][-1] + time.perf_counter() - began)
    for turn in range(times):
        trace = engine.trace(f"{turn} a b")
        (one,) = find(pid, INGRESS, 1)
        found["ingress"].append(measure_kill(one.kill, trace.shares))
    names = {
        "replica": "replica killed: until 4 traces answer",
        "again two": "replica killed: until there are two again",
        "ingress": "ingress killed: until a trace answers",
    }
    return [
        (names[name], f"{', '.join(f'{value:.1f}' for value in values)} s") for name, values in found.items() if values
    ]


def try_replicas(model: str, counts: list[int], n: int, kills: int) -> list[tuple[str, str]]:
    """The rows of the table."""
    rows: list[tuple[str, str]] = []
    for replicas in counts:
        began = time.perf_counter()
        with serving(model, replicas) as (url, pid):
            engine = connect(url)
            trace = engine.trace(PROMPT)
            who = f"{replicas} replicas"
            rows.append((f"{who}: until the first answer", f"{time.perf_counter() - began:.0f} s"))
            find(pid, REPLICA, replicas)
            engine.finish_check()
            rows.append((f"{who}: next tokens", f"{1e3 * median_seconds(trace.next_tokens, 30):.0f} ms"))
            rates = [measure_rate(engine, n) for _ in range(3)] if n else []
            if rates:
                told = f"{statistics.median(rates):.1f} a second ({min(rates):.1f} to {max(rates):.1f})"
                rows.append((f"{who}: runs of {NEW} new tokens with a heatmap, {CLIENTS} clients", told))
            if replicas == 2:
                rows += try_kills(engine, pid, kills)
            engine.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--replicas", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--runs", type=int, default=100, help="of all clients together, three times")
    parser.add_argument("--kills", type=int, default=3, help="of a replica, and of the ingress")
    options = parser.parse_args()
    print(machine())
    rows = try_replicas(options.model, options.replicas, options.runs, options.kills)
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    table(f"Replicas, {os.path.basename(options.model)}", ("what", "found"), rows)


if __name__ == "__main__":
    main()
