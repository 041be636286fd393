"""The service beside a model that is open here: time a view, bytes of a heatmap, batches, replicas, a killed replica.

What a view costs more is the difference of medians over views that are computed already, so that it is the way alone.
nnsight's batched invokes run in a process of their own, and are left out where it is not installed.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from common import machine, median_seconds, table

# this folder holds a click.py, which is not the package that the web server needs
sys.path[:] = [each for each in sys.path if os.path.abspath(each or ".") != os.path.dirname(os.path.abspath(__file__))]

PROMPT = "Q: What is the capital of Italy? A:"
PORT = 8497
PROMPTS = [f"{i} {i + 1} {i + 2}" for i in range(256)]
# prompts of one trace of nnsight, as many as share a pass here
IN_ONE = 64


def serve_here() -> tuple[str, Any]:
    """A service of the demo model in a thread of this process."""
    import intravisto_core as iv
    from intravisto_core.service.clients import Clients
    from intravisto_core.service.server import make_server

    server = make_server({"demo": iv.ModelSpec("demo")}, Clients(), port=0)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", server


def compare_views(n: int) -> list[tuple[str, str]]:
    import intravisto_core as iv

    here = iv.open_model("demo")
    url, server = serve_here()
    there = iv.connect(url)
    rows = []
    traces = [engine.trace(PROMPT, max_new_tokens=10) for engine in (here, there)]
    for name, view in (("next tokens", lambda t: t.next_tokens()), ("heatmap", lambda t: t.heatmap())):
        own, away = (1e3 * median_seconds(lambda t=t, v=view: v(t), n) for t in traces)
        rows.append((f"{name}: open here, at the service", f"{own:.1f} ms, {away:.1f} ms (+{away - own:.1f})"))
    rows += count_bytes()
    rows += compare_batches(here, there)
    server.should_exit = True
    here.close()
    return rows


def compare_batches(here: Any, there: Any) -> list[tuple[str, str]]:
    """Many short prompts: one after the other, as one batch, at the service, and by nnsight."""
    seconds = {
        "a loop": lambda: [here.trace(prompt) for prompt in PROMPTS],
        "one batch": lambda: here.traces(PROMPTS, progress=False),
        "one batch that keeps the stream alone": lambda: here.traces(PROMPTS, progress=False, sites=["resid_pre"]),
        "one batch at the service": lambda: there.traces(PROMPTS, progress=False),
    }
    found = {}
    for name, work in seconds.items():
        began = time.perf_counter()
        work()
        found[name] = time.perf_counter() - began
    if (theirs := measure_nnsight()) is not None:
        found[f"nnsight, invokes {IN_ONE} at a time, the stream saved"] = theirs
    return [(f"{len(PROMPTS)} short prompts: {name}", f"{value:.2f} s") for name, value in found.items()]


def measure_nnsight() -> float | None:
    """Seconds of nnsight's batched invokes over the same prompts, every layer's output saved."""
    done = subprocess.run([sys.executable, __file__, "--side", "nnsight"], capture_output=True, text=True)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def run_nnsight() -> None:
    """Print those seconds."""
    import torch
    from common import ROOT
    from nnsight import LanguageModel

    folder = str(ROOT / "intravisto_core" / "demo" / "model")
    model: Any = LanguageModel(folder, device_map="cpu", dispatch=True, attn_implementation="eager")
    layers = model.model.layers

    def run(prompts: list[str]) -> None:
        saved = []
        with torch.no_grad(), model.trace() as tracer:
            for prompt in prompts:
                with tracer.invoke(prompt):
                    saved.append([layer.output.save() for layer in layers])

    run(PROMPTS[:2])
    began = time.perf_counter()
    for at in range(0, len(PROMPTS), IN_ONE):
        run(PROMPTS[at : at + IN_ONE])
    print(time.perf_counter() - began)


def compare_joining(n: int) -> list[tuple[str, str]]:
    """Runs of sixteen users at once, each in a session of its own, with and without shared passes."""
    import intravisto_core as iv
    from intravisto_core.engine import LocalEngine

    rows = []
    for joining in (False, True):
        engine = LocalEngine(iv.ModelSpec("demo"), joining=joining)
        engine.finish_check()

        def ask(i: int, engine: Any = engine) -> None:
            request = iv.TraceRequest(PROMPTS[i % len(PROMPTS)], iv.Generation(5))
            engine.submit(request, session=str(i % 16)).result()

        ask(0)
        began = time.perf_counter()
        with ThreadPoolExecutor(16) as users:
            list(users.map(ask, range(n)))
        rate = n / (time.perf_counter() - began)
        name = "runs that wait share a pass" if joining else "each run by itself"
        rows.append((f"16 users, 5 new tokens: {name}", f"{rate:.0f} runs a second"))
        engine.close()
    return rows


def compare_prefixes() -> list[tuple[str, str]]:
    """Prompts that begin alike, on the largest model that is made here: the first whole, the next from the seam on."""
    from common import random_ids, random_model

    import intravisto_core as iv

    with random_model("llama", context=2048) as folder:
        engine = iv.open_model(str(folder))
        engine.finish_check()
        start = tuple(random_ids(1024, 0))
        times = []
        for i in range(4):
            began = time.perf_counter()
            trace = engine.trace((*start, *random_ids(32, 1 + i)))
            times.append(time.perf_counter() - began)
            trace.pin()
        engine.close()
    later = statistics.median(times[1:])
    return [("1,056 tokens, of which 1,024 are known (d 768): first, later", f"{times[0]:.2f} s, {later:.2f} s")]


def count_bytes() -> list[tuple[str, str]]:
    """What a heatmap of 200 positions and 34 rows takes on the way, by its shape alone."""
    from dataclasses import replace

    import intravisto_core as iv
    from intravisto_core.engine.answers import pack_answer

    grid = iv.open_model("demo").trace("1 2 3 4 5 6 7 8").heatmap()
    import numpy as np

    rows, columns = 34, 200
    pick = np.ix_(np.arange(rows) % len(grid.rows), np.arange(columns) % len(grid.positions))
    arrays = {
        name: value[pick]
        for name in grid.__dataclass_fields__
        if isinstance(value := getattr(grid, name), np.ndarray) and value.shape[:2] == grid.p_max.shape
    }
    tokens = tuple(replace(grid.tokens[i % len(grid.tokens)], position=i) for i in range(columns))
    own: dict[str, Any] = {name: np.resize(getattr(grid, name), columns) for name in ("says", "next_ids")}
    own["blank"] = tuple(grid.blank[i % len(grid.blank)] for i in range(rows))
    large = replace(grid, rows=np.arange(rows), positions=np.arange(columns), tokens=tokens, **arrays, **own)
    return [("a 200 × 34 heatmap, top 5", f"{len(pack_answer(large)) / 1e3:.0f} kB")]


def try_replicas(n: int) -> list[tuple[str, str]]:
    import psutil
    import ray
    from ray import serve

    import intravisto_core as iv
    from intravisto_core.service.cluster import Plan, start_cluster

    rows = []
    for replicas in (1, 2):
        began = time.perf_counter()
        plan = Plan({"demo": iv.ModelSpec("demo")}, least=replicas, most=replicas)
        start_cluster(plan, "127.0.0.1", PORT)
        engine = iv.connect(f"http://127.0.0.1:{PORT}")
        rows.append((f"{replicas} replicas: until the first answer", f"{time.perf_counter() - began:.0f} s"))
        trace = engine.trace(PROMPT)
        rows.append((f"{replicas} replicas: next tokens", f"{1e3 * median_seconds(trace.next_tokens, 20):.0f} ms"))

        def ask(i: int, engine: Any = engine) -> None:
            engine.trace(f"{i} {i + 1}", max_new_tokens=5).heatmap()

        began = time.perf_counter()
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(ask, range(n)))
        rows.append((f"{replicas} replicas: runs with a heatmap", f"{n / (time.perf_counter() - began):.0f} a second"))
        if replicas == 2:
            traces = [engine.trace(f"{i} a b c") for i in range(4)]
            found = psutil.process_iter(["pid", "cmdline"])
            pids = [p.pid for p in found if "ServeReplica:intravisto:models" in " ".join(p.info["cmdline"] or [])]
            os.kill(pids[0], signal.SIGKILL)
            began = time.perf_counter()
            for each in traces:
                each.shares()
            rows.append(("until 4 traces answer after kill -9", f"{time.perf_counter() - began:.1f} s"))
        serve.shutdown()
        ray.shutdown()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--no-cluster", action="store_true", help="leave Ray out")
    parser.add_argument("--side", choices=["nnsight"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_nnsight()
        return
    rows = compare_views(options.calls) + compare_joining(256) + compare_prefixes()
    if not options.no_cluster:
        rows += try_replicas(100)
    print(machine())
    table("The service", ("what", "found"), rows)


if __name__ == "__main__":
    main()
