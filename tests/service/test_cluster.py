"""Two replicas on this machine, by the command: many clients at once, and whatever is killed costs a delay alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

import intravisto_core as iv
from tests.tiny import PROMPT

# replicas and clients share the machine with other tests
pytestmark = pytest.mark.flaky(reruns=1)
ROOT = Path(__file__).parents[2]
START_S = 150.0
CLIENTS, EACH = 20, 10
MOST_REPLICA_BYTES = 1 << 30


class Cluster:
    """`intravisto serve --replicas 2` as a process of its own."""

    def __init__(self, model: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "intravisto_core", "serve", "--model", str(model)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "--replicas", "2", "--port", str(port)], stdout=out, stderr=out, cwd=ROOT, env=environment
            )
        self.log = log

    def find(self, name: str) -> list[psutil.Process]:
        """The cluster's processes of that name."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [each for each in found if name in " ".join(each.cmdline())]

    def close(self) -> None:
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for child in children:
            if child.is_running():
                child.kill()


@pytest.fixture(scope="module")
def cluster(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # tests of this file may be divided over processes: two clusters at once are more than the machine is for
    with FileLock(tmp_path_factory.getbasetemp().parent / "cluster.lock"):
        made = Cluster(tiny_llama, tmp_path_factory.mktemp("cluster") / "log")
        try:
            iv.connect(made.url, patience=START_S).finish_check(60)
            yield made
        except iv.ServiceError:
            pytest.fail(made.log.read_text(errors="replace")[-3000:])
        finally:
            made.close()


@pytest.fixture(scope="module")
def engine(cluster: Cluster) -> iv.Engine:
    return iv.connect(cluster.url)


def ask(url: str, number: int, here: iv.Engine) -> None:
    """One client's mixed requests; each answer is that of a model that is open here."""
    there = iv.connect(url)
    for i in range(EACH // 5):
        text = "abc!"[number % 4 :] + "ab" * (1 + (number + i) % 5)
        session = f"client {number}"
        runs = [e.submit(iv.TraceRequest(text, iv.Generation(2)), session=session).result() for e in (there, here)]
        a, b = runs
        assert [t.id for t in a.tokens] == [t.id for t in b.tokens]
        assert a.heatmap().logits.tobytes() == b.heatmap().logits.tobytes()
        assert a.shares().mlp.tobytes() == b.shares().mlp.tobytes()
        assert a.logits().tobytes() == b.logits().tobytes()
        edits = [run.edit(iv.Ablate("mlp_out", 1, "all")).logits() for run in runs]
        assert edits[0].tobytes() == edits[1].tobytes()


def test_twenty_clients_at_once_are_all_answered_right(cluster, case):
    here = case("llama").engine
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda n: ask(cluster.url, n, here), range(CLIENTS)))
    replicas = cluster.find("ServeReplica:intravisto:models")
    assert len(replicas) == 2
    assert all(each.memory_info().rss < MOST_REPLICA_BYTES for each in replicas)


def test_a_killed_replica_costs_a_delay(cluster, engine):
    texts = [PROMPT[:i] for i in range(1, 7)]
    traces = [engine.trace(text, max_new_tokens=2) for text in texts]
    edited = traces[0].edit(iv.Ablate("attn_out", 1, "all"))
    before = [trace.logits().tobytes() for trace in (*traces, edited)]
    job = engine.submit(iv.SaliencyView(traces[5].id, method="integrated_gradients", steps=500))
    cluster.find("ServeReplica:intravisto:models")[0].kill()
    assert [trace.logits().tobytes() for trace in (*traces, edited)] == before
    assert job.result(120).scores.shape == (len(traces[5].tokens),)


def test_a_killed_ingress_costs_a_delay(cluster, engine):
    trace = engine.trace(PROMPT, max_new_tokens=2)
    before = trace.logits().tobytes()
    job = engine.submit(iv.SaliencyView(trace.id, method="integrated_gradients", steps=300))
    (ingress,) = cluster.find("ServeReplica:intravisto:ingress")
    ingress.kill()
    assert job.result(120).scores.shape == (len(trace.tokens),)
    assert trace.logits().tobytes() == before


def test_a_killed_client_leaves_the_others_in_peace(cluster, engine):
    lines = (
        f"import intravisto_core as iv; e = iv.connect({cluster.url!r}); print('on', flush=True); t = e.trace('ab');"
        "e.view(iv.SaliencyView(t.id, method='integrated_gradients', steps=1000))"
    )
    client = subprocess.Popen([sys.executable, "-c", lines], stdout=subprocess.PIPE, cwd=ROOT)
    assert client.stdout is not None
    assert client.stdout.readline() == b"on\n"
    time.sleep(0.3)
    client.kill()
    client.wait()
    assert engine.trace("ab").shares().attention.shape[1] == len(engine.tokenize("ab"))


def test_a_batch_that_was_killed_goes_on_on_the_cluster(cluster, tiny_llama, tmp_path):
    texts = ["ab" * (1 + i % 9) for i in range(200)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(f'"{text}"' for text in texts))
    out = tmp_path / "out"
    command: list[Any] = [sys.executable, "-m", "intravisto_core", "batch", tmp_path / "prompts.jsonl"]
    command += ["--model", tiny_llama, "--views", "shares", "--out", out]
    running: dict[str, Any] = {"cwd": ROOT, "env": {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **running) as first:
        until = time.monotonic() + START_S
        while not list(out.glob("parts/*.parquet")) and first.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        first.kill()
    again = [*command, "--workers", "2", "--address", "auto"]
    done = subprocess.run(again, capture_output=True, text=True, timeout=START_S, **running)
    assert done.returncode == 0, done.stderr[-2000:]
    tables = [pq.read_table(path) for path in sorted(out.glob("parts/*.parquet"))]
    assert [text for table in tables for text in table["prompt"].to_pylist()] == texts
    assert not any(error for table in tables for error in table["error"].to_pylist())
