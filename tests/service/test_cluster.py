"""Two replicas on this machine, by the command: many clients at once, and whatever is killed costs a delay alone."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

import intravisto_core as iv
from intravisto_core.engine.jobs.patching_grid import TEXT
from tests.service.keeper import ROOT, using
from tests.service.serving import WAIT_S, wait_until
from tests.service.test_jobs import Http, events
from tests.tiny import PROMPT

# replicas and clients share the machine with other tests
pytestmark = pytest.mark.flaky(reruns=2)
CLIENTS, EACH = 20, 10
MOST_REPLICA_BYTES = 1 << 30
REPLICA, INGRESS = "ServeReplica:intravisto:models", "ServeReplica:intravisto:ingress"
WHERE = re.compile(r"--gcs-address=(\S+)")


class Cluster:
    """`intravisto serve --replicas 2` as a process of its own."""

    def __init__(self, url: str, process: psutil.Process) -> None:
        self.url, self.process = url, process

    def find(self, name: str, n: int) -> list[psutil.Process]:
        """The cluster's processes of that name, once there are so many."""

        def look() -> list[psutil.Process]:
            found = [each for each in self.process.children(recursive=True) if name in command_of(each)]
            return found if len(found) == n else []

        return wait_until(look)

    @property
    def address(self) -> str:
        """Where other programs join the cluster: on this machine there may be others."""
        commands = [command_of(each) for each in self.process.children(recursive=True)]
        return next(found[1] for found in map(WHERE.search, commands) if found)


def command_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def connect(url: str) -> Any:
    return iv.connect(url, patience=WAIT_S)


@pytest.fixture(scope="session")
def shared_cluster(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Path]]:
    """One cluster, whatever processes the tests of this file are divided over; and the folder that they share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cluster"
    folder.mkdir(exist_ok=True)
    with using(folder, tiny_llama) as (url, process):

        def come_up() -> bool:
            assert process.is_running(), (folder / "log").read_text(errors="replace")[-3000:]
            with suppress(iv.ServiceError):
                return bool(iv.connect(url, patience=1.0))
            return False

        wait_until(come_up)
        yield Cluster(url, process), folder


@pytest.fixture
def cluster(shared_cluster: tuple[Cluster, Path]) -> Iterator[Cluster]:
    """The cluster, with both replicas, for one test at a time."""
    with FileLock(shared_cluster[1] / "turn"):
        shared_cluster[0].find(REPLICA, 2)
        yield shared_cluster[0]


@pytest.fixture
def engine(cluster: Cluster) -> iv.Engine:
    made: iv.Engine = connect(cluster.url)
    return made


def make_long_grid() -> iv.PatchingRequest:
    """A grid over many pairs, which takes seconds."""
    text = "b c!ab d~abcab !~d" * 2
    tails = [text[i:] + text[:i] for i in range(12)]
    pairs = [[first + tail for tail in tails] for first in "ac"]
    return iv.PatchingRequest(*pairs, target="a", contrast="b", what="resid_pre")


def count_cells(told: dict[str, Any]) -> int:
    """How many cells of a grid were run when this was told of it; 0 while its prompts are read."""
    return int(told["done"]) if told.get("text") == TEXT else 0


def ask(url: str, number: int, here: iv.Engine) -> None:
    """One client's mixed requests; each answer is that of a model that is open here."""
    there = connect(url)
    for i in range(EACH // 5):
        text = "abc!"[number % 4 :] + "ab" * (1 + (number + i) % 5)
        session = f"client {number}"
        runs = [e.submit(iv.TraceRequest(text, iv.Generation(2)), session=session).result() for e in (there, here)]
        a, b = runs
        assert [t.id for t in a.tokens] == [t.id for t in b.tokens]
        # runs that wait share a pass, whose last bits may differ (docs/methods.md §11)
        assert np.allclose(a.heatmap().logits, b.heatmap().logits, atol=1e-5)
        assert np.allclose(a.shares().mlp, b.shares().mlp, atol=1e-5)
        assert np.allclose(a.logits(), b.logits(), atol=1e-5)
        edits = [run.edit(iv.Ablate("mlp_out", 1, "all")).logits() for run in runs]
        assert np.allclose(*edits, atol=1e-5)


def test_twenty_clients_at_once_are_all_answered_right(cluster, case):
    here = case("llama").engine
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda n: ask(cluster.url, n, here), range(CLIENTS)))
    replicas = cluster.find(REPLICA, 2)
    assert all(each.memory_info().rss < MOST_REPLICA_BYTES for each in replicas)


def test_a_killed_replica_costs_a_delay(cluster, engine):
    texts = [PROMPT[:i] for i in range(1, 7)]
    traces = [engine.trace(text, max_new_tokens=2) for text in texts]
    edited = traces[0].edit(iv.Ablate("attn_out", 1, "all"))
    before = [trace.logits().tobytes() for trace in (*traces, edited)]
    job = engine.submit(iv.SaliencyView(traces[5].id, method="integrated_gradients", steps=500))
    cluster.find(REPLICA, 2)[0].kill()
    assert [trace.logits().tobytes() for trace in (*traces, edited)] == before
    assert job.result(WAIT_S).scores.shape == (len(traces[5].tokens),)


