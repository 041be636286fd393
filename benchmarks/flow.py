"""A flow of 30 tokens × 32 layers from all generated tokens, and one of 200 tokens × 34 layers with top-3 attention.

d 768, V 50,257, fp32, L1 with the value-weighted division. Cold: shares, attention, and every drawn node decoded. Warm:
the same view again, all of that kept. Another view: the same flow with another least mass, whose further nodes are
decoded. The figure is Plotly's; the payload is what the page is sent. With --real the Eiffel sentence on the real model
instead (python -m tests.real.fetch), at full depth with sinks set aside.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from common import machine, random_ids, random_model, seconds, table

CASES: dict[str, tuple[int, int, dict[str, Any]]] = {
    "30 × 32, generated": (32, 30, {"position": "generated"}),
    "200 × 34, top-3": (34, 200, {"top_k": 3}),
}
N_NEW = 10


def measure(n_layers: int, n_tokens: int, options: dict[str, Any], repetitions: int) -> list[object]:
    """Nodes, links, what is drawn, and the seconds of each step."""
    import torch

    import intravisto_core as iv
    from intravisto_core.figures.web.flow_payload import flow_payload

    with random_model("llama", n_layers) as folder, torch.no_grad():
        engine = iv.open_model(folder)
        engine.finish_check()
        trace = engine.trace(random_ids(n_tokens - N_NEW, 0), max_new_tokens=N_NEW)
        cold = seconds(lambda: trace.flow(**options))
        plain = statistics.median(seconds(lambda: trace.flow(**options, details=False)) for _ in range(repetitions))
        warm = statistics.median(seconds(lambda: trace.flow(**options)) for _ in range(repetitions))
        other = seconds(lambda: trace.flow(**options, min_mass=1e-3))
        flow = trace.flow(**options)
        drawn = statistics.median(seconds(flow.figure) for _ in range(repetitions))
        payload = flow_payload(flow)
        packed = statistics.median(seconds(lambda: flow_payload(flow)) for _ in range(repetitions))
        engine.close()
    sizes = [len(flow.node_mass), len(flow.link_mass), 100 * flow.drawn]
    return [*sizes, cold, plain, warm, other, drawn, packed, len(payload) / 1e6]


def measure_real(repetitions: int, threads: int) -> list[object]:
    """Seconds of the processor: sinks, masses alone, cold with all details (by the clock too), warm; beside one product
    a node."""
    import runpy
    import time
    from pathlib import Path

    import torch

    import intravisto_core as iv

    # by its file: the package of the tests watches every array, which takes time
    fetch = Path(__file__).parents[1] / "tests" / "real" / "fetch.py"
    model = runpy.run_path(str(fetch))["find_model"]()
    if model is None:
        raise SystemExit("the real model is not here: python -m tests.real.fetch")

    def cpu(act: Any) -> float:
        before = time.process_time()
        act()
        return time.process_time() - before

    torch.set_num_threads(threads)
    with torch.no_grad():
        engine = iv.open_model(str(model))
        engine.finish_check()
        trace = engine.trace("The Eiffel Tower is in the city of", max_new_tokens=1)
        options: dict[str, Any] = {"position": trace.prompt_length - 1, "sinks": "hide"}
        sinks, plain = cpu(trace.sinks), cpu(lambda: trace.flow(**options, details=False))
        began = time.perf_counter()
        cold = cpu(lambda: trace.flow(**options))
        clock, warm = time.perf_counter() - began, cpu(lambda: trace.flow(**options))
        nodes = len(trace.flow(**options).node_mass)
        x = torch.randn(64, engine.model.d_model)
        table = torch.randn(engine.model.d_vocab, engine.model.d_model)
        product = statistics.median(cpu(lambda: x @ table.T) for _ in range(repetitions)) * nodes / 64
        engine.close()
    return [nodes, sinks, plain, cold, clock, warm, product, cold / product]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--real", action="store_true", help="the real model instead")
    parser.add_argument("--threads", type=int, default=1, help="of the processor, on the real model")
    options = parser.parse_args()
    if options.real:
        row = measure_real(options.repetitions, options.threads)
        print(machine())
        names = ["nodes", "sinks s", "no details s", "cold s", "cold by the clock s", "warm s", "one product a node s"]
        table("flow at full depth, real model, seconds of the processor", [*names, "cold / product"], [row])
        print("  goal: cold ≤ 1 s")
        return
    rows = [[name, *measure(*case, options.repetitions)] for name, case in CASES.items()]
    print(machine())
    head = ["tokens × layers", "nodes", "links", "drawn %", "cold s", "no details s", "warm s", "other s"]
    table("flow (medians)", [*head, "figure s", "payload s", "payload MB"], rows)
    print("  goals: warm ≤ 0.2 s, payload ≤ 1 MB")


if __name__ == "__main__":
    main()
