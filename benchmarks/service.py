"""The service beside a model that is open here: time a view, bytes of a heatmap, batches, shared passes and beginnings.

What a view costs more is the difference of medians over views that are computed already, so that it is the way alone;
the service is a process of its own, as a user has it. nnsight's batched invokes run in a process of their own too, and
are left out where it is not installed. Replicas of a cluster are in replicas.py.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from common import (
    ROOT,
    end_process,
    free_port,
    interleaved,
    machine,
    median_seconds,
    random_ids,
    random_model,
    table,
    wait_for_port,
)

PROMPT = "Q: What is the capital of Italy? A:"
TEXT = "The opposite of hot is cold. The language spoken in Paris is French. "
PROMPTS = [f"{i} {i + 1} {i + 2}" for i in range(256)]
# prompts of one trace of nnsight, as many as share a pass here
IN_ONE = 64


@contextmanager
def served(model: str) -> Iterator[Any]:
    """An engine at `intravisto serve`."""
    import intravisto_core as iv

    port = free_port()
    command = [sys.executable, "-m", "intravisto_core", "serve", "--model", model, "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        engine = iv.connect(f"http://127.0.0.1:{port}")
        engine.finish_check()
        yield engine
        engine.close()
    finally:
        end_process(process)


def compare_views(model: str, n: int) -> list[tuple[str, str]]:
    """The same views of the same run, asked for again and again, here and at the service."""
    import intravisto_core as iv
    from intravisto_core.engine.answers import pack_answer

    here = iv.open_model(model)
    here.finish_check()
    rows = [("a 200 × 34 heatmap, top 5, by its shape", f"{count_bytes() / 1e3:.0f} kB")]
    with served(model) as there:
        length = 200 if model != "demo" else 40
        ids = [token.id for token in here.tokenize(TEXT * 20)][:length]
        pairs = [
            [engine.trace(prompt, max_new_tokens=new) for engine in (here, there)]
            for prompt, new in ((PROMPT, 10), (ids, 0))
        ]
        grid = pairs[1][0].heatmap()
        large = f"heatmap of {len(grid.rows)} × {len(grid.positions)}, {len(pack_answer(grid)) / 1e3:.0f} kB"
        views: list[tuple[str, int, Callable[[Any], object]]] = [
            ("next tokens", 0, lambda t: t.next_tokens()),
            ("shares", 0, lambda t: t.shares()),
            ("heatmap", 0, lambda t: t.heatmap()),
            (large, 1, lambda t: t.heatmap()),
        ]
        for name, which, view in views:
            times = interleaved({str(i): lambda _, t=t, v=view: v(t) for i, t in enumerate(pairs[which])}, n)
            own, away = (1e3 * value for value in times.values())
            rows.append((f"{name}: open here, at the service", f"{own:.1f} ms, {away:.1f} ms (+{away - own:.1f})"))
    here.close()
    return rows


def compare_batches(n: int) -> list[tuple[str, str]]:
    """Many short prompts: one after the other, as one batch, at the service, and by nnsight; medians of n in turns."""
    import intravisto_core as iv

    here = iv.open_model("demo")
    here.finish_check()
    with served("demo") as there:
        works: dict[str, Callable[[int], object]] = {
            "a loop": lambda _: [here.trace(prompt) for prompt in PROMPTS],
            "one batch": lambda _: here.traces(PROMPTS, progress=False),
            "one batch that keeps the stream alone": lambda _: here.traces(
                PROMPTS, progress=False, sites=["resid_pre"]
            ),
            "a loop at the service": lambda _: [there.trace(prompt) for prompt in PROMPTS],
            "one batch at the service": lambda _: there.traces(PROMPTS, progress=False),
        }
        for work in works.values():
            work(0)
        found = interleaved(works, n)
    here.close()
    if (theirs := measure_nnsight(n)) is not None:
        found[f"nnsight, invokes {IN_ONE} at a time, the stream saved"] = theirs
    loop = found["a loop"]
    return [
        (f"{len(PROMPTS)} short prompts: {name}", f"{value:.2f} s ({loop / value:.1f} × the loop's speed)")
        for name, value in found.items()
    ]


def measure_nnsight(n: int) -> float | None:
    """Seconds of nnsight's batched invokes over the same prompts, every layer's output saved; the median of n."""
    command = [sys.executable, __file__, "--side", "nnsight", "--turns", str(n)]
    done = subprocess.run(command, capture_output=True, text=True)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def run_nnsight(n: int) -> None:
    """Print those seconds."""
    import torch
    from nnsight import LanguageModel

    folder = str(ROOT / "intravisto_core" / "demo" / "model")
    model: Any = LanguageModel(folder, device_map="cpu", dispatch=True, attn_implementation="eager")
    layers = model.model.layers

    def run(prompts: list[str]) -> list[Any]:
        saved = []
        with torch.no_grad(), model.trace() as tracer:
            for prompt in prompts:
                with tracer.invoke(prompt):
                    saved.append([layer.output.save() for layer in layers])
        return saved

    def run_all() -> None:
        found = [each for at in range(0, len(PROMPTS), IN_ONE) for each in run(PROMPTS[at : at + IN_ONE])]
        assert len(found) == len(PROMPTS)

    print(median_seconds(run_all, n))


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


def count_bytes() -> int:
    """What a heatmap of 200 positions and 34 rows takes on the way, by its shape alone."""
    import numpy as np

    import intravisto_core as iv
    from intravisto_core.engine.answers import pack_answer

    engine = iv.open_model("demo")
    grid = engine.trace("1 2 3 4 5 6 7 8").heatmap()
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
    engine.close()
    return len(pack_answer(large))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("views", "batches", "joining", "prefixes")
    parser.add_argument("--parts", nargs="*", choices=parts, default=parts)
    parser.add_argument("--model", default="demo", help="of the views (default demo)")
    parser.add_argument("--calls", type=int, default=50, help="of each view")
    parser.add_argument("--turns", type=int, default=5, help="of each batch")
    parser.add_argument("--side", choices=["nnsight"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_nnsight(options.turns)
        return
    works: dict[str, Callable[[], list[tuple[str, str]]]] = {
        "views": lambda: compare_views(options.model, options.calls),
        "batches": lambda: compare_batches(options.turns),
        "joining": lambda: compare_joining(256),
        "prefixes": compare_prefixes,
    }
    rows = [row for name in options.parts for row in works[name]()]
    print(machine())
    table("The service", ("what", "found"), rows)


if __name__ == "__main__":
    main()
