"""Memory: the estimate beside the measured peak, what stays after switching models, and a long prompt.

Each peak is the rise of the resident memory of a fresh process, from before the model is opened to the end of one run.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common import interleaved, machine, random_ids, random_model, seconds, table

MB = 1e6
PROMPT, NEW = 40, 2
FAMILIES = ("llama", "gpt2", "gpt_neox", "qwen2", "mixtral")
OPTIONS: tuple[dict[str, Any], ...] = (
    {"dtype": "float32"},
    {"dtype": "bfloat16"},
    {"dtype": "float16"},
    {"dtype": "bfloat16", "quantisation": "nf4"},
    {"dtype": "bfloat16", "quantisation": "int8"},
)


def status(name: str) -> int:
    """Bytes that Linux tells of this process: VmRSS is what is in memory, VmHWM the most that ever was."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def work(engine: Any) -> None:
    """One run and one picture."""
    engine.trace(random_ids(PROMPT, 0), max_new_tokens=NEW).heatmap()


def one_peak(folder: str, options: dict[str, Any]) -> list[Any]:
    """In a process of its own: the estimate, the rise of the peak, and the estimate in words."""
    import intravisto_core as iv

    # the programs' own pages come before what is measured
    demo = iv.open_model("demo")
    demo.trace("ab").heatmap()
    demo.close()
    spec = iv.ModelSpec(folder, device_map="cpu", **options)
    found = iv.estimate_memory(spec, PROMPT, NEW)
    gc.collect()
    before = status("VmRSS")
    engine = iv.open_model(spec)
    work(engine)
    return [found.total, status("VmHWM") - before, found.text()]


def each_alone(jobs: list[list[Any]]) -> None:
    """Prints, as a line of JSON each, the peak of every job, in a process that has the libraries and nothing else.

    Linux alone: processes are forked, as importing takes longer than what is measured.
    """
    import bitsandbytes  # noqa: F401
    from transformers import AutoConfig

    from intravisto_core.models.placement import empty

    for folder in {folder for folder, _ in jobs}:
        empty(AutoConfig.from_pretrained(folder))
    for folder, options in jobs:
        child = os.fork()
        if not child:
            failed = 1
            try:
                print(json.dumps(one_peak(folder, options)), flush=True)
                failed = 0
            finally:
                os._exit(failed)
        if os.waitpid(child, 0)[1]:
            raise SystemExit(f"{folder} {options}: could not be measured")


def measured(jobs: list[tuple[Path, dict[str, Any]]]) -> Iterator[tuple[int, int, str]]:
    """The estimate, the measured rise of the peak and the estimate in words of each folder and options."""
    command = [sys.executable, "-W", "ignore", __file__, "--each-alone", json.dumps([[str(f), o] for f, o in jobs])]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=one_thread)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    if len(found) != len(jobs):
        raise RuntimeError(f"expected {len(jobs)} measurements, got {len(found)}: {done.stderr[-2000:]}")
    yield from map(tuple, found)


