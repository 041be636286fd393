"""Edits of 200 held tokens (12 layers, d 768): later rows alone beside a full run, and checked links beside full runs.

The runs of each pair take turns. A full run of an edit is the same edit with reuse switched off; links are held to as
many plain forward passes, in processor time. The heaviest links of a random model begin anywhere, most of them early;
those of the trained demo model lie much nearer to the end.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib import import_module

import numpy as np
from common import interleaved, machine, random_ids, random_model, table

TOKENS, LAYERS = 200, 12
N_LINKS = 50
# One in so many links is also held to a full run.
CHECKED = 5
FACTS = [f"Q: What is the capital of {c}? A:" for c in ("Italy", "France", "Spain", "Japan", "Egypt", "Peru", "Italy")]


def edits(repetitions: int) -> list[list[object]]:
    """One edit at the middle layer and last position, and one early, against full runs."""
    import intravisto_core as iv

    rows: list[list[object]] = []
    with random_model("llama", LAYERS) as folder:
        engine = iv.open_model(folder)
        engine.finish_check()
        trace = engine.trace(random_ids(TOKENS, 0))
        trace.pin()
        for layer, position in ((LAYERS // 2, TOKENS - 1), (3, 100)):
            works = {name: edit(trace, layer, position, name == "full") for name in ("reuse", "full")}
            for work in works.values():
                work(0)
            found = interleaved(works, repetitions)
            left = (LAYERS - layer) / LAYERS * (TOKENS - position) / TOKENS
            share = found["reuse"] / found["full"]
            rows.append([f"layer {layer}, position {position}", found["reuse"], found["full"], share, left])
        rows.append(links(trace, "links of most mass", largest(trace, N_LINKS), repetitions))
        rows.append(links(trace, "links placed as the demo model's", as_in_the_demo(trace), repetitions))
        rows.append(links(trace, "components of the last token", attributed(trace, N_LINKS), repetitions))
        engine.close()
    return rows


def edit(trace, layer: int, position: int, in_full: bool) -> Callable[[int], None]:
    """A call that makes the edit once; the factor differs each time."""
    import intravisto_core as iv

    def work(repetition: int) -> None:
        with reuse_off(in_full):
            edited = trace.edit(iv.Scale("resid_pre", layer, position, factor=2.0 + repetition))
        assert (trace.engine.kept_traces.entry(edited.id, edited.session).reused is None) == in_full
        trace.engine.forget(edited.id)

    return work


class reuse_off:
    """Within it nothing is reused, where it is asked for."""

    def __init__(self, asked: bool) -> None:
        self.asked = asked
        self.places = [import_module(f"intravisto_core.{m}") for m in ("engine.edit", "experiments.check_links")]

    def __enter__(self) -> None:
        self.kept = [place.obstacle for place in self.places]
        if self.asked:
            for place in self.places:
                place.obstacle = lambda *_: "measured in full"

    def __exit__(self, *_: object) -> None:
        for place, kept in zip(self.places, self.kept, strict=True):
            place.obstacle = kept


def links(trace, name: str, chosen: list, repetitions: int) -> list[object]:
    """Links checked together, beside as many plain forward passes over the text, with nothing captured."""
    found = {}
    with reuse_off(True):
        found[True] = trace.check_links(chosen[::CHECKED], 11, 12)

    def together(_: int) -> None:
        found[False] = trace.check_links(chosen, 11, 12)

    passes = {"together": together, "a pass": plain_pass(trace)}
    times = processor_times(passes, max(1, repetitions // 3))
    apart = float(np.abs(found[False].measured[::CHECKED] - found[True].measured).max())
    print(f"  {len(chosen)} {name}: at most {apart:.1e} from full runs, noise floor {found[False].noise:.1e}")
    print(f"  rank correlation of predicted and measured {found[False].rank_correlation:.2f}")
    whole = len(chosen) * times["a pass"]
    left = float(np.mean([least_work(x, len(trace.tokens), trace.engine.model.n_layers) for x in chosen]))
    return [f"{len(chosen)} {name}", times["together"], whole, times["together"] / whole, left]


def processor_times(works: dict[str, Callable[[int], object]], repetitions: int) -> dict[str, float]:
    """Median seconds of processor time of each, which other load on the machine hardly changes; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for repetition in range(repetitions):
        for name, work in works.items():
            begin = time.process_time()
            work(repetition)
            times[name].append(time.process_time() - begin)
    return {name: statistics.median(found) for name, found in times.items()}


