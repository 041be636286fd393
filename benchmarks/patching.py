"""Patching grids of 30 tokens (12 layers, d 768) beside a loop of full runs, and beside transformer-lens.

The loop is what people write: one pass of plain transformers a cell with a hook that puts a value in, nothing captured.
transformer-lens' helpers run on the same weights. Both are given every fifth cell and counted five times. The prompts
differ from an early token on, where least is equal in both and left out, or from a middle one; with --real, of a real
model's file, where such prompts do. Processor time; all of a row take turns. Last the largest difference of effects.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import machine, random_ids, random_model, table

TOKENS, LAYERS = 30, 12
# tokens that the prompts differ in
DIFFERING = (3, 12)
# one in so many cells is run by the others
SAMPLED = 5
PROMPTS = (
    "When Mary and John went to the store, John gave a drink to",
    "When Mary and John went to the store, Mary gave a drink to",
)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.process_time()
    found = work()
    return time.process_time() - begin, found


def sample(grid: Any) -> list[tuple[int, int]]:
    """Cells (row, column) that the others run."""
    return list(np.ndindex(*grid.effect.shape))[::SAMPLED]


def loop(engine: Any, grid: Any, ids: tuple[int, ...], by_head: bool) -> np.ndarray:
    """One full pass a cell, the last logits alone; effects as the grid's."""
    import torch

    from intravisto_core.inspection.hooks import on_input

    model = engine.kept_traces.model
    donor = engine.trace(tuple(token.id for token in grid.clean_tokens), sites=["resid_pre", "z"])
    data = engine.kept_traces.kept_data(engine.kept_traces.entry(donor.id, donor.session))
    out, tokens = np.full(grid.effect.shape, np.nan), torch.tensor([ids])
    with torch.no_grad():
        for row, column in sample(grid):
            layer, block = int(grid.layers[row]), model.blueprint.blocks[int(grid.layers[row])]

            def put(x: torch.Tensor, layer: int = layer, column: int = column) -> torch.Tensor:
                x = x.clone()
                if by_head:
                    z = data.buffers[iv_site("z")][layer, column]
                    at, width = list(grid.positions), z.shape[-1]
                    x[0, at, column * width : (column + 1) * width] = z[at]
                else:
                    x[0, column] = data.buffers[iv_site("resid_pre")][layer, column]
                return x

            handle = on_input(block.w_o if by_head else block.layer, put)
            z = model.network(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[0, -1]
            handle.remove()
            out[row, column] = float(z[grid.targets[0]] - z[grid.contrasts[0]]) - grid.corrupt
    return out


def iv_site(name: str) -> Any:
    import intravisto_core as iv

    return iv.Site(name)


def lens_grid(lens: Any, grid: Any, by_head: bool) -> np.ndarray:
    """transformer-lens' own helper."""
    import pandas as pd
    import torch
    from transformer_lens import patching

    clean, corrupt = (torch.tensor([[t.id for t in tokens]]) for tokens in (grid.clean_tokens, grid.corrupt_tokens))
    helper = patching.get_act_patch_attn_head_out_all_pos if by_head else patching.get_act_patch_resid_pre
    with torch.no_grad():
        _, cache = lens.run_with_cache(clean)
        metric = lambda z: z[0, -1, grid.targets[0]] - z[0, -1, grid.contrasts[0]]  # noqa: E731
        rows, columns = np.array(sample(grid)).T
        index = pd.DataFrame({"layer": rows, "head" if by_head else "pos": columns})
        found = helper(lens, corrupt, cache, metric, index_df=index, index_axis_names=None)
    out = np.full(grid.effect.shape, np.nan)
    out[rows, columns] = found.numpy() - grid.corrupt
    return out


def measure(engine: Any, lens: Any, clean: Any, corrupt: Any, repetitions: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for what in ("resid_pre", "z"):
        by_head, times = what == "z", {"grid": [], "loop": [], "transformer-lens": []}
        ask = lambda what=what: engine.patching(clean, corrupt, what=what, estimate=False)  # noqa: E731
        ask()
        for _ in range(repetitions):
            taken, grid = timed(ask)
            times["grid"].append(taken)
            ids = tuple(token.id for token in grid.corrupt_tokens)
            taken, plain = timed(lambda: loop(engine, grid, ids, by_head))  # noqa: B023
            times["loop"].append(SAMPLED * taken)
            if lens is not None:
                taken, other = timed(lambda: lens_grid(lens, grid, by_head))  # noqa: B023
                times["transformer-lens"].append(SAMPLED * taken)
        best = {name: float(np.median(found)) if found else float("nan") for name, found in times.items()}
        error = float(np.nanmax(np.abs(grid.effect - plain)))
        apart = float(np.nanmax(np.abs(plain - other))) if lens is not None else float("nan")
        print(f"  {what}: {grid.effect.size} cells, {int(grid.skipped.sum())} not run; loop and lens {apart:.1e} apart")
        rows.append(
            [
                f"{what}, {grid.effect.shape[0]} × {grid.effect.shape[1]}",
                *best.values(),
                best["loop"] / best["grid"],
                best["transformer-lens"] / best["grid"],
                error,
            ]
        )
    return rows


def as_lens(engine: Any) -> Any:
    """The same weights in transformer-lens, of a model of Llama's kind."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_llama_weights

    network = engine.kept_traces.model.network
    own = network.config
    d_head = own.hidden_size // own.num_attention_heads
    config = HookedTransformerConfig(
        n_layers=own.num_hidden_layers,
        n_heads=own.num_attention_heads,
        n_key_value_heads=own.num_key_value_heads,
        d_model=own.hidden_size,
        d_head=d_head,
        d_mlp=own.intermediate_size,
        d_vocab=own.vocab_size,
        n_ctx=own.max_position_embeddings,
        act_fn="silu",
        gated_mlp=True,
        normalization_type="RMS",
        final_rms=True,
        eps=own.rms_norm_eps,
        positional_embedding_type="rotary",
        rotary_dim=d_head,
        rotary_base=own.rope_parameters["rope_theta"],
        rotary_adjacent_pairs=False,
        init_weights=False,
        device="cpu",
    )
    lens = HookedTransformer(config)
    plain = {"fold_ln": False, "center_writing_weights": False, "center_unembed": False, "fold_value_biases": False}
    lens.load_and_process_state_dict(convert_llama_weights(network, config), **plain)
    return lens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--real", help="a real model's file or folder: its grids of a short prompt instead")
    options = parser.parse_args()
    import intravisto_core as iv

    head = ["cells", "grid (s)", "loop (s)", "lens (s)", "loop / grid", "lens / grid", "error"]
    if options.real:
        engine = iv.open_model(options.real)
        engine.finish_check()
        table(f"{engine.model.name}, {machine()}", head, measure(engine, None, *PROMPTS, options.repetitions))
        engine.close()
        return
    with random_model("llama", LAYERS) as folder:
        engine = iv.open_model(folder, dtype="float32")
        engine.finish_check()
        clean = random_ids(TOKENS, 0)
        lens = as_lens(engine)
        for first in DIFFERING:
            corrupt = (*clean[:first], clean[first] + 7, *clean[first + 1 :])
            rows = measure(engine, lens, clean, corrupt, options.repetitions)
            table(f"12 layers, d 768, {TOKENS} tokens that differ from {first} on; {machine()}", head, rows)
        engine.close()


if __name__ == "__main__":
    main()
