"""The map of heads of the real model: beside its bare products, beside transformer-lens, and asked for again.

The products are those that any way must make: the pulled direction through the W_O of each layer, times the heads'
values. transformer-lens has the same weights, its final norm folded; it stacks what each head writes and reads that
(the heads alone, no MLPs). Each way starts from a run whose activations are kept.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

from common import interleaved, machine, table

from tests.real.fetch import fetch_model

PROMPT = "When Mary and John went to the store, John gave a drink to"
AT = 13
ASKED = {"target": " Mary", "contrast": " John", "position": AT, "by": "heads"}


def make_products(model: Any, trace: Any) -> Callable[[int], object]:
    """The bare products of a map, on the captured values."""
    import torch

    layers = range(model.dimensions.n_layers)
    weights = [model.weights.get(f"w_o.{layer}").float() for layer in layers]
    values = [torch.from_numpy(trace.activation("z", layer)[:, AT].copy()).flatten() for layer in layers]
    g = torch.randn(model.dimensions.d_model)
    shape = (model.dimensions.n_heads, -1)
    return lambda _: [(z * (g @ w)).view(shape).sum(-1) for w, z in zip(weights, values, strict=True)]


def make_peer(model: Any, ids: list[int], pair: tuple[int, int]) -> Callable[[int], object]:
    """The same by transformer-lens, from its cache."""
    import torch
    from transformer_lens import ActivationCache

    from tests.reference import hooked

    lens = hooked.build(model.network, fold_ln=True)
    kept = dict(lens.run_with_cache(torch.tensor([ids]))[1].cache_dict)

    def read(_: int) -> object:
        cache = ActivationCache(dict(kept), lens)  # it keeps what its heads write, once that is made
        heads = cache.stack_head_results(pos_slice=AT)
        return cache.logit_attrs(heads, tokens=pair[0], incorrect_tokens=pair[1], pos_slice=AT)

    return read


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args()
    import torch

    import intravisto_core as iv

    engine = iv.open_model(str(fetch_model()))
    engine.finish_check()
    trace = engine.trace(PROMPT)
    trace.pin()
    pair = [engine.tokenize(text, add_special_tokens=False)[0].id for text in (" Mary", " John")]

    number = itertools.count(1)

    def cold(_: int) -> object:
        # n is of neurons, of which there are none: another question with the same answer, so it is not kept
        return trace.attribution(**ASKED, n=next(number))

    model = engine.kept_traces.model
    ways: dict[str, Callable[[int], object]] = {
        "bare products": make_products(model, trace),
        "heads map": cold,
        "asked for again": lambda _: trace.attribution(**ASKED),
        "transformer-lens": make_peer(model, [t.id for t in trace.tokens], (pair[0], pair[1])),
    }
    with torch.no_grad():
        for way in ways.values():
            way(0)
        taken = interleaved(ways, options.repetitions)
    rows = [(name, f"{1000 * t:.2f} ms", t / taken["bare products"]) for name, t in taken.items()]
    size = model.dimensions
    print(machine())
    table(f"{size.n_layers} layers × {size.n_heads} heads and MLPs", ("way", "time", "of the products"), rows)


if __name__ == "__main__":
    main()
