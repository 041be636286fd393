"""The library beside plain hooks and beside nnsight: a trace, saved activations, an edit, 20 tokens; many prompts.

nnsight runs in a process of its own: it changes what importing and saving do. Its rows are left out where it is not
installed. Every row is the median of some runs, and a ratio to plain hooks on the same weights in the same process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common

PROMPT = tuple(range(100, 112))
N_NEW = 20
ROWS = ("empty trace", "one saved activation", "twelve saved activations", "one intervention", "20 generated tokens")


def median(work: Callable[[], object], repeats: int) -> float:
    """Seconds that a call takes, the middle of some after one that does not count."""
    work()
    return statistics.median(common.seconds(work) for _ in range(repeats))


def run_plain(folder: Path, repeats: int) -> dict[str, float]:
    """Plain transformers with hooks of its own, and a loop of `generate`'s kind over the cache."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    layers, ids = model.model.layers, torch.tensor([PROMPT])

    @torch.no_grad()
    def hooked(n: int, edit: bool = False) -> None:
        kept: list[Any] = []

        def keep(module: Any, given: Any, out: Any) -> None:
            kept.append(out.clone())

        handles = [layers[i % len(layers)].mlp.register_forward_hook(keep) for i in range(n)]
        if edit:
            handles.append(layers[2].mlp.register_forward_hook(lambda m, a, o: o * 2))
        model(ids)
        for handle in handles:
            handle.remove()

    @torch.no_grad()
    def generate() -> None:
        out = model(ids, use_cache=True)
        for _ in range(N_NEW):
            token = out.logits[:, -1:].argmax(-1)
            out = model(token, past_key_values=out.past_key_values, use_cache=True)

    calls = (lambda: hooked(0), lambda: hooked(1), lambda: hooked(12), lambda: hooked(0, True), generate)
    return {row: median(call, repeats) for row, call in zip(ROWS, calls, strict=True)}


def run_ours(folder: Path, repeats: int) -> dict[str, float]:
    """The same by engine.trace; only what is asked for is kept."""
    import intravisto_core as iv

    engine = iv.open_model(str(folder))
    engine.finish_check()
    n_layers = engine.model.n_layers
    twelve = tuple(f"model.layers.{i % n_layers}.mlp" for i in range(12))
    nothing: tuple[str, ...] = ()
    edit = iv.Apply("mlp_out", 2, "all", lambda x: 2 * x)
    scale = iv.Scale("mlp_out", 2, "all", factor=2.0)
    base, whole = engine.trace(PROMPT, sites=nothing), engine.trace(PROMPT)
    base.pin()
    whole.pin()
    calls = {
        ROWS[0]: lambda: engine.trace(PROMPT, sites=nothing),
        ROWS[1]: lambda: engine.trace(PROMPT, sites=nothing, modules=twelve[:1]),
        ROWS[2]: lambda: engine.trace(PROMPT, sites=nothing, modules=twelve),
        ROWS[3]: lambda: base.edit(edit),
        f"{ROWS[3]}, ready-made": lambda: base.edit(scale),
        f"{ROWS[3]}, every site kept": lambda: whole.edit(edit),
        ROWS[4]: lambda: engine.trace(PROMPT, max_new_tokens=N_NEW, sites=nothing),
    }
    return {row: median(call, repeats) for row, call in calls.items()}


