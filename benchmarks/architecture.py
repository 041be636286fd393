"""The architecture of modules of all sizes: tree, traced run beside a plain one, payload, and drawn in Chromium.

The models are built from a config of their size: 30 layers; on the meta device 24 layers of 128 experts in one tensor,
and of experts that are modules of their own and are all called there, and 10,000 modules. The real model stands beside
them where it was fetched. torchvista, which draws the same, is measured beside it where it is installed: one trace with
its page, and the size of that.
"""

from __future__ import annotations

import argparse
import json
import runpy
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from common import ROOT, chromium, interleaved, machine, seconds, table

LONGEST = 60  # seconds that another program is given
DRAW = """n => {
  const root = document.querySelector('.iv-architecture');
  return Array.from({ length: n }, () => { root.intravisto.draw(); return Number(root.dataset.drawn); });
}"""


def build_layers() -> tuple[Any, dict[str, Any]]:
    """A Llama of 30 layers on the processor, small enough that looking costs as much as it ever does."""
    import torch
    import transformers

    settings = transformers.LlamaConfig(
        num_hidden_layers=30, hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3
    )
    return transformers.LlamaForCausalLM(settings).eval(), {"input_ids": torch.randint(0, 1000, (1, 9))}


def build_mixture() -> tuple[Any, dict[str, Any]]:
    """A mixture of 24 layers of 128 experts as transformers has it, each layer's experts in one tensor; meta device."""
    import torch
    import transformers

    settings = transformers.Qwen3MoeConfig(num_hidden_layers=24, num_experts=128, num_experts_per_tok=8)
    with torch.device("meta"):
        # products by expert are known there in bfloat16 alone
        model = transformers.Qwen3MoeForCausalLM(settings).to(torch.bfloat16).eval()
    return model, {"input_ids": torch.zeros((1, 9), dtype=torch.int64, device="meta")}


def build_experts() -> tuple[Any, dict[str, Any]]:
    """24 layers of 128 experts, each a module of its own, all of them called, on the meta device."""
    import torch
    from torch import nn

    class Expert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.act, self.down = nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 64)

        def forward(self, x: Any) -> Any:
            return self.down(self.act(self.up(x)))

    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(64, 128)
            self.experts = nn.ModuleList(Expert() for _ in range(128))

        def forward(self, x: Any) -> Any:
            weights = self.router(x).softmax(-1)
            for i, expert in enumerate(self.experts):
                x = x + expert(x) * weights[..., i : i + 1]
            return x

    with torch.device("meta"):
        return nn.Sequential(*(Mixture() for _ in range(24))).eval(), {"input": torch.empty(9, 64)}


def build_many() -> tuple[Any, dict[str, Any]]:
    """10,000 modules on the meta device."""
    import torch
    from torch import nn

    with torch.device("meta"):
        parts = (nn.Sequential(nn.Linear(4, 4), *(nn.Identity() for _ in range(98))) for _ in range(100))
        return nn.Sequential(*parts).eval(), {"input": torch.empty(2, 4)}


def build_real() -> tuple[Any, dict[str, Any]] | None:
    """SmolLM2-135M-Instruct, where it was fetched."""
    import torch

    from intravisto_core import open_model

    found = runpy.run_path(str(ROOT / "tests" / "real" / "fetch.py"))["find_model"]()
    if found is None:
        return None
    engine = open_model(str(found))
    engine.finish_check()
    network = engine.kept_traces.model.network
    return network, {"input_ids": torch.randint(0, 1000, (1, 9)), "use_cache": False}


CASES: dict[str, Callable[[], tuple[Any, dict[str, Any]] | None]] = {
    "30 layers": build_layers,
    "24 × 128 experts, meta": build_mixture,
    "the same, all called, meta": build_experts,
    "10,000 modules, meta": build_many,
    "real model": build_real,
}


def measure(module: Any, inputs: dict[str, Any], page: Any, repetitions: int) -> tuple[object, ...]:
    """One row: modules, plain and traced run, what an Inspector takes from nothing to a payload, its size, drawn.

    Times are of the processor: other programs may run meanwhile.
    """
    import torch

    from intravisto_core import Inspector
    from intravisto_core.figures.web.architecture_payload import architecture_data

    args = tuple(inputs.values()) if "input" in inputs else ()
    named = {} if args else inputs
    inspector = Inspector(module)

    def look(_: int) -> Any:
        found = Inspector(module)
        found.forward(*args, **named)
        return found

    with torch.no_grad():
        ways: dict[str, Callable[[int], object]] = {
            "plain": lambda _: module(*args, **named),
            "traced": look,
            "again": lambda _: inspector.forward(*args, **named),
            "packed": lambda _: json.dumps(architecture_data(inspector.architecture)),
        }
        for way in list(ways)[:3]:
            ways[way](0)
        taken = interleaved(ways, repetitions, time.process_time)
    text = json.dumps(architecture_data(inspector.architecture), separators=(",", ":"))
    with tempfile.TemporaryDirectory() as place:
        file = inspector.visualize().save(Path(place) / "page.html")
        page.goto(file.as_uri())
        drawn = page.evaluate(DRAW, repetitions)
    plain, traced, again, packed = taken.values()
    n = sum(1 for _ in module.modules())
    times = (plain, traced, traced / plain, again / plain, traced + packed)
    return (n, *times, len(text) / 1e3, statistics.median(drawn))


def measure_peer(module: Any, inputs: dict[str, Any]) -> tuple[object, object]:
    """Seconds of torchvista's trace and page, and its kB; a dash without it, what went wrong where it fails.

    It walks the graph by recursion: under Python's usual limit it ends with an error for every language model here.
    """
    if find_spec("torchvista") is None:
        return "–", "–"
    import torch
    from torchvista import trace_model

    sys.setrecursionlimit(20_000)
    given = tuple(value for value in inputs.values() if torch.is_tensor(value))
    with tempfile.TemporaryDirectory() as place, redirect_stdout(StringIO()), limited(LONGEST):
        file = Path(place) / "page.html"
        try:
            with torch.no_grad():
                taken = seconds(lambda: trace_model(module, given, export_path=str(file)))
        except TimeoutError:
            return f"over {LONGEST}", "–"
        except Exception as error:  # whatever another program's code does
            return type(error).__name__, "–"
        return taken, file.stat().st_size / 1e3 if file.exists() else "–"


@contextmanager
def limited(n: int) -> Iterator[None]:
    """Raise a TimeoutError after n seconds."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(n)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


HEAD = (
    *("module", "modules", "plain s", "traced s", "traced/plain", "later/plain", "with payload s", "kB", "drawn ms"),
    *("torchvista s", "its kB"),
)


def main() -> None:
    """Measure and print."""
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", type=int, nargs="*", choices=range(len(CASES)), help=", ".join(CASES))
    options = parser.parse_args()
    rows: list[tuple[object, ...]] = []
    with chromium() as page:
        for number, (name, build) in enumerate(CASES.items()):
            made = build() if options.only is None or number in options.only else None
            if made is not None:
                rows.append((name, *measure(*made, page, options.repetitions), *measure_peer(*made)))
                print(*rows[-1], flush=True)
    table(f"architectures on {machine()}", HEAD, rows)


if __name__ == "__main__":
    main()
