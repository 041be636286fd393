"""What is reckoned before anything is taken: against what is really taken, and what follows from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig

import intravisto_core as iv
from intravisto_core.models import free_memory, memory, run_memory
from intravisto_core.models.free_memory import group_bytes, is_short
from intravisto_core.records.memory import size
from intravisto_core.traces import run_times
from intravisto_core.tracing import buffers
from intravisto_core.views import registry
from tests import tiny
from tests.inside import compute_records_anew
from tests.loading.fake_hub import GOOD_TOKEN

PROMPT = tuple(range(5, 21))
N = len(PROMPT)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """`folders(family)`: a tiny model of that family, written once."""
    root = tmp_path_factory.mktemp("memory")

    def get(family: str) -> Path:
        folder = root / family.replace(" ", "_").replace(",", "")
        return folder if folder.is_dir() else tiny.write(tiny.CONFIGS[family](), folder)

    return get


def free(monkeypatch: pytest.MonkeyPatch, nbytes: int) -> None:
    """As if so much memory were free."""
    for module in (run_memory, buffers):
        monkeypatch.setattr(module, "free_bytes", lambda device: nbytes)
    for module in (memory, sys.modules["intravisto_core.models.loading"]):
        monkeypatch.setattr(module, "all_free", lambda: {"cpu": nbytes})


@pytest.mark.parametrize("family", ["GPT-2", "Llama", "Gemma-2", "GPT-J"])
def test_weights_are_reckoned_from_headers(folders, family):
    folder = folders(family)
    kinds = ({}, {"dtype": "bfloat16"}, {"quantisation": "int8"}, {"quantisation": "nf4"}, {"device_map": "offload"})
    for options in kinds:
        spec = iv.ModelSpec(str(folder), **options)
        found = iv.estimate_memory(spec, N, 4)
        engine = iv.open_model(spec)
        allowed = 600
        assert abs(found.weights - engine.model.weight_bytes) <= allowed, options
        assert (found.offloaded > 0) == ("device_map" in options)
        trace = engine.trace(PROMPT, max_new_tokens=4, temperature=1.0)
        data = engine.kept_traces.store.get(("trace", trace.id))
        kept = sum(b.nbytes for b in data.buffers.values()) + data.final.nbytes
        whole = kept * (N + 4) // len(trace.tokens)
        assert engine.estimate(N, 4).trace == whole
        if family != "Gemma-2" or "dtype" in options:
            assert abs(found.trace - whole) <= 0.12 * whole, "the config alone cannot tell a parallel block"
        engine.close()


def test_fewer_sites_take_less(case):
    engine = case("llama").engine
    whole, streams = engine.estimate(N, 4), engine.estimate(N, 4, sites=("resid_post",))
    assert 0 < streams.trace < whole.trace / 5
    trace = engine.trace(PROMPT, sites=["resid_post"])
    data = engine.kept_traces.store.get(("trace", trace.id))
    assert engine.estimate(N, 0, sites=("resid_post",)).trace == sum(
        b.nbytes for b in (*data.buffers.values(), data.final)
    )


def test_a_model_on_the_hub_is_reckoned_without_its_weights(hub, tiny_llama, sharded):
    hub.gated.add("owner/sharded")
    for source, folder in (("tiny", tiny_llama), ("owner/sharded", sharded)):
        there = iv.estimate_memory(source, 100, 10, token=GOOD_TOKEN)
        assert there.weights == iv.estimate_memory(folder, 100, 10).weights
    for _, path, headers in hub.asked("/storage/"):
        assert "Range" in {name.title() for name in headers} or ".safetensors?" not in path
    with pytest.raises(iv.HubError) as caught:
        iv.estimate_memory("owner/nothing")
    assert caught.value.kind == "not_found"


def test_what_does_not_fit_is_refused_before_it_is_read(tiny_llama, monkeypatch):
    def read(*args: object, **options: object) -> None:
        raise AssertionError("the weights were read")

    free(monkeypatch, 50_000)
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", read)
    with pytest.raises(iv.MemoryShortError, match="does not fit") as caught:
        iv.open_model(tiny_llama)
    for word in ("bfloat16", "nf4", "offload", "50 kB free"):
        assert word in str(caught.value), word


def test_a_run_that_does_not_fit_is_refused_and_the_trace_stays(case, monkeypatch):
    engine = case("llama").engine
    kept = engine.trace("abc")
    monkeypatch.setattr(run_memory, "SMALL_RUN", 0)
    free(monkeypatch, 1000)
    monkeypatch.setattr(run_memory.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(iv.MemoryShortError, match="fewer sites"):
        engine.trace("abcdefgh", max_new_tokens=20)
    assert kept.heatmap().p_max.shape[1] == 4


def test_verdicts_and_words():
    parts = {"weights": 10**9, "loading": 0, "kv_cache": 10**6, "trace": 10**7, "workspace": 10**8}
    made = [iv.MemoryEstimate(**parts, device="cpu", free={"cpu": n}) for n in (9 * 10**9, 12 * 10**8, 10**9)]
    assert [e.verdict for e in made] == ["fits", "tight", "too large"]
    assert made[0].total == made[0].needed == 1_111_000_000
    assert made[0].line() == "1.11 GB of 9 GB free (cpu)"
    assert "weights 1 GB, key-value cache 1 MB, trace 10 MB, workspace 100 MB. It fits." in made[0].text()


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (500, "500 bytes"),
        (999.4, "999 bytes"),
        (999.6, "1 kB"),
        (1500, "1.5 kB"),
        (6_920_000, "6.92 MB"),
        (996e6, "996 MB"),
        (999.4e6, "999 MB"),
        (999.6e6, "1 GB"),
        (16e9, "16 GB"),
        (2.5e12, "2.5 TB"),
        (2.5e15, "2,500 TB"),
    ],
)
def test_a_size_has_three_digits_in_the_largest_unit_that_fits(n_bytes: float, words: str) -> None:
    assert size(n_bytes) == words


def test_memory_that_runs_out_in_a_view_is_given_back(case, monkeypatch):
    engine = case("llama").engine
    trace = engine.trace("abc")
    view = next(kind for kind in registry.VIEWS if kind.__name__ == "SharesView")

    def greedy(context: object, view: object):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        yield

    with monkeypatch.context() as patched:
        patched.setitem(registry.VIEWS, view, greedy)
        with pytest.raises(iv.MemoryShortError, match="given back"):
            trace.shares("projection")
    assert np.isfinite(trace.shares("projection").mlp).all()


def test_errors_that_mean_that_memory_ran_out():
    assert is_short(MemoryError())
    assert is_short(RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: …"))
    assert is_short(OSError(12, "Cannot allocate memory"))
    assert not is_short(RuntimeError("shapes do not match"))


def test_a_large_trace_lies_in_a_file_that_nobody_sees(tiny_gpt2, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    engine = iv.open_model(tiny_gpt2)
    kept = engine.trace(PROMPT, max_new_tokens=5)
    monkeypatch.setattr(run_memory, "PART_FOR_TRACE", 0.0)
    monkeypatch.setattr(run_memory, "SMALL_RUN", 0)
    assert engine.estimate(N, 5).in_file > 0
    assert engine.estimate(N, 5).trace == 0
    trace = engine.trace(PROMPT, max_new_tokens=5)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(tmp_path / "intravisto-trace-") in maps.read_text()
    assert not list(tmp_path.iterdir())
    for site in ("resid_pre", "q", "z", "act"):
        np.testing.assert_array_equal(trace.activation(site, 1), kept.activation(site, 1))
    np.testing.assert_array_equal(trace.heatmap("mlp").token_ids, kept.heatmap("mlp").token_ids)
    engine.close()
    del trace, kept
    if maps.exists():
        import gc

        gc.collect()
        assert "intravisto-trace-" not in maps.read_text()


def test_a_long_prompt_goes_by_queries(case, monkeypatch):
    engine, whole = case("llama").engine, case("llama").trace
    ids = tuple(token.id for token in whole.tokens)
    monkeypatch.setattr(run_memory, "ATTENTION_BYTES", 0)
    monkeypatch.setattr(run_memory, "SMALLEST_CHUNK", 4)
    # the run alone, whatever was read before in other pieces
    monkeypatch.setattr("intravisto_core.traces.plain_runs.find_prefix", lambda *_: None)
    calls = []
    network = engine.kept_traces.model.network
    handle = network.register_forward_pre_hook(lambda m, a, k: calls.append(k["input_ids"].shape[1]), with_kwargs=True)
    trace = engine.trace(ids)
    handle.remove()
    assert calls[:2] == [4, 4]
    assert sum(calls) == len(ids)
    for layer in range(tiny.N_LAYERS):
        np.testing.assert_allclose(trace.pattern(layer, 1), whole.pattern(layer, 1), atol=1e-6)
        np.testing.assert_allclose(
            trace.activation("resid_post", layer), whole.activation("resid_post", layer), atol=1e-5
        )


def test_a_pattern_that_does_not_fit_is_refused_and_one_head_is_not(case, monkeypatch):
    compute_records_anew(monkeypatch)
    trace = case("llama").trace
    n, n_heads = len(trace.tokens), trace.engine.model.n_heads
    trace.engine.finish_check()
    # head by head: an answer that was given once is kept, and would be given again
    whole = np.stack([trace.pattern(1, head) for head in range(n_heads)])
    monkeypatch.setattr(free_memory, "_SMALL", 0)
    monkeypatch.setattr(free_memory, "free_bytes", lambda device: 16 * n_heads * n * n - 1)
    with pytest.raises(iv.MemoryShortError, match="Look at one head"):
        trace.activation("pattern", 1)
    np.testing.assert_array_equal(trace.activation("pattern", 1, head=2), whole[2])
    np.testing.assert_array_equal(trace.pattern(1, 2), whole[2])
    with pytest.raises(iv.MemoryShortError, match="fewer rows"):
        trace.disagreement(other_measure="projection")


def test_the_chunk_follows_the_scores():
    assert run_memory.prefill_chunk(32, 100, 4) == run_memory.LARGEST_CHUNK
    chunk = run_memory.prefill_chunk(32, 2000, 4)
    assert 300 < chunk < 512
    assert 32 * 2000 * 12 * chunk <= run_memory.ATTENTION_BYTES
    assert run_memory.prefill_chunk(64, 10**6, 4) == run_memory.SMALLEST_CHUNK


def test_time_is_learnt_from_the_runs_before(tiny_gpt2):
    engine = iv.open_model(tiny_gpt2)
    assert engine.expected_seconds(10, 5) is None
    engine.trace(PROMPT, max_new_tokens=6)
    short, long = engine.expected_seconds(10, 5), engine.expected_seconds(40, 50)
    assert 0 < short < long < 100
    engine.close()


def test_a_long_prompt_says_more_about_the_rate_than_a_short_one(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(run_times.time, "perf_counter", lambda: clock[0])

    def reading(tokens, seconds):
        clock[0] += seconds
        yield tokens

    times = run_times.RunTimes()
    for tokens, seconds in [(10, 4.0), (300, 24.0)]:  # the first call of a model is slow
        for _ in times.learning(reading(tokens, seconds), tokens):
            pass
    # (0.7 · 4 s + 24 s) / (0.7 · 10 + 300 tokens) · 300 tokens
    assert times.expected(300, 0) == pytest.approx(26.8 / 307 * 300)


LIMITS = [
    # version 1, in a container whose own group is mounted as the root
    ("4:memory:/docker/abc\n", {"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "700",
                                "memory/memory.stat": "total_inactive_file 50\n"}, 350),
    # version 2, with a limit on the group above
    ("0::/app/inner\n", {"app/memory.max": "2000", "app/memory.current": "500", "app/memory.stat": "inactive_file 0\n",
                         "app/inner/memory.max": "max", "app/inner/memory.current": "400",
                         "app/inner/memory.stat": "inactive_file 9\n"}, 1500),
    ("0::/\n", {"memory.max": "max", "memory.current": "1", "memory.stat": ""}, None),
    ("4:memory:/\n", {"memory/memory.limit_in_bytes": str(2**63 - 4096), "memory/memory.usage_in_bytes": "1",
                      "memory/memory.stat": ""}, None),
    ("1:cpu:/\n", {}, None),
]  # fmt: skip


@pytest.mark.parametrize(("own", "files", "left"), LIMITS)
def test_the_limits_of_control_groups(tmp_path, own, files, left):
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert group_bytes(tmp_path / "root", tmp_path / "own") == left


def test_free_memory_is_the_least_of_all_limits(monkeypatch):
    monkeypatch.setattr(free_memory, "group_bytes", lambda: 12345)
    assert free_memory.free_bytes(torch.device("cpu")) == 12345
    monkeypatch.setattr(free_memory, "_address_space", lambda: -5)
    assert free_memory.free_bytes(torch.device("cpu")) == 0


UNDER_A_LIMIT = """
import resource, sys
import psutil, torch
import intravisto_core as iv
from intravisto_core.models import loading
from intravisto_core.engine import local

