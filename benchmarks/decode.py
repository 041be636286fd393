"""Decoding a grid of 12 layers × 30 tokens: beside a loop over cells and beside the bare matrix products.

d 768, V 50,257, fp32, linear lens. (a) the loop forms the interpolated table (1−a)E + aU for every row, and decodes
five vectors of each cell, twice: what a tool costs that decodes every component of a cell for the text and again for
the colour. It is measured on a few cells and multiplied. (b) the products X Eᵀ and X Uᵀ of the same vectors alone.
"""

from __future__ import annotations

import argparse

from common import VOCABULARY, interleaved, machine, random_ids, random_model, seconds, table

LAYERS, TOKENS = 12, 30
VECTORS_A_CELL, DECODINGS = 5, 2


def loop_over_cells(embed, unembed, x_hat, n_rows: int, n_cells: int) -> float:
    """Seconds of (a) for the whole grid, from 2 tables and 6 cells."""
    import torch

    def form(a: float):
        return (1 - a) * embed + a * unembed

    def decode(mixed) -> None:
        for _ in range(VECTORS_A_CELL * DECODINGS):
            probabilities = (mixed @ x_hat).softmax(-1)
            torch.topk(probabilities, 5)
            -(probabilities * probabilities.clamp(min=1e-30).log()).sum()

    mixed = form(0.3)
    a_row = min(seconds(lambda: form(0.3)) for _ in range(2))
    a_cell = min(seconds(lambda: decode(mixed)) for _ in range(6))
    return n_rows * a_row + n_cells * a_cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    import torch

    import intravisto_core as iv

    with random_model("llama", LAYERS) as folder, torch.no_grad():
        engine = iv.open_model(folder)
        # A decoded tile is kept, so each repetition reads a trace that was not looked at yet.
        traces = [engine.trace(random_ids(TOKENS, seed)) for seed in range(2 * options.repetitions + 2)]
        weights = engine._model.weights
        embed, unembed = weights.get("embed"), weights.get("unembed")
        rows_table = []
        for component, n_rows in (("block", LAYERS + 2), ("mid", LAYERS)):
            fresh = iter(traces)
            next(fresh).heatmap(component=component, lens="linear", norm="final")
            x = torch.randn(n_rows * TOKENS, embed.shape[1])

            def ours(_: int, component=component, fresh=fresh) -> None:
                next(fresh).heatmap(component=component, lens="linear", norm="final", top_k=32)

            def bare(_: int, x=x) -> None:
                x @ embed.T
                x @ unembed.T

            found = interleaved({"ours": ours, "bare": bare}, options.repetitions)
            cells = n_rows * TOKENS
            slow = loop_over_cells(embed, unembed, x[0], n_rows, cells)
            took, products = found["ours"], found["bare"]
            rows_table.append([component, f"{n_rows} × {TOKENS}", took, slow, products, slow / took, took / products])
    print(machine())
    table(
        f"decode: linear lens, V {VOCABULARY:,}, all statistics of a cell (medians; (a) extrapolated)",
        ["component", "cells", "ours s", "(a) loop s", "(b) products s", "(a)/ours", "ours/(b)"],
        rows_table,
    )
    print("  goals: (a)/ours ≥ 60, ours/(b) ≤ 1.25")


if __name__ == "__main__":
    main()
