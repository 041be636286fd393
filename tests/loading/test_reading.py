"""Reading weights from disk is told in bytes and by file, each load for itself, and ends within a tensor."""

from __future__ import annotations

import gc
import threading
import time
from io import StringIO

import pytest
import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

import intravisto_core as iv
from intravisto_core.cli import main
from intravisto_core.models import construction, load, reading
from intravisto_core.models.files import checkpoint
from intravisto_core.progress import quiet
from tests import tiny
from tests.inside import opening_of, wait_for_error

WAIT = 60


def told_by(folder, **options) -> list[tuple[int, int, str]]:
    told: list[tuple[int, int, str]] = []
    load(iv.ModelSpec(str(folder), **options), report=lambda *step: told.append(step))
    return [step for step in told if step[2].startswith("reading model")]


def stored(folder) -> int:
    return sum(t.nbytes for t in checkpoint.headers(checkpoint.weight_files(folder)))


def networks() -> int:
    gc.collect()
    return sum(isinstance(o, PreTrainedModel) for o in gc.get_objects())


@pytest.mark.parametrize("options", [{}, {"dtype": "bfloat16"}, {"device_map": "offload"}, {"quantisation": "nf4"}])
def test_every_byte_is_told_whatever_becomes_of_it(sharded, options):
    steps = told_by(sharded, **options)
    done = [step[0] for step in steps]
    assert done == sorted(set(done))
    assert {step[1] for step in steps} == {stored(sharded)}
    assert done[-1] == stored(sharded)
    n_files = len(list(sharded.glob("*.safetensors")))
    assert {step[2] for step in steps} == {
        f"reading model-{i:05}-of-{n_files:05}.safetensors, file {i} of {n_files}" for i in range(1, n_files + 1)
    }


def test_experts_that_are_stacked_while_they_are_read(tmp_path):
    folder = tiny.write(tiny.CONFIGS["Qwen3-MoE"](), tmp_path / "model")
    steps = told_by(folder)
    assert steps[-1] == (stored(folder), stored(folder), "reading model.safetensors")