def test_a_killed_ingress_costs_a_delay(cluster, engine):
    trace = engine.trace(PROMPT, max_new_tokens=2)
    before = trace.logits().tobytes()
    job = engine.submit(iv.SaliencyView(trace.id, method="integrated_gradients", steps=300))
    (ingress,) = cluster.find(INGRESS, 1)
    ingress.kill()
    assert job.result(WAIT_S).scores.shape == (len(trace.tokens),)
    assert trace.logits().tobytes() == before


def test_a_request_sent_again_after_the_ingress_was_killed_runs_once(cluster):
    ask = Http(cluster.url)
    run = {"request": json.loads(iv.to_json(iv.TraceRequest(PROMPT, iv.Generation(4))))}
    bodies = {"ended": run, "at work": {"request": json.loads(iv.to_json(make_long_grid()))}}
    # names of this run of the test alone: run again, it would be answered with what there is
    keys = {key: f"{key} {uuid.uuid4()}" for key in bodies}

    def post(key: str) -> str:
        return str(json.loads(ask("POST", "/v1/jobs", bodies[key], Idempotency_Key=keys[key])[2])["id"])

    ids = {"ended": post("ended")}
    before = ask.result(ids["ended"])[2]
    ids["at work"] = post("at work")

    def look() -> int:
        told = json.loads(ask("GET", f"/v1/jobs/{ids['at work']}")[2])
        assert told["state"] in ("queued", "running"), "the grid ended before anything could be killed"
        return count_cells(told)

    done = wait_until(look)
    (ingress,) = cluster.find(INGRESS, 1)
    ingress.kill()

    def send(key: str) -> str:
        with suppress(OSError, http.client.HTTPException, KeyError, ValueError):
            return post(key)
        return ""

    assert {key: wait_until(lambda key=key: send(key)) for key in bodies} == ids
    # a second run would be another trace
    assert ask.result(ids["ended"])[2] == before
    ask.result(ids["at work"])
    found = events(ask("GET", f"/v1/jobs/{ids['at work']}/events")[2])
    told = [n for _, _, body in found if (n := count_cells(body))]
    assert told[0] >= done
    assert told == sorted(told)


def test_a_grid_grows_in_sight_of_a_client_of_the_cluster(cluster, engine):
    job = engine.submit(make_long_grid())
    partial = wait_until(lambda: job.progress.partial if not job.state.ended else "ended")
    assert partial != "ended"
    whole = job.result(WAIT_S)
    assert type(partial) is type(whole)
    known = ~np.isnan(partial.effects)
    assert 0 < known.sum() < whole.effects.size
    assert np.array_equal(partial.effects[known], whole.effects[: len(partial.effects)][known])


def test_a_killed_client_leaves_the_others_in_peace(cluster, engine):
    lines = (
        f"import intravisto_core as iv; e = iv.connect({cluster.url!r}, patience={WAIT_S}); t = e.trace('ab');"
        "job = e.submit(iv.SaliencyView(t.id, method='integrated_gradients', steps=1000)); print('on', flush=True);"
        "job.result()"
    )
    client = subprocess.Popen([sys.executable, "-c", lines], stdout=subprocess.PIPE, cwd=ROOT)
    assert client.stdout is not None
    assert client.stdout.readline() == b"on\n"
    client.kill()
    client.wait()
    client.stdout.close()
    assert engine.trace("ab").shares().attention.shape[1] == len(engine.tokenize("ab"))


def test_a_batch_that_was_killed_goes_on_on_the_cluster(cluster, tiny_llama, tmp_path):
    texts = ["ab" * (1 + i % 9) for i in range(96)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(f'"{text}"' for text in texts))
    out = tmp_path / "out"
    command: list[Any] = [sys.executable, "-m", "intravisto_core", "batch", tmp_path / "prompts.jsonl"]
    command += ["--model", tiny_llama, "--views", "shares", "--out", out]
    running: dict[str, Any] = {"cwd": ROOT, "env": {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **running) as first:
        while not list(out.glob("parts/*.parquet")) and first.poll() is None:
            time.sleep(0.01)
        first.kill()
    again = [*command, "--workers", "2", "--address", cluster.address]
    # Ray begins a cluster of this machine with a token of this user, and tells it to no address that was given
    running["env"] |= {"RAY_AUTH_MODE": "token"}
    done = subprocess.run(again, capture_output=True, text=True, timeout=WAIT_S, **running)
    assert done.returncode == 0, done.stderr[-2000:]
    tables = [pq.read_table(path) for path in sorted(out.glob("parts/*.parquet"))]
    assert [text for table in tables for text in table["prompt"].to_pylist()] == texts
    assert not any(error for table in tables for error in table["error"].to_pylist())