def run_nnsight(folder: Path, repeats: int) -> dict[str, float]:
    """The same by nnsight's own interface."""
    import torch
    from nnsight import LanguageModel

    model: Any = LanguageModel(str(folder), device_map="cpu", dispatch=True, attn_implementation="eager")
    layers, ids = model.model.layers, torch.tensor([PROMPT])

    def empty() -> None:
        with torch.no_grad(), model.trace(ids):
            pass

    def one() -> None:
        with torch.no_grad(), model.trace(ids):
            kept = layers[0].mlp.output.save()  # noqa: F841

    def twelve() -> None:
        with torch.no_grad(), model.trace(ids):
            kept = [layers[i].mlp.output.save() for i in range(min(12, len(layers)))]  # noqa: F841

    def edit() -> None:
        with torch.no_grad(), model.trace(ids):
            layers[2].mlp.output = layers[2].mlp.output * 2

    def generate() -> None:
        with torch.no_grad(), model.generate(ids, max_new_tokens=N_NEW, do_sample=False):
            pass

    found = {}
    for row, call in zip(ROWS, (empty, one, twelve, edit, generate), strict=True):
        try:
            found[row] = median(call, repeats)
        except Exception as error:  # another version spells it otherwise
            print(f"nnsight, {row}: {type(error).__name__}: {error}", file=sys.stderr)
    return found


def run_many(folder: Path, repeats: int) -> dict[str, float]:
    """64 prompts of 8 to 20 tokens with 8 new ones each: `traces` beside a loop."""
    import intravisto_core as iv

    engine = iv.open_model(str(folder))
    engine.finish_check()
    prompts = [tuple(range(100 + i, 108 + i + i % 13)) for i in range(64)]

    def loop() -> None:
        for prompt in prompts:
            engine.trace(prompt, max_new_tokens=8)

    def together() -> None:
        engine.traces(prompts, max_new_tokens=8, progress=False)

    return {"64 prompts, loop": median(loop, repeats), "64 prompts, traces": median(together, repeats)}


SIDES: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "plain": run_plain,
    "ours": run_ours,
    "nnsight": run_nnsight,
    "many": run_many,
}


def measure(side: str, folder: Path, repeats: int) -> dict[str, float]:
    """One side in a process of its own."""
    arguments = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--repeats", str(repeats)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    sys.stderr.write("".join(line + "\n" for line in done.stderr.splitlines() if line.startswith("nnsight, ")))
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--part", choices=("traces", "many", "both"), default="both")
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--folder", type=Path, help="a checkpoint to measure instead of a random model")
    given = parser.parse_args()
    if given.side:
        print(json.dumps(SIDES[given.side](given.folder, given.repeats)))
        return
    if given.folder:
        show(given.folder, given.repeats, given.part)
        return
    with common.random_model("llama", given.layers, given.width) as folder:
        show(folder, given.repeats, given.part)


def show(folder: Path, repeats: int, part: str) -> None:
    """What was asked for."""
    if part != "many":
        print_table(folder, repeats)
    if part != "traces":
        print_many(folder, repeats)


def print_table(folder: Path, repeats: int) -> None:
    """Milliseconds of each side, and ratios to plain hooks."""
    plain, ours, theirs = (measure(side, folder, repeats) for side in ("plain", "ours", "nnsight"))
    print(f"{'':36s}{'plain':>10s}{'ours':>10s}{'nnsight':>10s}{'ours/plain':>12s}{'ours/nnsight':>14s}")
    for row in ours:
        base, peer = (
            plain.get(row, plain[ROWS[3]]),
            theirs.get(row, theirs.get(ROWS[3]) if row.startswith(ROWS[3]) else None),
        )
        shown = f"{1e3 * peer:8.1f}ms{ours[row] / base:11.2f}×{ours[row] / peer:13.2f}×" if peer else f"{'–':>10s}"
        print(f"{row:36s}{1e3 * base:8.1f}ms{1e3 * ours[row]:8.1f}ms{shown}")


def print_many(folder: Path, repeats: int) -> None:
    """64 prompts at once beside one after the other."""
    many = measure("many", folder, max(1, repeats // 4))
    if many:
        loop, together = many["64 prompts, loop"], many["64 prompts, traces"]
        print(
            f"64 prompts of 8 to 20 tokens, 8 new: loop {loop:.2f} s, traces {together:.2f} s: {loop / together:.1f}×"
        )


if __name__ == "__main__":
    main()
