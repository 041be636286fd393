"""Dictionaries from the Hub: the files of one folder and no others, kept, found again offline."""

from __future__ import annotations

import pytest
from huggingface_hub import constants

import intravisto_core as iv
from intravisto_core.models.remote import folder_files
from tests.dictionaries import make_arrays, write_sae, write_transcoders
from tests.loading.fake_hub import GOOD_TOKEN


@pytest.fixture
def engine(case):
    found = case("llama").engine
    yield found
    for card in found.dictionaries:
        found.remove_dictionary(card.name)


def test_a_folder_of_a_repository(hub, engine, tmp_path, monkeypatch):
    name, there = engine.model.name, tmp_path / "owner"
    write_sae(there / "layer_1" / "res", make_arrays(32, 20), name, "blocks.1.hook_resid_post")
    write_sae(there / "layer_2" / "res", make_arrays(32, 20), name, "blocks.2.hook_resid_post")
    (there / "layer_3").mkdir()
    (there / "layer_3" / "sae.pt").write_bytes(b"no")
    hub.repositories["owner/saes"] = there
    hub.gated.add("owner/saes")
    with pytest.raises(iv.HubError) as caught:
        engine.add_dictionary("owner/saes/layer_1/res")
    assert caught.value.kind == "gated"
    told: list[str] = []
    card = engine.add_dictionary(
        "owner/saes/layer_1/res", token=GOOD_TOKEN, report=lambda done, total, doing: told.append(doing)
    )
    assert (card.name, card.source, card.layers) == ("res", "owner/saes/layer_1/res", (1,))
    assert any("sae_weights.safetensors, file 2 of 2" in line for line in told)
    assert not hub.asked("layer_2/res/")
    with pytest.raises(iv.ModelError, match=r"layer_3: expected a dictionary in safetensors or npz; there is none"):
        engine.add_dictionary("owner/saes/layer_3", token=GOOD_TOKEN)
    asked = len(hub.requests)
    monkeypatch.setattr(folder_files, "is_offline_mode", lambda: True)
    assert engine.add_dictionary("owner/saes/layer_1/res").name == "res"
    assert len(hub.requests) == asked
    with pytest.raises(iv.HubError, match="offline"):
        engine.add_dictionary("owner/saes/layer_2/res")
    assert constants.HF_HUB_CACHE.startswith(str(tmp_path))


def test_one_layer_of_a_set(hub, engine, tmp_path):
    layers = {layer: make_arrays(32, 20, seed=layer) for layer in range(3)}
    there = write_transcoders(tmp_path / "set", layers, engine.model.name, "hook_resid_mid", "hook_mlp_out")
    hub.repositories["owner/set"] = there
    card = engine.add_dictionary("owner/set@main", layers=[1])
    assert (card.name, card.layers) == ("set", (1,))
    assert not hub.asked("layer_2.safetensors")
    assert engine.add_dictionary("owner/set").layers == (0, 1, 2)