large, small = sys.argv[1:]
engine = iv.open_model(small)
trace = engine.trace("ab")
limit = psutil.Process().memory_info().vms + 60_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    iv.open_model(large)
except iv.MemoryShortError as error:
    print("refused:", "does not fit" in str(error))
loading.require_room = lambda found, what: None
try:
    iv.open_model(large, dtype="bfloat16")
except iv.MemoryShortError as error:
    print("ran out:", "given back" in str(error))
local.require_room = lambda found, what: None
engine.kept_traces.model.dimensions.__class__
try:
    engine.submit(iv.TraceRequest((5,) * 60, sites=None)).result()
    print("a small run still goes")
finally:
    print("kept:", trace.heatmap().p_max.shape)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits on the address space are Linux's")
def test_memory_that_really_runs_out(tmp_path, tiny_gpt2):
    """In a process that may take 60 MB more: a model of 90 MB is refused, and, unrefused, fails and gives all back."""
    sizes = tiny.llama_settings(hidden_size=512, intermediate_size=1024, num_hidden_layers=9)
    large = tiny.write(LlamaConfig(**sizes), tmp_path / "large")
    command = [sys.executable, "-W", "ignore", "-c", UNDER_A_LIMIT, str(large), str(tiny_gpt2)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split("\n")[:4] == [
        "refused: True",
        "ran out: True",
        "a small run still goes",
        "kept: (5, 3)",
    ], done.stderr[-2000:]
