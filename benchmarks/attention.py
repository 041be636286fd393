"""Attention of 32 × 32 heads at the server: what comes into sight, its time and its bytes, beside bertviz's JSON.

python benchmarks/attention.py           200 and 2,000 tokens, and a row of 8,000 keys

bertviz embeds all patterns as JSON. Of 200 tokens a layer is written and the others are taken to be like it; of 2,000
a head is. Its numbers are computed from there, since 15 GB cannot be built.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from common import VOCABULARY, machine, random_ids, seconds, table, write

LAYERS, HEADS = 32, 32
LONG = 8000


@contextmanager
def small_model(n_layers: int, n_heads: int, context: int) -> Iterator[Any]:
    """An engine on a random Llama with narrow heads: patterns cost what they cost, and the run little."""
    import transformers

    import intravisto_core as iv

    settings = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16 * n_heads,
        intermediate_size=32 * n_heads,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        num_key_value_heads=n_heads,
        head_dim=16,
        max_position_embeddings=context,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    with tempfile.TemporaryDirectory() as place:
        engine = iv.open_model(str(write(settings, Path(place))))
        engine.finish_check()
        yield engine
        engine.close()


def run(engine: Any, length: int) -> Any:
    """A trace of random tokens."""
    trace = engine.trace(random_ids(length, 0))
    trace.pin()
    return trace


def once(make: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the only time, and what came."""
    began = time.perf_counter()
    found = make()
    return time.perf_counter() - began, found


def median(work: Callable[[], object], repetitions: int = 9) -> float:
    """Seconds of the middle one."""
    return statistics.median(seconds(work) for _ in range(repetitions))


def bertviz_json(pattern: np.ndarray, n_heads: int) -> tuple[float, float]:
    """Seconds and bytes of all heads, from the JSON of one or more (n, T, T), written as bertviz writes it."""
    took, text = once(lambda: json.dumps([head.tolist() for head in pattern]))
    return took * n_heads / len(pattern), len(text) * n_heads / len(pattern)


def size(n: float) -> str:
    """Bytes in words."""
    return f"{n / 1e9:,.1f} GB" if n >= 1e9 else f"{n / 1e6:,.1f} MB" if n >= 1e6 else f"{n / 1e3:,.1f} KB"


def measure(engine: Any, length: int) -> list[list[str]]:
    """Rows of the table for one length."""
    from intravisto_core.figures.web.attention_payload import LEAST, query_packet, rows_packet

    trace, n_heads = run(engine, length), LAYERS * HEADS
    rows: list[list[str]] = []

    def add(what: str, took: float, nbytes: float, note: str = "") -> None:
        rows.append([f"{length:,}", what, f"{took:,.3f}", size(nbytes) if nbytes else "", note])

    took, _ = once(trace.sinks)
    add("sinks of all layers", took, 0, "once a trace")
    took, found = once(trace.head_targets)
    add("targets of all heads", took, found.shares.nbytes)
    took, pictures = once(lambda: trace.head_patterns(sinks="hide"))
    add("small pictures of all heads", took, pictures.pictures.nbytes)
    heads = itertools.cycle((layer, head) for layer in (3, 20, 31) for head in range(HEADS))

    def change() -> bytes:
        layer, head = next(heads)
        return rows_packet("rows", trace.sparse_attention(layer, head, LEAST, mark_sinks=True))

    add("another head, sparse", median(change), len(change()))
    queries = itertools.count(length // 2)
    ask = lambda: query_packet(trace.attention(queries=[next(queries)]))  # noqa: E731
    add("a query in all heads", median(ask), len(ask()))
    link = lambda: trace.attention(queries=[next(queries)], keys=[5])  # noqa: E731
    add("a link in all heads", median(link), link().weights.nbytes)
    pattern = trace.attention(3, None if length <= 200 else 5).weights
    add("bertviz's JSON of the same", *bertviz_json(pattern, n_heads), f"computed from {len(pattern)} heads")
    trace.unpin()
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="*", default=[200, 2000])
    options = parser.parse_args()
    print(machine())
    with small_model(LAYERS, HEADS, 4096) as engine:
        rows = [row for length in options.lengths for row in measure(engine, length)]
    with small_model(4, 8, LONG + 1) as engine:
        trace = run(engine, LONG)
        places = itertools.count(1)
        row = lambda: trace.attention(2, 3, [LONG - next(places)])  # noqa: E731
        rows.append([f"{LONG:,}", "a row of one head", f"{median(row):,.4f}", size(row().weights.nbytes), ""])
    table("attention of 32 × 32 heads", ["tokens", "what", "seconds", "bytes", ""], rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak of the process {size(peak)}")


if __name__ == "__main__":
    main()
