"""Many people at once on the demo model: answers a second, the worst wait, memory; and what opening it takes.

Every session runs a prompt and looks at it through three lenses, again and again, in a thread of its own; all share one
engine, as in the app. A wait is from asking to having the record.
"""

from __future__ import annotations

import argparse
import random
import resource
import threading
import time

from common import machine, table

PROMPTS = (
    "Q: What is the capital of Italy? A:",
    "Q: What is the capital of France? A:",
    "1 2 3 4 5",
    "Monday Tuesday Wednesday",
)
LENSES = ("output", "linear", "input")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    import intravisto_core as iv

    start = time.perf_counter()
    engine = iv.open_model("demo")
    opened = time.perf_counter()
    engine.trace(PROMPTS[0], max_new_tokens=10).heatmap()
    first = time.perf_counter()
    waits: dict[str, list[float]] = {"trace": [], "view": []}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def ask(kind: str, request: object, session: str) -> object:
        asked = time.perf_counter()
        answer = engine.submit(request, session=session).result()
        waits[kind].append(time.perf_counter() - asked)
        return answer

    def session(number: int) -> None:
        draw, name = random.Random(number), f"session {number}"
        for _ in range(options.rounds):
            request = iv.TraceRequest(draw.choice(PROMPTS), iv.Generation(draw.randint(1, 10)))
            trace = ask("trace", request, name)
            for lens in LENSES:
                ask("view", iv.HeatmapView(trace.id, lens=lens), name)

    threads = [threading.Thread(target=session, args=(n,)) for n in range(options.sessions)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine.close()
    print(machine())
    rows = []
    for kind, seconds in waits.items():
        seconds.sort()
        rows.append([kind, len(seconds), len(seconds) / took, seconds[len(seconds) // 2], seconds[-1]])
    table(
        f"{options.sessions} sessions on one engine",
        ["answer", "number", "a second", "median wait s", "worst wait s"],
        rows,
    )
    print(f"  peak memory {peak / 1024:.0f} MB, {(peak - before) / 1024:.0f} MB of it for the sessions")
    print(f"  opening the demo model with its self-check {opened - start:.2f} s")
    print(f"  first trace and heatmap {first - opened:.2f} s")


if __name__ == "__main__":
    main()
