"""Many long runs of one model, one after the other: whether memory stays bounded; and one thread beside two.

    benchmarks/endurance.py path/to/model.gguf

Each run generates from a prompt of its own and is looked at; its memory is given back with its last handle.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from typing import Any

import psutil
from common import machine, seconds, table

PROMPTS = ("The capital of France is", "Once upon a time", "def add(a, b):", "The opposite of hot is", "In the year")
GENERATED = 100
STORE_BYTES = 256 << 20


def resident() -> float:
    """Megabytes of this process now."""
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


def runs(engine: Any, number: int) -> list[list[object]]:
    """A line after every tenth part of the runs."""
    rows: list[list[object]] = [["opened", resident(), 0.0, 0.0, 0.0]]
    taken: list[float] = []
    for done in range(1, number + 1):
        began = time.perf_counter()
        trace = engine.trace(f"{done}. {PROMPTS[done % len(PROMPTS)]}", max_new_tokens=GENERATED)
        taken.append(time.perf_counter() - began)
        trace.heatmap(positions=range(8))
        print(f"run {done}: {taken[-1]:.1f} s, {resident():.0f} MB", file=sys.stderr, flush=True)
        if done % max(1, number // 10) == 0:
            kept = engine.kept_traces.store.nbytes / 1e6
            rows.append([f"{done} runs", resident(), kept, statistics.median(taken), max(taken)])
            taken.clear()
    return rows


def threads(engine: Any, repetitions: int) -> list[list[object]]:
    """The same greedy run with one thread and with two, in turn."""
    import torch

    from intravisto_core.models.threads import using_threads
    from intravisto_core.progress import finish_turns
    from intravisto_core.request import Generation, TraceRequest
    from intravisto_core.tracing import run
    from intravisto_core.tracing.preparing import prepare

    model, generation = engine.kept_traces.model, Generation(GENERATED)
    prepared = prepare(model, TraceRequest(PROMPTS[1], generation))
    found: dict[int, Any] = {}
    times: dict[int, list[float]] = {1: [], 2: []}

    def one(n: int) -> None:
        with torch.no_grad(), using_threads(n):
            found[n] = finish_turns(run(model, prepared, generation, ()))

    for _ in range(repetitions):
        for n in times:
            times[n].append(seconds(lambda n=n: one(n)))
    one_thread, two = found[1], found[2]
    apart = (one_thread.last_logits - two.last_logits).abs().max() / two.last_logits.abs().max()
    same = one_thread.ids == two.ids
    middle = {n: statistics.median(t) for n, t in times.items()}
    return [
        ["1 thread", middle[1], 1.0, "", ""],
        ["2 threads", middle[2], middle[1] / middle[2], "the same" if same else "OTHERS", f"{float(apart):.1e}"],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="demo", help="whatever open_model takes")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--repetitions", type=int, default=2, help="of each number of threads; 0: none")
    options = parser.parse_args()

    import intravisto_core as iv

    engine = iv.LocalEngine(iv.ModelSpec(options.model), store_bytes=STORE_BYTES)
    print(machine())
    if options.runs:
        table(
            f"{options.runs} runs of {GENERATED} new tokens of {engine.model.name}, a store of {STORE_BYTES >> 20} MB",
            ["", "process MB", "store MB", "median s", "slowest s"],
            runs(engine, options.runs),
        )
    if options.repetitions:
        table(
            f"{GENERATED} new tokens of {engine.model.name}",
            ["", "s", "times as fast", "tokens", "last logits apart"],
            threads(engine, options.repetitions),
        )
    engine.close()


if __name__ == "__main__":
    main()
