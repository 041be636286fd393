"""Who may use a service and how much, and what a cluster is planned to be: decided before anything runs."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

import intravisto_core as iv
from intravisto_core.cli import main
from intravisto_core.service.clients import find_risks, read_clients
from intravisto_core.service.limits import Allowance, Usage
from intravisto_core.service.placement import (
    Group,
    check_devices,
    check_gpus,
    group_models,
    name_models,
    read_gigabytes,
)
from tests.processes import free_port
from tests.service.test_jobs import ALICE, BOB


def test_what_was_used_comes_back_evenly():
    now = [0.0]
    usage = Usage(Allowance(jobs=2, seconds=3600), lambda: now[0])
    usage.charge(seconds=3600 + 600)
    with pytest.raises(iv.BusyError) as caught:
        usage.check()
    assert caught.value.after == pytest.approx(601)
    now[0] = 601.0
    usage.check()
    usage.open_jobs = 2
    with pytest.raises(iv.BusyError, match="at most 2 at once"):
        usage.check()


def test_a_file_of_tokens(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# ours\nalice {ALICE} jobs=3 tokens=1000\n\nbob {BOB}\n")
    clients = read_clients(path, Allowance(jobs=9))
    assert clients.find(f"Bearer {ALICE}", None) == "alice"
    assert clients.usage("alice").allowance == Allowance(jobs=3, tokens=1000)
    assert clients.usage("bob").allowance == Allowance(jobs=9)
    for text in ("", "alice short", f"a/b {ALICE}", f"alice {ALICE}\nalice {BOB}", f"alice {ALICE} jobs=many"):
        path.write_text(text)
        with pytest.raises(iv.RequestError, match="token file") as caught:
            read_clients(path, Allowance())
        assert ALICE not in str(caught.value)


def test_the_command_plans_a_cluster(monkeypatch, tiny_llama):
    from intravisto_core.service import cluster

    planned: list[Any] = []
    monkeypatch.setattr(cluster, "run_cluster", lambda *given: planned.append(given))
    port = free_port()
    words = ["--replicas", "1-3", "--memory", "16", "--gpu-memory", "24", "--client-jobs", "5", "--address", "auto"]
    words += ["--port", str(port)]
    assert main(["serve", "--model", str(tiny_llama), *words]) == 0
    ((plan, *where),) = planned
    assert (plan.least, plan.most, plan.memory, plan.gpu_memory) == (1, 3, 16 * 10**9, 24 * 10**9)
    assert (plan.allowance.jobs, where) == (5, ["127.0.0.1", port, "auto"])


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens to."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


REFUSED = {
    "a port that is taken": (["--port", "{taken}"], "port: expected an address of this machine.*Choose another"),
    "another machine's address": (["--host", "192.0.2.1", "--tokens", "{tokens}"], "port: expected an address of this"),
    "no tokens for others": (["--host", "0.0.0.0"], "Give --tokens FILE"),
    "no file of tokens": (["--tokens", "{nonesuch}"], "token file: expected a file .*; got 'No such file"),
    "an empty file of tokens": (["--tokens", "{empty}"], "token file: expected at least one line: name token"),
    "a folder of tokens": (["--tokens", "{folder}"], "token file: expected a file"),
    "a model that is not there": (["--model", "{nonesuch}"], "nonesuch"),
    "a model twice": (["--model", "demo", "--model", "demo"], "models: expected every one under its own name"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("replicas", [[], ["--replicas", "1"]])
def test_what_cannot_be_served_is_refused_before_it_begins(name, replicas, taken, tmp_path, capsys):
    words, message = REFUSED[name]
    (tmp_path / "empty").touch()
    (tmp_path / "tokens").write_text(f"alice {ALICE}\n")
    places = {each: tmp_path / each for each in ("empty", "nonesuch", "tokens")}
    words = [word.format(taken=taken, folder=tmp_path, **places) for word in words]
    assert main(["serve", "--port", str(free_port()), *replicas, *words]) == 2
    told = capsys.readouterr()
    assert not told.out
    assert re.search(message, told.err)


def test_a_file_of_tokens_that_others_may_read_is_named(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"alice {ALICE}\n")
    path.chmod(0o600)
    assert find_risks(path) == find_risks(None) == []
    path.chmod(0o640)
    assert find_risks(path) == [f"token file: others on this machine may read or change {path}; chmod 600 {path}"]


@pytest.mark.parametrize("words", [["--gpu-memory", "24"], ["--replicas", "1", "--gpu-memory", "0"]])
def test_the_command_refuses_gpus_that_no_replica_takes(monkeypatch, capsys, tiny_llama, words):
    from intravisto_core.cli import main
    from intravisto_core.service import cluster, server

    monkeypatch.setattr(cluster, "run_cluster", lambda *given: pytest.fail("it began to serve"))
    monkeypatch.setattr(server, "make_server", lambda *given, **how: pytest.fail("it began to serve"))
    assert main(["serve", "--model", str(tiny_llama), *words]) != 0
    assert "gpu_memory: expected" in capsys.readouterr().err


def test_replicas_see_the_gpus_that_they_asked_for(tiny_llama):
    from intravisto_core.service import cluster

    def options(gpu_memory: int | None) -> dict[str, Any]:
        plan = cluster.Plan(name_models([iv.ModelSpec(str(tiny_llama))]), gpu_memory=gpu_memory)
        (group,) = cluster.plan_groups(plan)
        return dict(cluster._deploy(plan, group, 0)._bound_deployment.ray_actor_options)

    on_processors, on_gpus = options(None), options(24 * 10**9)
    assert on_processors["runtime_env"]["env_vars"] == {"CUDA_VISIBLE_DEVICES": ""}
    assert not on_processors.get("num_gpus")
    assert on_gpus["num_gpus"] == 1
    assert "CUDA_VISIBLE_DEVICES" not in on_gpus.get("runtime_env", {}).get("env_vars", {})


def test_a_plan_for_devices_that_are_not_there_is_refused():
    on = {device: {"m": iv.ModelSpec("demo", device_map=device)} for device in ("auto", "cpu", "cuda")}
    for allowed, on_gpus in ((("auto", "cpu"), False), (("auto", "cuda"), True)):
        for device, specs in on.items():
            if device in allowed:
                check_devices(specs, on_gpus)
            else:
                with pytest.raises(iv.RequestError, match="device_map of m"):
                    check_devices(specs, on_gpus)
    groups = [Group(("a",), 10, 1), Group(("b",), 100, 3)]
    check_gpus(groups, 2, 8.0)
    with pytest.raises(iv.RequestError, match="8 for 2 replicas of each group of models; got 7"):
        check_gpus(groups, 2, 7.0)
    check_gpus([Group(("a",), 10)], 5, 0.0)


def test_sizes_are_gigabytes_above_nothing():
    assert read_gigabytes("memory", None) is None
    assert read_gigabytes("memory", "1.5") == read_gigabytes("memory", 1.5) == 1_500_000_000
    for wrong in ("many", 0, -1.0, float("nan"), float("inf")):
        with pytest.raises(iv.RequestError, match="memory: expected gigabytes"):
            read_gigabytes("memory", wrong)


def test_models_share_processes_by_their_size():
    groups = group_models({"a": 60, "b": 50, "c": 40, "d": 30, "e": 200}, 100)
    assert [g.names for g in groups] == [("e",), ("a", "c"), ("b", "d")]
    assert [g.nbytes for g in groups] == [200, 100, 80]
    assert [g.names for g in group_models({"a": 60, "b": 50}, None)] == [("a", "b")]
    (large,) = group_models({"a": 140}, None, gpu_bytes=80)
    assert large.gpus == 3, "140 over GPUs that hold 64 of weights each"
    with pytest.raises(iv.RequestError, match="under its own name"):
        name_models([iv.ModelSpec("/a/x"), iv.ModelSpec("/b/x")])
