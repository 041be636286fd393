"""Memory: the estimate beside the measured peak, what stays after switching models, and a long prompt.

Each peak is the rise of the resident memory of a fresh process, from before the model is opened to the end of one run.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys

from common import interleaved, machine, random_ids, random_model, seconds, table

MB = 1e6
PROMPT, NEW = 100, 10
FAMILIES = ("llama", "gpt2", "gpt_neox", "qwen2")
OPTIONS = ({"dtype": "float32"}, {"dtype": "bfloat16"}, {"dtype": "bfloat16", "quantisation": "nf4"})


def resident() -> int:
    """Bytes of this process that are in memory now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def one_peak(folder: str, options: str) -> None:
    """In a process of its own: prints the estimate, the rise of the peak, and the verdict."""
    import torch

    import intravisto_core as iv
    from intravisto_core.models import quantisation

    spec = iv.ModelSpec(folder, device_map="cpu", **json.loads(options))
    if spec.quantisation:
        quantisation.config(spec.quantisation, torch.bfloat16)
    iv.open_model("demo").close()
    found = iv.estimate_memory(spec, PROMPT, NEW)
    gc.collect()
    before = resident()
    engine = iv.open_model(spec)
    trace = engine.trace(random_ids(PROMPT, 0), max_new_tokens=NEW)
    trace.heatmap()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(json.dumps([found.total, peak, found.text()]))


def fresh(*arguments: str) -> list[object]:
    """What a fresh process of this script prints, as JSON."""
    command = [sys.executable, "-W", "ignore", __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout.strip().splitlines()[-1]))


def peaks(n_layers: int, d_model: int) -> None:
    """Estimate against measured peak, over families and dtypes."""
    rows: list[list[object]] = []
    for kind in FAMILIES:
        with random_model(kind, n_layers, d_model) as folder:
            for options in OPTIONS:
                found, peak, _ = fresh("--one", str(folder), json.dumps(options))
                how = " ".join(options.values())
                # said at once as well: all of them take a while
                said = f"{kind} {how}: {found / MB:.0f} reckoned, {peak / MB:.0f} MB measured"  # type: ignore[operator]
                print(said, flush=True)
                rows.append([kind, how, f"{found / MB:.0f}", f"{peak / MB:.0f}", f"{found / peak - 1:+.0%}"])  # type: ignore[operator]
    table("Estimate and measured peak", ["model", "loaded as", "estimate, MB", "peak, MB", "error"], rows)


def switches(times: int, n_layers: int, d_model: int) -> None:
    """Resident memory after each switch between two models, each closed before the other is opened."""
    import intravisto_core as iv

    iv.open_model("demo").close()
    start = resident()
    with random_model("llama", n_layers, d_model) as first, random_model("gpt2", n_layers, d_model) as second:
        gc.collect()
        pool = iv.Pool()
        rows: list[list[object]] = []
        for i in range(times):
            spec = iv.ModelSpec(str((first, second)[i % 2]), device_map="cpu", dtype="bfloat16")
            trace = pool.lease(spec, session="s").trace(random_ids(PROMPT, i), max_new_tokens=2)
            trace.heatmap()
            held = resident()
            pool.release(spec, session="s")
            pool.drop_idle()
            left = resident()
            rows.append([i + 1, f"{(held - start) / MB:.0f}", f"{(left - start) / MB:.0f}", f"{left / MB:.0f}"])
        pool.close()
    head = ["switch", "with the model, MB more than at the start", "after letting go, MB more", "after, in all, MB"]
    table("Switching between two models", head, rows)


def long_prompt(n_layers: int, d_model: int, length: int) -> None:
    """A prompt of many tokens on a deep model: peak, prefill beside eager generate, every kind of view."""
    import torch
    from transformers import AutoModelForCausalLM

    import intravisto_core as iv

    ids = random_ids(length, 0)
    with random_model("llama", n_layers, d_model, context=length + 8) as folder, torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
        engine = iv.open_model(folder, device_map="cpu")
        tokens = torch.tensor([ids])

        def plain(_: int) -> None:
            model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=1, do_sample=False)

        kept = []
        times = interleaved({"generate, eager": plain, "trace": lambda _: kept.append(engine.trace(ids))}, 1)
        found, trace = engine.estimate(length), kept[-1]
        views = {
            "heatmap, 14 rows × 25 positions": lambda: trace.heatmap(rows=list(range(14)), positions=iv.Span(0, 25)),
            "heatmap, every row × last 50": lambda: trace.heatmap(positions=iv.Span(length - 50, length)),
            "shares, norm": lambda: trace.shares("norm"),
            "one head's pattern": lambda: trace.pattern(n_layers // 2, 1),
            "q of a layer": lambda: trace.activation("q", 3),
        }
        rows = [[name, f"{1000 * t:.0f}"] for name, t in times.items()]
        rows += [[name, f"{1000 * seconds(view):.0f}"] for name, view in views.items()]
        table(f"{length} tokens × {n_layers} layers, width {d_model}", ["work", "ms"], rows)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(
            f"a trace: {found.trace / MB:.0f} MB; estimate beside the model: {found.text()}; peak: {peak / MB:.0f} MB"
        )
        engine.close()


def main() -> None:
    """Run the parts that are asked for, by default all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=("peaks", "switches", "long"))
    parser.add_argument("--layers", type=int, default=32, help="of the long prompt's model (default 32)")
    parser.add_argument("--tokens", type=int, default=2000, help="of the long prompt (default 2000)")
    options = parser.parse_args()
    if options.one:
        one_peak(*options.one)
        return
    print(machine())
    if options.only in (None, "peaks"):
        peaks(8, 768)
    if options.only in (None, "switches"):
        switches(10, 14, 1024)
    if options.only in (None, "long"):
        long_prompt(options.layers, 256, options.tokens)


if __name__ == "__main__":
    main()
