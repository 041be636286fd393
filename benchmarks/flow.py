"""A flow of 30 tokens × 32 layers from all generated tokens, and one of 200 tokens × 34 layers with top-3 attention.

d 768, V 50,257, fp32, norm measure. Cold: shares, attention, and every drawn node decoded. Warm: the same view again,
all of that kept. Another view: the same flow with another least mass, whose further nodes are decoded. The figure is
Plotly's; the payload is what the page is sent.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    rows = [[name, *measure(*case, options.repetitions)] for name, case in CASES.items()]
    print(machine())
    head = ["tokens × layers", "nodes", "links", "drawn %", "cold s", "no details s", "warm s", "other s"]
    table("flow, norm measure (medians)", [*head, "figure s", "payload s", "payload MB"], rows)
    print("  goals: warm ≤ 0.2 s, payload ≤ 1 MB")


if __name__ == "__main__":
    main()
