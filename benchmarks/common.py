"""What the benchmarks share: random models of GPT-2 small's size on disk, repeated timing, a table."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.processes import end_process, free_port  # noqa: E402

VOCABULARY = 50_257


def config(kind: str, n_layers: int, d_model: int, context: int) -> Any:
    """A config of a transformers `model_type` with GPT-2's vocabulary; no token ends a text."""
    import transformers

    none = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    if kind == "gpt2":
        return transformers.GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=d_model,
            n_layer=n_layers,
            n_head=d_model // 64,
            n_positions=context,
            **none,
        )
    experts = {"num_local_experts": 8, "num_experts_per_tok": 2} if kind == "mixtral" else {}
    return transformers.AutoConfig.for_model(
        kind,
        vocab_size=VOCABULARY,
        hidden_size=d_model,
        intermediate_size=8 * d_model // 3,
        num_hidden_layers=n_layers,
        num_attention_heads=d_model // 64,
        num_key_value_heads=d_model // 64,
        max_position_embeddings=context,
        tie_word_embeddings=False,
        **experts,
        **none,
    )


@contextmanager
def random_model(
    kind: str, n_layers: int = 12, d_model: int = 768, context: int = 512, dtype: str = "F32"
) -> Iterator[Path]:
    """The folder of a random model of that size, there as long as the context is."""
    with tempfile.TemporaryDirectory() as place:
        yield write(config(kind, n_layers, d_model, context), Path(place), dtype)


def write(settings: Any, folder: Path, dtype: str = "F32") -> Path:
    """A checkpoint with random matrices in a dtype of safetensors, and norms of 1, written without making the model.

    The names are those of published checkpoints, in which every expert has matrices of its own.
    """
    import torch
    from transformers.core_model_loading import revert_weight_conversion

    from intravisto_core.demo import MODEL_FOLDER
    from intravisto_core.models.placement import empty

    network: Any = empty(settings)
    state = revert_weight_conversion(network, dict(network.named_parameters()))
    kept = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}[dtype]
    # a length that no matrix is a multiple of, else rows would be equal
    normal = torch.randn(1_000_003, generator=torch.Generator().manual_seed(0)) * 0.02
    random, ones = (x.to(kept).view(torch.uint8).numpy().tobytes() for x in (normal, torch.ones(1 << 16)))
    header: dict[str, Any] = {}
    end = 0
    for name, weight in state.items():
        begin, end = end, end + weight.numel() * kept.itemsize
        header[name] = {"dtype": dtype, "shape": list(weight.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, weight in state.items():
            left, source = weight.numel() * kept.itemsize, random
            if weight.dim() == 1 and name.endswith("weight"):
                source = ones
            while left:
                left -= file.write(source[:left])
    settings.architectures = [type(network).__name__]
    settings.save_pretrained(folder)
    for given in MODEL_FOLDER.glob("tokenizer*"):
        shutil.copy(given, folder)
    return folder


def wait_for_port(port: int, limit: float = 120.0) -> None:
    """Return as soon as something listens there."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port} after {limit:.0f} s")


class RunningApp(NamedTuple):
    """An app that listens to a port of this machine."""

    port: int
    pid: int

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running_app(script: str = "app.py", **environment: str) -> Iterator[RunningApp]:
    """`streamlit run` of a script, as long as the context is. environment: variables beside those of this process."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / script), "--server.port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(
        [*command, "--server.headless", "true"], cwd=ROOT, env={**os.environ, **environment}, **quiet
    )
    try:
        wait_for_port(port)
        yield RunningApp(port, process.pid)
    finally:
        end_process(process)


@contextmanager
def chromium() -> Iterator[Any]:
    """A page in the system's Chromium, 1440 × 900."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        raise SystemExit("Chromium is not installed: nothing can be measured in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(viewport={"width": 1440, "height": 900})
        browser.close()


def random_ids(n: int, seed: int) -> tuple[int, ...]:
    """A text of n random tokens."""
    import numpy as np

    return tuple(int(i) for i in np.random.default_rng(seed).integers(10, VOCABULARY, n))


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long a call takes."""
    start = clock()
    work()
    return clock() - start


def median_seconds(work: Callable[[], object], n: int) -> float:
    """Of n calls, after one that is not counted."""
    work()
    return statistics.median(seconds(work) for _ in range(n))


def interleaved(
    works: dict[str, Callable[[int], object]], repetitions: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each; they take turns, so that a slow moment of the machine hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for repetition in range(repetitions):
        for name, work in works.items():
            times[name].append(seconds(lambda work=work, r=repetition: work(r), clock))
    return {name: statistics.median(found) for name, found in times.items()}


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; numbers with three significant digits."""
    lines = [list(head), *([_text(value) for value in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    print(f"\n{title}")
    for number, line in enumerate(lines):
        first, rest = line[0].ljust(widths[0]), [c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)]
        print("  " + "  ".join([first, *rest]))
        if number == 0:
            print("  " + "  ".join("-" * w for w in widths))


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def machine() -> str:
    """What the numbers were measured on, and how busy it was."""
    import platform

    import torch
    import transformers

    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__} with {torch.get_num_threads()} "
        f"threads, transformers {transformers.__version__}{load}"
    )