def plain_pass(trace) -> Callable[[int], None]:
    """A forward pass of the whole text as transformers makes it."""
    import torch

    network, ids = trace.engine.kept_traces.model.network, torch.tensor([[t.id for t in trace.tokens]])

    def work(_: int) -> None:
        with torch.no_grad():
            network(input_ids=ids, use_cache=False, logits_to_keep=1)

    work(0)

    return work


def least_work(link, n_tokens: int, n_layers: int) -> float:
    """The part of a full pass that an exact measurement cannot do without.

    All positions after the link's change in every layer above its own; of the last layer only keys and values count,
    about a sixth of it.
    """
    above = n_layers - link.layer - 1
    return max(above - 1 + (1 / 6), 0) / n_layers * (n_tokens - link.position) / n_tokens


def largest(trace, n: int):
    """The n links of most mass that carry a vector into the stream."""
    import intravisto_core as iv

    flow = trace.flow(details=False, max_links=None, max_nodes=None, min_mass=0.0, top_k=8)
    nodes = flow.nodes.set_index("id")
    frame = flow.links.sort_values("mass", ascending=False)
    chosen: dict[iv.Link, None] = {}
    for _, line in frame.iterrows():
        source, target = nodes.loc[line["source"]], nodes.loc[line["target"]]
        layer, at = int(target["row"]) - 1, int(target["position"])
        kind, into = str(source["kind"]), str(target["kind"])
        if into == "attention" and kind == "block":
            chosen[iv.Link("attention", layer, at, source=int(source["position"]))] = None
        elif kind in ("attention", "mlp") and into in ("mid", "block"):
            chosen[iv.Link(kind, layer, at)] = None
        if len(chosen) == n:
            break
    return list(chosen)


def as_in_the_demo(trace):
    """Links where the trained demo model has its heaviest ones, stretched to this model's layers and this text."""
    import intravisto_core as iv

    demo = iv.open_model("demo")
    text = demo.trace(" ".join(FACTS))
    n_layers, n_tokens, found = demo.model.n_layers, len(text.tokens), largest(text, N_LINKS)
    demo.close()
    chosen: dict[iv.Link, None] = {}
    for link in found:
        at = TOKENS - 1 - round((n_tokens - 1 - link.position) * (TOKENS - 1) / (n_tokens - 1))
        source = None if link.source is None else min(at, round(link.source * TOKENS / n_tokens))
        layer = link.layer * LAYERS // n_layers
        for upper in range(layer, layer + LAYERS // n_layers):
            chosen[iv.Link(link.component, upper, at, source=source)] = None
    here = list(chosen)[:N_LINKS]
    print(f"  demo model: {sum(x.position == n_tokens - 1 for x in found)} of {N_LINKS} at the last position")
    return here


def attributed(trace, n: int):
    """Heads and MLPs of the last token, the largest in direct effect on its logits first."""
    import intravisto_core as iv

    found = trace.check_links(
        [iv.Link("attention", layer, TOKENS - 1, head=h) for layer in range(LAYERS) for h in range(12)]
        + [iv.Link("mlp", layer, TOKENS - 1) for layer in range(LAYERS)],
        11,
        12,
    )
    order = np.argsort(-np.abs(found.predicted))[:n]
    numbers = zip(found.component, found.layer, found.head, strict=True)
    every = [iv.Link(c, int(layer), TOKENS - 1, head=None if h < 0 else int(h)) for c, layer, h in numbers]
    return [every[i] for i in order]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args()
    rows = edits(options.repetitions)
    print(machine())
    table(
        f"edit: {LAYERS} layers, d 768, {TOKENS} tokens held, fp32 (medians of {options.repetitions})",
        ["edit", "reuse s", "full s", "reuse/full", "least work"],
        rows,
    )
    print(f"  goals: middle layer, last position ≤ 0.15; {N_LINKS} links together ≤ 1/3 of as many forward passes")


if __name__ == "__main__":
    main()