def peaks(n_layers: int, d_model: int, dtype: str) -> None:
    """Estimate against measured peak, over families and dtypes. dtype: of the files, as safetensors writes it."""
    rows: list[list[object]] = []
    for kind in FAMILIES:
        with random_model(
            kind, max(2, n_layers // 4) if kind == "mixtral" else n_layers, d_model, 512, dtype
        ) as folder:
            stored = (folder / "model.safetensors").stat().st_size
            found = measured([(folder, options) for options in OPTIONS])
            for options, (expected, peak, _) in zip(OPTIONS, found, strict=True):
                how, error = " ".join(options.values()), f"{expected / peak - 1:+.0%}"
                rows.append([kind, f"{stored / MB:.0f}", how, f"{expected / MB:.0f}", f"{peak / MB:.0f}", error])
    title = f"Estimate and measured peak, {n_layers} layers, width {d_model}, files in {dtype}"
    table(title, ["model", "files, MB", "loaded as", "estimate, MB", "peak, MB", "error"], rows)


def switches(times: int, d_model: int) -> None:
    """Resident memory after each switch between two models, each closed before the other is opened."""
    import intravisto_core as iv

    # copied from files in another dtype, as mapped ones could not leak
    with (
        random_model("llama", 2, d_model, dtype="BF16") as first,
        random_model("gpt2", 6, d_model, dtype="BF16") as second,
    ):
        sizes = " and ".join(
            f"{iv.estimate_memory(iv.ModelSpec(str(f), dtype='float32')).weights / MB:.0f}" for f in (first, second)
        )
        rows: list[list[object]] = []
        for held, left in switching(iv.Pool(), (first, second), times, dtype="float32"):
            base = left if not rows else base
            rows.append([len(rows) + 1, f"{held / MB:.0f}", f"{left / MB:.0f}", f"{left / base - 1:+.1%}"])
            print(*rows[-1], flush=True)
    head = ["switch", "with the model, MB", "after letting go, MB", "beside the first"]
    table(f"Switching between two models of {sizes} MB of weights", head, rows)


def switching(pool: Any, folders: tuple[Path, Path], times: int, **options: Any) -> Iterator[tuple[int, int]]:
    """Resident bytes with each model, and after it was let go of."""
    import intravisto_core as iv

    for i in range(times):
        spec = iv.ModelSpec(str(folders[i % 2]), device_map="cpu", **options)
        work(pool.lease(spec, session="s"))
        held = status("VmRSS")
        pool.release(spec, session="s")
        pool.drop_idle()
        yield held, status("VmRSS")
    pool.close()


def views(trace: Any, n_layers: int, length: int) -> dict[str, Callable[[], object]]:
    """One view of every kind, of what its page asks for."""
    import intravisto_core as iv

    middle, first, last = n_layers // 2, iv.Span(0, 25), iv.Span(length - 50, length)
    return {
        "heatmap, 14 rows × 25 positions": lambda: trace.heatmap(rows=list(range(min(14, n_layers))), positions=first),
        "heatmap, every row × last 50": lambda: trace.heatmap(positions=last),
        "heatmap, mlp × last 50": lambda: trace.heatmap("mlp", positions=last),
        "heatmap, every second row × every 40th": lambda: trace.heatmap(
            rows=list(range(0, n_layers, 2)), positions=list(range(0, length, 40))
        ),
        "shares, norm": lambda: trace.shares("norm"),
        "shares, projection": lambda: trace.shares("projection"),
        "shares of a cell": lambda: trace.cell_shares(middle, -1),
        "one head's pattern": lambda: trace.pattern(middle, 1),
        "attention sinks": lambda: trace.sinks(),
        "q of a layer": lambda: trace.activation("q", 3),
        "what a cell's MLP wrote": lambda: trace.written("mlp", middle, length - 1),
        "next tokens": lambda: trace.next_tokens(),
        "find a token, last 50": lambda: trace.query(7, positions=last),
        "logits": lambda: trace.logits(),
        "flow, last position": lambda: trace.flow(),
        "flow, middle position, two rows": lambda: trace.flow(row=middle, position=length // 2, rows=[0, middle]),
        "disagreement": lambda: trace.disagreement(),
        "head shares of a cell": lambda: trace.head_shares(middle, length - 1),
        "graph": lambda: trace.graph(),
        "attribution, components": lambda: trace.attribution(target=11, contrast=12),
        "attribution, heads": lambda: trace.attribution(target=11, contrast=12, by="heads"),
        "attribution, neurons": lambda: trace.attribution(target=11, contrast=12, by="neurons"),
        "edit, middle layer, last position": lambda: trace.edit(iv.Ablate("mlp_out", middle, [-1])),
    }


def long_prompt(n_layers: int, d_model: int, length: int) -> None:
    """A prompt of many tokens on a deep model: prefill beside eager generate, then peak and every kind of view."""
    import torch
    from transformers import AutoModelForCausalLM

    import intravisto_core as iv

    ids = random_ids(length, 0)
    with random_model("llama", n_layers, d_model, context=length + 8) as folder, torch.no_grad():
        command = [sys.executable, "-W", "ignore", __file__, "--long-alone", str(folder), str(length)]
        subprocess.run(command, check=True)
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
        engine = iv.open_model(folder, device_map="cpu")
        engine.finish_check()
        tokens = torch.tensor([ids])

        def plain(_: int) -> None:
            model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=1, do_sample=False)

        def trace(_: int) -> None:
            engine.forget(engine.trace(ids).id)

        times = interleaved({"generate, eager": plain, "trace": trace}, 1)
        rows = [[name, f"{t:.2f}"] for name, t in times.items()]
        table(f"{length} tokens × {n_layers} layers, width {d_model}, side by side", ["work", "s"], rows)
        engine.close()


def long_alone(folder: str, length: int) -> None:
    """In a process of its own: one trace, then what each view adds to the peak for a moment, and keeps."""
    import intravisto_core as iv

    engine = iv.open_model(folder, device_map="cpu")
    engine.finish_check()
    found = engine.estimate(length)
    before, kept = status("VmRSS"), []
    took = seconds(lambda: kept.append(engine.trace(random_ids(length, 0))))
    peak = status("VmHWM") - before
    print(f"one trace: {took:.1f} s; {found.run / MB:.0f} MB reckoned, {peak / MB:.0f} MB measured ({found.text()})")
    trace, rows = kept[0], []
    for name, view in views(trace, engine.model.n_layers, length).items():
        # since Linux 4.0: the peak begins anew
        Path("/proc/self/clear_refs").write_text("5")
        start = status("VmRSS")
        try:
            said = f"{1000 * seconds(view):,.0f}"
        except iv.IntravistoError as error:
            said = f"refused: {error}"
        rows.append([name, said, f"{(status('VmHWM') - start) / MB:.0f}", f"{(status('VmRSS') - start) / MB:.0f}"])
        print(*rows[-1], flush=True)
    table("Views of it", ["view", "ms", "peak, MB more", "after, MB more"], rows)
    engine.close()


def main() -> None:
    """Run the parts that are asked for, by default all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each-alone", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--long-alone", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=("peaks", "switches", "long"))
    parser.add_argument("--layers", type=int, default=32, help="of the long prompt's model (default 32)")
    parser.add_argument("--width", type=int, default=256, help="of the long prompt's model (default 256)")
    parser.add_argument("--tokens", type=int, default=2000, help="of the long prompt (default 2000)")
    options = parser.parse_args()
    if options.each_alone:
        each_alone(options.each_alone)
        return
    if options.long_alone:
        long_alone(options.long_alone[0], int(options.long_alone[1]))
        return
    print(machine())
    if options.only in (None, "peaks"):
        peaks(8, 768, "F32")
        peaks(12, 1024, "BF16")
    if options.only in (None, "switches"):
        switches(10, 1024)
    if options.only in (None, "long"):
        long_prompt(options.layers, options.width, options.tokens)


if __name__ == "__main__":
    main()
