"""Where weights go, on machines that are only pretended to have GPUs."""

from __future__ import annotations

import pytest
import torch

import intravisto_core as iv
from intravisto_core.models import load, placement
from intravisto_core.models.placement import place
from tests import tiny

GB = 10**9


@pytest.fixture
def gpus(monkeypatch):
    """`gpus([20, 30], host=50)`: so many GB free on each."""

    def pretend(free: list[float], host: float) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(free))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
        at = lambda device: host if device.type == "cpu" else free[device.index or 0]  # noqa: E731
        monkeypatch.setattr(placement, "free_bytes", lambda device: int(at(device) * GB))

    return pretend


def test_a_model_goes_to_the_gpu_that_has_room(gpus):
    gpus([20], host=50)
    for device_map in ("auto", "cuda"):
        found = place(device_map, None, 15 * GB)
        assert (str(found.device), found.options, found.scratch) == ("cuda:0", {"device_map": {"": "cuda:0"}}, None)
    assert place("cpu", None, 15 * GB).options == {"device_map": {"": "cpu"}}


def test_a_large_one_is_spread_over_gpus_host_and_disk(gpus):
    gpus([20, 30], host=50)
    found = place("auto", None, 60 * GB)
    assert str(found.device) == "cuda:0"
    assert found.options["device_map"] == "auto"
    assert found.options["max_memory"] == {0: 17 * GB, 1: 25.5 * GB, "cpu": 42.5 * GB}
    assert found.options["offload_folder"] == found.scratch.name


def test_packed_weights_are_never_read_piece_by_piece(gpus):
    gpus([20, 30], host=50)
    over_two = place("auto", None, 40 * GB, packed=True)
    assert over_two.options["max_memory"] == {0: 17 * GB, 1: 25.5 * GB}
    too_large = place("auto", None, 45 * GB, packed=True)
    assert (str(too_large.device), too_large.options) == ("cpu", {"device_map": {"": "cpu"}})


def test_without_a_gpu(gpus):
    gpus([], host=50)
    assert place("auto", None, 60 * GB).options == {"device_map": {"": "cpu"}}
    with pytest.raises(iv.RequestError, match='Use "cpu"'):
        place("cuda", None, GB)


@pytest.mark.parametrize(("host", "second"), [(50, "cpu"), (1, "disk")])
def test_blocks_beside_a_gpu_are_in_host_memory_where_they_fit(gpus, host, second):
    gpus([20], host=host)
    where = place("offload", tiny.CONFIGS["Gemma-2"](), 2 * GB).options["device_map"]
    assert {name for name, device in where.items() if device == second} == {"model.layers"}
    assert {device for name, device in where.items() if name != "model.layers"} == {"cuda:0"}


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_every_parameter_has_one_place(name):
    network = placement.empty(tiny.CONFIGS[name]())
    where = placement.blocks_apart(network, "cpu", "disk")
    tables = {id(m) for m in (network.get_input_embeddings(), network.get_output_embeddings())}
    for path, module in network.named_modules():
        own = [prefix for prefix in where if path == prefix or path.startswith(f"{prefix}.")]
        assert len(own) <= 1
        if next(module.parameters(recurse=False), None) is not None:
            assert len(own) == 1, path
        if id(module) in tables:
            assert where[own[0]] == "cpu"
    assert list(where.values()).count("disk") == 1


def test_weights_come_to_where_the_captures_are(tiny_gpt2):
    """Those of the blocks that are elsewhere: stood in for by a device that keeps no numbers."""
    model = load(iv.ModelSpec(str(tiny_gpt2)))
    model.weights._device = torch.device("meta")
    rows = torch.tensor([3, 1])
    for found in (
        model.weights.get("w_o.1"),
        model.weights.get("embed", rows),
        model.weights.get("unembed", slice(2, 5)),
        model.weights.bias("w_out.0"),
    ):
        assert found.device.type == "meta"
    assert model.norm.to(torch.device("meta")).scale.device.type == "meta"
