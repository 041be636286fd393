"""Where a token comes from, on the real model of the tests (`python -m tests.real.fetch`), beside a plain forward.

Plain: transformers' own forward of the same ids. Trace: the run that is explained. First: the card without tests of a
trace that nothing was asked of; again: of the same trace, another token each time, as records are kept. With tests: the
whole record; its bound is a plain forward for every test. Words: how many the text has.
"""

from __future__ import annotations

import argparse
import itertools
import runpy
import statistics

from common import ROOT, machine, seconds, table

PROMPTS = {
    "Eiffel": "The Eiffel Tower is in the city of",
    "Mary": "When Mary and John went to the store, John gave a drink to",
    "long": " ".join(["The tower stands in the old city by the river, and people come to see it in the spring."] * 15),
}


def measure(engine: object, prompt: str, repetitions: int) -> list[object]:
    """Tokens, tests, and the seconds of each step."""
    import torch

    from intravisto_core.engine import LocalEngine

    assert isinstance(engine, LocalEngine)
    network, device = engine.kept_traces.model.network, engine.kept_traces.model.device
    trace = engine.trace(prompt)
    ids = torch.tensor([[t.id for t in trace.tokens]], device=device)
    with torch.no_grad():
        plain = statistics.median(seconds(lambda: network(ids, use_cache=False)) for _ in range(repetitions))
    run = seconds(lambda: engine.trace(prompt + " and"))
    first = seconds(lambda: trace.explain(tests=False))
    others = itertools.count(1000)
    again = statistics.median(seconds(lambda: trace.explain(next(others), tests=False)) for _ in range(repetitions))
    whole = statistics.median(seconds(lambda: trace.explain(next(others))) for _ in range(repetitions))
    found = trace.explain()
    n_tests = 0 if found.tests is None else len(found.tests)
    bound = plain * max(1, n_tests)
    return [len(trace.tokens), n_tests, plain, run, first, again, whole, first / plain, whole / bound]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    import intravisto_core as iv

    # the file alone: the tests' package has every array checked, which takes time
    path = runpy.run_path(str(ROOT / "tests" / "real" / "fetch.py"))["find_model"]()
    if path is None:
        raise SystemExit("the real model is not here: python -m tests.real.fetch")
    engine = iv.open_model(str(path))
    # the network is called beside the engine below: nothing else may use it then
    engine.finish_check()
    rows = [[name, *measure(engine, prompt, options.repetitions)] for name, prompt in PROMPTS.items()]
    engine.close()
    print(machine())
    head = ["prompt", "tokens", "tests", "plain s", "trace s", "first s", "again s", "with tests s"]
    table("explain (medians)", [*head, "first / plain", "tests / bound"], rows)
    print("  goal: first ≤ 1 s for the short prompts")


if __name__ == "__main__":
    main()
