"""Opening the real model, beside plain `from_pretrained` of model and tokenizer.

Plain `from_pretrained` of safetensors maps the file and reads nothing yet; so the same with one plain call over 24
tokens, after which the weights are in memory, stands beside opening and a first run of 24 tokens, which waits for the
most important identities. The checkpoint in safetensors is made of the GGUF file's weights. "all checked" is until the
whole check is done. With --processor: seconds of the processor, all threads together, with one thread for torch.
"""

from __future__ import annotations

import argparse
import runpy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import ROOT, machine, seconds, table


def write_folder(file: Path, folder: Path, dtype: str) -> Path:
    """The model of a GGUF file as a folder in safetensors."""
    import torch
    from transformers import AutoModelForCausalLM

    from intravisto_core.models import load
    from intravisto_core.request import ModelSpec

    read = load(ModelSpec(str(file)))
    made: Any = AutoModelForCausalLM.from_config(read.network.config, dtype=getattr(torch, dtype))
    made.load_state_dict(read.network.state_dict())
    made.save_pretrained(folder)
    read.tokenizer.save_pretrained(folder)
    return folder


def open_plain(source: Path, dtype: str, call: bool) -> None:
    """What a script with transformers alone does. call: run the model once, too."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
    from transformers.utils.quantization_config import GgufConfig

    logging.disable_progress_bar()
    options: dict[str, Any] = {"local_files_only": True}
    folder = source
    if source.is_file():
        folder, options["gguf_file"] = source.parent, source.name
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    if source.is_file():
        options["quantization_config"] = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), **options)
    if call:
        ids = torch.arange(24)[None] + len(tokenizer) // 2
        with torch.no_grad():
            model(input_ids=ids)


def measure_here(source: Path, dtype: str, clock: Callable[[], float]) -> tuple[float, float, float]:
    """Seconds of `iv.open_model`, until a first run is there, and until the whole check is done; closing is not
    counted."""
    import intravisto_core as iv

    opened: list[iv.Engine] = []
    first = seconds(lambda: opened.append(iv.open_model(str(source), dtype=dtype)), clock)
    run = seconds(lambda: opened[0].trace(tuple(range(1000, 1024))), clock)
    rest = seconds(opened[0].finish_check, clock)
    opened[0].close()
    return first, first + run, first + run + rest


def _measure_all(source: Path, dtype: str, clock: Callable[[], float]) -> tuple[float, ...]:
    plain, called = (seconds(lambda c=call: open_plain(source, dtype, call=c), clock) for call in (False, True))
    return plain, called, *measure_here(source, dtype, clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--processor", action="store_true", help="seconds of the processor, with one thread")
    options = parser.parse_args()
    clock = time.process_time if options.processor else time.perf_counter
    if options.processor:
        import torch

        torch.set_num_threads(1)
    # by its file: the package of the tests checks every array, which takes time
    file = runpy.run_path(str(ROOT / "tests" / "real" / "fetch.py"))["find_model"]()
    if file is None:
        raise SystemExit("The real model is not here. Fetch it: python -m tests.real.fetch")
    rows = []
    with tempfile.TemporaryDirectory() as place:
        cases = {
            "safetensors, bfloat16": (write_folder(file, Path(place) / "bf16", "bfloat16"), "bfloat16"),
            "safetensors, float32": (write_folder(file, Path(place) / "fp32", "float32"), "float32"),
            "GGUF Q4_1, float32": (file, "float32"),
        }
        for name, given in cases.items():
            # the ways take turns, so that a slow moment of the machine hits all of them
            found = [_measure_all(*given, clock) for _ in range(options.repetitions + 1)][1:]
            plain, called, opened, run, whole = map(statistics.median, zip(*found, strict=True))
            rows.append([name, plain, called, opened, run, whole, opened / plain, run / called])
    print(machine())
    table(
        f"opening, seconds, medians of {options.repetitions} (goal: 1.5 × from_pretrained)",
        ["", "plain", "and a call", "here", "and a run", "all checked", "here/plain", "run/call"],
        rows,
    )


if __name__ == "__main__":
    main()
