"""One layer's record beside the bare products that it needs, and beside VISIT's way: lens calls, one node at a time.

The products are those that any way must make: z and the sources through W_O, the activations and both pulled directions
through W_out, and one product of all rows with the vocabulary. VISIT reads vectors one at a time: norm, unembedding,
softmax, rank, top tokens or entropy. So are read here: as many vectors as our record holds; those that are VISIT's
nodes of this layer, once each; and these as often as its code reads each. The first record of a model also measures the
columns of W_out and the tokens' directions, which are kept; it is not in the table. Sizes: SmolLM2-135M's, and a layer
of a 7B model.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import chromium, interleaved, machine, table, write

SIZES = {
    "d 576": {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3},
    "d 4096": {"hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32, "num_key_value_heads": 8},
}
VOCABULARY = {"d 576": 49_152, "d 4096": 32_000}
LENGTH, AT, LAYER = 64, 63, 0
# drawn and laid out
DRAW = """n => {
  const root = document.querySelector('.iv-layer');
  return Array.from({ length: n }, () => {
    const begun = performance.now();
    root.intravisto.draw();
    root.getBoundingClientRect();
    return performance.now() - begun;
  });
}"""


def make_products(model: Any, data: Any, n_rows: int) -> Callable[[int], object]:
    """The bare products of one record, on the captured values."""
    import torch

    from intravisto_core.sites import Site

    weights = model.weights
    w_o, w_out = (weights.get(f"{name}.{LAYER}").float() for name in ("w_o", "w_out"))
    z, v = data.site(Site.Z, LAYER)[:, AT].float(), data.site(Site.V, LAYER).float()
    heads = z.shape[0]
    act, g = data.site(Site.ACT, LAYER)[AT].float(), torch.randn(2, model.dimensions.d_model)
    rows, table = torch.randn(n_rows, model.dimensions.d_model), weights.get("unembed").float()
    split = w_o.unflatten(1, (heads, -1)).permute(1, 2, 0)
    values = v.repeat_interleave(heads // v.shape[0], 0)
    return lambda _: (torch.bmm(z[:, None], split), torch.bmm(values, split), w_out @ act, g @ w_out, rows @ table.T)


def make_lens_calls(model: Any, rows: Any, target: int) -> Callable[[int], object]:
    """A lens call for each vector: probabilities, top and bottom tokens, rank of the target, entropy."""

    def read(_: int) -> object:
        found = []
        for row in rows:
            p = model.logits(row[None])[0].softmax(-1)
            entropy = -(p * p.clamp(min=1e-30).log2()).sum()
            found.append((p.topk(5), p.topk(5, largest=False), int((p > p[target]).sum()) + 1, float(entropy)))
        return found

    return read


def list_visit_nodes(model: Any, data: Any) -> tuple[Any, Any]:
    """The vectors that VISIT's nodes of this layer are read from, as its own settings choose them; and each as often as
    its code reads it: for a node's label, for its hover text, for the colour of a link.
    """
    import torch

    from intravisto_core.sites import Site

    w_q, w_k, w_o, gate, w_out = (
        model.weights.get(f"{n}.{LAYER}").float() for n in ("w_q", "w_k", "w_o", "up", "w_out")
    )
    q, k, v, z = (data.site(site, LAYER).float() for site in (Site.Q, Site.K, Site.V, Site.Z))
    act, heads, group = data.site(Site.ACT, LAYER)[AT].float(), len(q), len(q) // len(k)
    streams = (Site.RESID_PRE, Site.ATTN_OUT, Site.RESID_MID, Site.MLP_OUT, Site.RESID_POST)
    states = [data.site(site, LAYER)[AT].float() for site in streams]
    found = [(states[0], 2), (states[1], 3), (states[2], 2), (states[3], 3), (states[4], 2)]
    found += [(model.norm(states[0][None])[0], 2), (model.norm(states[2][None])[0], 2)]
    reads = [w.unflatten(0, (-1, q.shape[2])) for w in (w_q, w_k)]
    writes = w_o.unflatten(1, (heads, -1))
    largest = z[:, AT].norm(dim=-1).topk(min(10, heads)).indices.tolist()
    found += [(q[:, AT].flatten() @ w_q, 5), (w_o @ z[:, AT].flatten(), 2)]
    for h in largest:
        # keys and values of two positions each; q, k and v of the head stand in one text
        found += [(q[h, AT] @ reads[1][h // group], 5), (writes[:, h] @ z[h, AT], 3)]
        found += [
            pair
            for j in (0, AT)
            for pair in ((k[h // group, j] @ reads[0][h], 2), (writes[:, h] @ v[h // group, j], 3))
        ]
    rows = (z[:, AT].flatten() * w_o.norm(dim=0)).sort().indices
    found += [(w_o[:, i], 3) for i in (*rows[-18:].tolist(), *rows[:7].tolist())]
    neurons = (act * w_out.norm(dim=0)).sort().indices
    for n in (*neurons[-18:].tolist(), *neurons[:7].tolist()):
        found += [(gate[n], 3), (w_out[:, n], 3)]
    return torch.stack([x for x, _ in found]), torch.stack([x for x, often in found for _ in range(often)])


def measure_drawing(record: Any, folder: Path) -> float:
    """Milliseconds of one drawing in Chromium, the middle of nine."""
    with chromium() as page:
        page.goto(record.save(folder / "layer.html").as_uri())
        page.wait_for_selector(".iv-layer-frame svg")
        return statistics.median(page.evaluate(DRAW, 9))


def measure(name: str, repetitions: int, folder: Path) -> None:
    """One table."""
    import torch
    import transformers

    import intravisto_core as iv
    from intravisto_core.figures.web.layer_payload import layer_data
    from intravisto_core.request import LayerView

    none = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    settings = transformers.LlamaConfig(
        vocab_size=VOCABULARY[name],
        num_hidden_layers=1,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        **SIZES[name],
        **none,
    )
    engine = iv.open_model(str(write(settings, folder)), dtype="float32")
    engine.finish_check()
    trace = engine.trace(tuple(range(10, 10 + LENGTH)))
    trace.pin()
    number = itertools.count(1)

    def cold(_: int) -> object:
        # how many sources are told in words changes nothing that is computed, but it is another question
        return trace.view(LayerView(trace.id, LAYER, AT, 20, 41, sources=next(number)))

    record: Any = cold(0)
    n_rows = len(record.part_kind) + 2 + 2 * len(record.state_name) - 1 + int((record.part_kind == "neuron").sum())
    model, traces = engine.kept_traces.model, engine.kept_traces
    data = traces.kept_data(traces.entry(trace.id, trace.session))
    ways: dict[str, Callable[[int], object]] = {
        "bare products": make_products(model, data, n_rows),
        "record": cold,
    }
    own, nodes = torch.randn(n_rows, model.dimensions.d_model), list_visit_nodes(model, data)
    slow = {
        f"a lens call for each of our {n_rows} vectors": make_lens_calls(model, own, 20),
        f"a lens call for each of VISIT's {len(nodes[0])} nodes": make_lens_calls(model, nodes[0], 20),
        f"VISIT's {len(nodes[1])} lens calls for them": make_lens_calls(model, nodes[1], 20),
    }
    with torch.no_grad():
        for way in ways.values():
            way(0)
        taken = interleaved(ways, repetitions) | interleaved(slow, 1)
    whole, products = taken["record"], taken["bare products"]
    shown = [(way, f"{1000 * t:,.1f} ms", t / products, t / whole) for way, t in taken.items()]
    size = model.dimensions
    payload = len(json.dumps(layer_data(record), ensure_ascii=False).encode())
    heading = f"{name}, {size.n_heads} heads, {size.d_mlp:,} neurons, V {size.d_vocab:,}: page {payload / 1000:.1f} KB"
    heading += f", drawn in {measure_drawing(record, folder):.0f} ms"
    table(heading, ("way", "time", "of the products", "of the record"), shown)
    engine.close()


def main() -> None:
    """Measure and print."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--sizes", nargs="*", choices=list(SIZES), default=list(SIZES))
    options = parser.parse_args()
    print(machine())
    for name in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, options.repetitions, Path(folder))


if __name__ == "__main__":
    main()
