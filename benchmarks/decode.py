"""Decoding a grid of 12 layers × 30 tokens: beside a loop over cells and beside the bare matrix products.

d 768, V 50,257, fp32, linear lens. (a) the loop forms the interpolated table (1−a)E + aU for every row, and decodes
five vectors of each cell, twice: what a tool costs that decodes every component of a cell for the text and again for
the colour. It is measured on a few cells and multiplied. (b) the products X Eᵀ and X Uᵀ of the same vectors alone.
"""

from __future__ import annotations

import argparse

from common import VOCABULARY, interleaved, machine, random_ids, random_model, table

LAYERS, TOKENS = 12, 30
VECTORS_A_CELL, DECODINGS = 5, 2


def loop_parts(embed, unembed, x_hat):
    """The two parts of (a): forming a row's table, and decoding a cell."""
    import torch

    mixed = 0.7 * embed + 0.3 * unembed

    def form(_: int) -> None:
        0.7 * embed + 0.3 * unembed

    def decode(_: int) -> None:
        for _ in range(VECTORS_A_CELL * DECODINGS):
            probabilities = (mixed @ x_hat).softmax(-1)
            torch.topk(probabilities, 5)
            -(probabilities * probabilities.clamp(min=1e-30).log()).sum()

    return form, decode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7)
    options = parser.parse_args()
    import torch

    import intravisto_core as iv

    with random_model("llama", LAYERS) as folder, torch.no_grad():
        engine = iv.open_model(folder)
        engine.finish_check()
        # A decoded tile is kept, so each repetition reads a trace that was not looked at yet.
        traces = [engine.trace(random_ids(TOKENS, seed)) for seed in range(2 * options.repetitions + 2)]
        weights = engine.kept_traces.model.weights
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

            form, decode = loop_parts(embed, unembed, x[0])
            works = {"ours": ours, "bare": bare, "row": form, "cell": decode}
            took, products, a_row, a_cell = interleaved(works, options.repetitions).values()
            slow = n_rows * a_row + n_rows * TOKENS * a_cell
            size = f"{n_rows} × {TOKENS}"
            rows_table.append([component, size, took, slow, products, slow / took, took / products])
    print(machine())
    table(
        f"decode: linear lens, V {VOCABULARY:,}, all statistics of a cell (medians; (a) extrapolated)",
        ["component", "cells", "ours s", "(a) loop s", "(b) products s", "(a)/ours", "ours/(b)"],
        rows_table,
    )
    print("  goals: (a)/ours ≥ 60, ours/(b) ≤ 1.25")


if __name__ == "__main__":
    main()
