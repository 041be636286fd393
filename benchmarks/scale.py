"""What docs/scale.md reckons with: times by a formula, held against models that run here, and queues of equal runs.

A call of a model takes the larger of its arithmetic and the reading of its weights, and some time for each layer, in
which Python, hooks and kernels are begun:

    call(n positions) = max(2 P n / F, W / B) + L c        step = call(1)       trace = call(T) + new × step

P: parameters; W: their bytes; L: layers. F (arithmetic a second) and B (bytes a second) are of the machine, and c is
measured on the demo model, whose own arithmetic is nothing. So the times of every other model are foretold, not fitted.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import machine, median_seconds, table

# tokens of a prompt where the model's context has room for them, and of what follows
T, NEW = 200, 32
# of the queue: few enough that a run of the demo model is short
NEW_IN_QUEUE = 8
HOT = 1000.0
# of a GPU of 80 GB, from its data sheet, less what programs do not reach; nothing here was run on one
GPU_F, GPU_B = 0.4e15, 2.7e12
# of docs/scale.md: traces of 1,000 people a second
RATE = 1.7
HOURS = 20


@dataclass(frozen=True)
class Shape:
    """A model as the formula sees it: parameters that a position meets, bytes of each, layers, width, vocabulary."""

    parameters: float
    nbytes: float
    layers: int
    width: int
    vocabulary: int


@dataclass(frozen=True)
class Machine:
    """F, B and c of the formula."""

    flops: float
    bandwidth: float
    layer_s: float

    def call(self, model: Shape, n: int) -> float:
        """Seconds of one call over n positions."""
        work = 2 * model.parameters * n / self.flops
        return max(work, model.parameters * model.nbytes / self.bandwidth) + model.layers * self.layer_s

    def trace(self, model: Shape, n: int, new: int) -> float:
        """Seconds of a run; the token that is generated last is run through the model too."""
        return self.call(model, n) + new * self.call(model, 1)

    def heatmap(self, model: Shape, n: int) -> float:
        """Seconds of scores over the vocabulary for all rows and n positions, decoded once."""
        return 2 * (model.layers + 2) * n * model.vocabulary * model.width / self.flops


def measure_machine() -> tuple[float, float]:
    """F of matrices as large as those of a model, and B of a matrix that no cache holds."""
    import torch

    x, w = torch.randn(T, 1024), torch.randn(1024, 4096)
    flops = 2 * T * w.numel() / median_seconds(lambda: x @ w, 20)
    large, one = torch.randn(16384, 8192), torch.randn(8192)
    return flops, 4 * large.numel() / median_seconds(lambda: large @ one, 5)


def find_shape(engine: Any) -> Shape:
    """Of an open model: weights that a position meets, the embedding's table only where it is the output's too."""
    card = engine.model
    table = card.d_vocab * card.d_model
    parameters = card.n_parameters - (0 if card.tied else table)
    return Shape(parameters, 4, card.n_layers, card.d_model, card.d_vocab)


def find_length(engine: Any) -> int:
    """Tokens of a prompt."""
    return min(T, int(engine.model.context) - NEW)


def draw_ids(seed: int, n: int) -> tuple[int, ...]:
    """Token ids that no other prompt begins with, so that nothing is known of it."""
    chosen = random.Random(seed)
    return tuple(chosen.randrange(100, 1000) for _ in range(n))


def ask_for(engine: Any, seed: int, new: int) -> Any:
    """A run over a prompt of its own; what follows is drawn from all tokens nearly alike, so that few end early."""
    import intravisto_core as iv

    return iv.TraceRequest(draw_ids(seed, find_length(engine)), iv.Generation(new, temperature=HOT, seed=seed))


def time_run(engine: Any, seed: int, new: int) -> tuple[float, Any]:
    began = time.perf_counter()
    trace = engine.submit(ask_for(engine, seed, new)).result()
    took = time.perf_counter() - began
    if len(trace.tokens) < trace.prompt_length + new:
        raise SystemExit(f"the text of seed {seed} ended early: choose another temperature")
    return took, trace


def measure_model(engine: Any, n: int) -> dict[str, float]:
    """Seconds of a prefill, of a step, of a trace and of its heatmap; medians of n after one that is not counted."""
    found: dict[str, list[float]] = {"prefill": [], "step": [], "trace": [], "heatmap": []}
    for seed in range(n + 1):
        prefill, _ = time_run(engine, 2 * seed, 0)
        whole, trace = time_run(engine, 2 * seed + 1, NEW)
        began = time.perf_counter()
        trace.heatmap(positions=range(trace.prompt_length))
        seen = time.perf_counter() - began
        if seed:
            for name, value in zip(found, (prefill, (whole - prefill) / NEW, whole, seen), strict=True):
                found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def foretell(model: Shape, on: Machine, length: int = T) -> dict[str, float]:
    """The same by the formula, of a prompt of so many tokens."""
    return {
        "prefill": on.call(model, length),
        "step": on.call(model, 1),
        "trace": on.trace(model, length, NEW),
        "heatmap": on.heatmap(model, length),
    }


def measure_bytes(engine: Any) -> int:
    """Bytes of activations that one position of a trace keeps, with all sites."""
    trace = engine.submit(ask_for(engine, 9000, 0)).result()
    data = engine.kept_traces.store.peek(("trace", trace.id))
    return int(data.nbytes / len(trace.tokens))


def foretell_bytes(shape: Any, itemsize: int) -> int:
    """The same by the estimate that a run is held against before it begins. shape: `Dimensions`."""
    from intravisto_core.models.run_memory import captured_bytes

    return captured_bytes(shape, False, 1, itemsize)


def simulate(arrivals: Sequence[float], service: float, servers: int) -> list[float]:
    """How long each waits before it is begun, first come first served."""
    free = [0.0] * servers
    waits = []
    for at in arrivals:
        begin = max(at, heapq.heappop(free))
        heapq.heappush(free, begin + service)
        waits.append(begin - at)
    return waits


def draw_arrivals(rate: float, n: int, seed: int) -> list[float]:
    """Poisson arrivals."""
    chosen, at, found = random.Random(seed), 0.0, []
    for _ in range(n):
        at += chosen.expovariate(rate)
        found.append(at)
    return found


def measure_queue(engine: Any, busy: float, n: int, sessions: bool) -> tuple[float, float, float, float]:
    """Runs that arrive by chance at one engine: seconds of one alone, mean wait measured, the same reckoned, in turns.

    sessions: whether each run is of a client of its own, who takes turns with the others. The last value is the mean
    wait where all who wait are served at once, each more slowly: s ρ / (1 − ρ).
    """

    def ask(seed: int, session: str) -> Any:
        return engine.submit(ask_for(engine, 1000 + seed, NEW_IN_QUEUE), session=session)

    alone = statistics.median(time_run(engine, 5000 + seed, NEW_IN_QUEUE)[0] for seed in range(8))
    arrivals = draw_arrivals(busy / alone, n, 0)
    took, ended, lock = [], threading.Event(), threading.Lock()
    began = time.perf_counter()
    for i, at in enumerate(arrivals):
        time.sleep(max(0.0, began + at - time.perf_counter()))
        job = ask(i, str(i) if sessions else "")

        def note(sent: float = began + at) -> None:
            with lock:
                took.append(time.perf_counter() - sent)
                if len(took) == n:
                    ended.set()

        job.when_ended(note)
    ended.wait()
    own = simulate(arrivals, alone, 1)
    return alone, statistics.mean(took) - alone, statistics.mean(own), alone * busy / (1 - busy)


def describe_waits(name: str, service: float, servers: int) -> tuple[str, str]:
    waits = sorted(simulate(draw_arrivals(RATE, int(RATE * HOURS * 3600), 1), service, servers))
    late = waits[int(0.95 * len(waits))]
    return (
        f"{name}: {service:.2f} s, {servers} replicas",
        f"mean {statistics.mean(waits):.2f} s, 1 in 20 over {late:.1f} s",
    )


def main() -> None:
    import intravisto_core as iv

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, help="beside the demo model")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--arrivals", type=int, default=80)
    parser.add_argument("--layer-ms", type=float, help="c in ms for 8B and 70B (default: as measured here)")
    options = parser.parse_args()
    flops, bandwidth = measure_machine()
    demo = iv.open_model("demo", dtype="float32")
    demo.finish_check()
    shape, seen = find_shape(demo), measure_model(demo, options.runs)
    here = Machine(flops, bandwidth, (seen["step"] - max(shape.parameters * 4 / bandwidth, 0)) / shape.layers)
    rows = [
        ("F, B, c", f"{flops / 1e9:.0f} Gflop/s, {bandwidth / 1e9:.1f} GB/s, {here.layer_s * 1e3:.2f} ms"),
        *compare("demo", demo, seen, here),
    ]
    for sessions in (False, True):
        alone, measured, first, turns = measure_queue(demo, 0.6, options.arrivals, sessions)
        who = "each of its own client" if sessions else "all of one client"
        rows.append(
            (
                f"demo, runs of {alone:.3f} s, busy 60 %, {who}: mean wait",
                f"{measured:.3f} s; simulated {first:.3f} s in a row, {turns:.3f} s in turns",
            )
        )
    demo.close()
    for path in options.models:
        engine = iv.open_model(str(path))
        engine.finish_check()
        rows += compare(path.name, engine, measure_model(engine, options.runs), here)
        engine.close()
    rows += reckon_large(Machine(GPU_F, GPU_B, here.layer_s if options.layer_ms is None else options.layer_ms / 1e3))
    print(machine())
    table("Scale", ("what", "found"), rows)


def compare(name: str, engine: Any, seen: dict[str, float], on: Machine) -> list[tuple[str, str]]:
    """What was measured of a model beside the formulas."""
    length = find_length(engine)
    told = foretell(find_shape(engine), on, length)
    kept, counted = measure_bytes(engine), foretell_bytes(engine.kept_traces.model.dimensions, 4)
    return [
        *(
            (
                f"{name}, {length} + {NEW} tokens: {key}, measured and foretold",
                f"{seen[key]:.4f} s, {told[key]:.4f} s ({seen[key] / told[key]:.1f} ×)",
            )
            for key in seen
        ),
        (f"{name}: bytes of one position, kept and foretold", f"{kept:,}, {counted:,} ({kept / counted:.2f} ×)"),
    ]


def reckon_large(on: Machine) -> list[tuple[str, str]]:
    """The numbers of docs/scale.md: models that were not run."""
    from intravisto_core.models.loaded import Dimensions

    rows = []
    for name, shape, sizes, servers in (
        (
            "8B",
            Shape(8.0e9, 2, 32, 4096, 128_256),
            Dimensions(32, 32, 8, 4096, 128, 128, 14_336, 128_256, 8192),
            (2, 3),
        ),
        (
            "70B on 4 GPUs",
            Shape(70.6e9, 2, 80, 8192, 128_256),
            Dimensions(80, 64, 8, 8192, 128, 128, 28_672, 128_256, 8192),
            (6, 9),
        ),
    ):
        one, found = foretell_bytes(sizes, 2), foretell(shape, on)
        rows += [(f"{name}: {key}, reckoned", f"{value:.3f} s") for key, value in found.items()]
        rows += [(f"{name}: bytes of a position, of {T + NEW}", f"{one / 1e6:.1f} MB, {(T + NEW) * one / 1e9:.2f} GB")]
        busy = RATE * found["trace"] + 2 * RATE * found["heatmap"]
        rows += [(f"{name}: replicas busy with {RATE} traces and {2 * RATE} heatmaps a second", f"{busy:.2f}")]
        rows += [describe_waits(name, found["trace"], n) for n in servers]
    return rows


if __name__ == "__main__":
    main()