def test_loads_at_once_are_told_apart(sharded, tiny_gpt2):
    told: dict[str, list[tuple[int, int, str]]] = {}
    both = threading.Barrier(2)

    def work(folder) -> None:
        both.wait(WAIT)
        told[str(folder)] = told_by(folder)

    threads = [threading.Thread(target=work, args=(folder,)) for folder in (sharded, tiny_gpt2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert {step[1] for step in told[str(sharded)]} == {stored(sharded)}
    assert {step[1:] for step in told[str(tiny_gpt2)]} == {(stored(tiny_gpt2), "reading model.safetensors")}


@pytest.mark.parametrize("options", [{}, {"device_map": "offload"}, {"quantisation": "nf4"}])
def test_reading_ends_within_a_tensor(sharded, options):
    before, seen = networks(), []

    def stop(done: int, total: int, text: str) -> None:
        if done > 30_000:
            seen.append(done)
            raise iv.Cancelled("cancelled")

    with pytest.raises(iv.Cancelled):
        load(iv.ModelSpec(str(sharded), **options), report=stop)
    assert len(seen) == 1
    assert networks() == before
    assert load(iv.ModelSpec(str(sharded), **options)).dimensions.n_layers == 3


def test_a_job_is_cancelled_while_its_weights_are_read(sharded, monkeypatch):
    pool, spec = iv.Pool(), iv.ModelSpec(str(sharded))
    begun, go_on, read = threading.Event(), threading.Event(), reading._Weights.read

    def slow(weights, names) -> None:
        begun.set()
        assert go_on.wait(WAIT)
        read(weights, names)

    monkeypatch.setattr(reading._Weights, "read", slow)
    job = pool.open(spec)
    assert begun.wait(WAIT)
    opening = opening_of(pool, spec)
    job.cancel()
    with pytest.raises(iv.Cancelled):
        job.result(WAIT)
    go_on.set()
    assert isinstance(wait_for_error(opening, WAIT), iv.Cancelled)
    assert pool.specs == ()
    monkeypatch.undo()
    assert pool.lease(spec).model.n_layers == 3
    pool.close()


def test_bars_of_others_are_left_alone(sharded, monkeypatch):
    load(iv.ModelSpec(str(sharded)))
    assert list(transformers_logging.tqdm([1, 2], desc="Loading weights")) == [1, 2]
    asked: list[str] = []
    monkeypatch.setattr(reading, "_earlier", lambda factory, given, options: asked.append(options["desc"]) or given[0])
    with reading.telling(quiet, checkpoint.weight_files(sharded)):
        assert list(transformers_logging.tqdm([3], desc="something else")) == [3]
    assert asked == ["something else"]


def test_a_model_is_constructed_while_nobody_computes(sharded):
    """transformers changes torch's default dtype meanwhile, for all threads."""
    loaded, told = [], []
    with construction.computing():
        work = lambda: loaded.append(load(iv.ModelSpec(str(sharded), dtype="bfloat16"), report=tell))  # noqa: E731
        waits = threading.Event()

        def tell(done: int, total: int, text: str) -> None:
            told.append(text)
            if text.startswith("waiting"):
                waits.set()

        thread = threading.Thread(target=work)
        thread.start()
        assert waits.wait(WAIT)
        assert torch.get_default_dtype() == torch.float32
        assert not loaded
    thread.join(WAIT)
    assert loaded[0].dtype == torch.bfloat16
    with construction.computing():
        assert torch.get_default_dtype() == torch.float32


def test_who_computes_may_say_so_twice_while_another_one_waits_to_construct():
    waits, ended = threading.Event(), threading.Event()

    def compute() -> None:
        with construction.computing():
            waits.wait(WAIT)
            with construction.computing():
                pass
        ended.set()

    def construct() -> None:
        with construction.loading(lambda done, total, text: waits.set()):
            pass

    threads = [threading.Thread(target=work, daemon=True) for work in (compute, construct)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    assert ended.wait(WAIT)
    threads[1].join(WAIT)


def test_a_run_waits_while_a_model_is_constructed(case):
    kept = case("llama")
    with construction.loading(quiet):
        job = kept.engine.submit(iv.TraceRequest(kept.trace.request.prompt))
        with pytest.raises(TimeoutError):
            job.result(0.3)
        construction.constructed()
        assert (job.result(WAIT).logits(3) == kept.trace.logits(3)).all()


def test_runs_beside_loads_are_what_they_are_alone(sharded, case):
    """Traces, views and link checks, while a model of another dtype is loaded again and again."""
    kept = case("llama")
    link = iv.Link("mlp", 0, 5)
    alone = kept.trace.check_links([link], 11, 23, 6).measured
    ended = threading.Event()

    def load_on() -> None:
        while not ended.is_set():
            load(iv.ModelSpec(str(sharded), dtype="bfloat16"))

    thread = threading.Thread(target=load_on)
    thread.start()
    try:
        for _ in range(3):
            trace = kept.engine.trace(kept.trace.request.prompt, max_new_tokens=2)
            assert (trace.logits(3) == kept.trace.logits(3)).all()
            assert trace.check_links([link], 11, 23, 6).measured == alone
    finally:
        ended.set()
        thread.join(WAIT)
    assert torch.get_default_dtype() == torch.float32
    assert PreTrainedModel.tie_weights.__name__ == "tie_weights"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_command_tells_it_in_one_line_that_goes_away(sharded, monkeypatch, capsys):
    for out, drawn in ((Terminal(), True), (StringIO(), False)):
        monkeypatch.setattr("sys.stderr", out)
        assert main(["trace", "ab", "--model", str(sharded)]) == 0
        lines = out.getvalue().split("\r")
        assert any(line.startswith("reading model-00002-of-") and " of 118 kB (" in line for line in lines) == drawn
        assert (lines[-1] == "\x1b[K") == drawn
        assert "\n" not in out.getvalue()
    assert "\r" not in capsys.readouterr().out


def test_the_library_tells_it_and_may_be_stopped(sharded):
    told = []

    def stop(done: int, total: int, text: str) -> None:
        told.append(text)
        if done:
            raise KeyboardInterrupt

    for source in (sharded, iv.ModelSpec(str(sharded))):
        told.clear()
        with pytest.raises(KeyboardInterrupt):
            iv.open_model(source, report=stop)
        assert told[-1].startswith("reading model-00001")
    iv.open_model(sharded).close()


@pytest.mark.parametrize(
    ("stored", "asked", "given"), [("bfloat16", "auto", "bfloat16"), ("float32", "float16", "float16")]
)
def test_precisions(tmp_path, stored, asked, given):
    """auto is the checkpoint's own; the identities hold in every one."""
    config = tiny.CONFIGS["Llama"]()
    folder = tiny.write(config, tmp_path / "model")
    tiny.build(config).to(getattr(torch, stored)).save_pretrained(folder)
    engine = iv.open_model(folder, dtype=asked)
    assert engine.model.dtype == given
    assert all(found.ok for found in engine.model.capabilities.values())
    assert engine.model.capabilities["residual"].exact
    engine.close()
