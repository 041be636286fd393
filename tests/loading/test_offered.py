"""The list of models: known ones, those in the cache, or what a deployment's file fixes."""

from __future__ import annotations

import pytest

import intravisto_core as iv
from intravisto_core.models.remote import hub as hub_module
from intravisto_core.models.remote.hub import snapshot
from intravisto_core.progress import quiet


def test_the_known_models(monkeypatch):
    monkeypatch.delenv("INTRAVISTO_MODELS_FILE", raising=False)
    models = iv.offered_models()
    assert models[0].spec == iv.ModelSpec("demo")
    assert not iv.offer_is_closed()
    names = [model.name for model in models]
    for name in ("GPT-2 XL", "GPT-J 6B", "Llama 3 8B, 4 bit", "Mistral 7B Instruct v0.2", "Gemma 7B", "OpenLLaMA 7B"):
        assert name in names
    assert len(names) == len(set(names))
    assert all(hub_module.is_id(model.spec.source) for model in models[1:])


def test_models_in_the_cache(hub):
    assert iv.cached_models() == ()
    snapshot("owner/sharded", None, None, quiet)
    here = snapshot("tiny", None, None, quiet)
    found = iv.cached_models()
    assert [(model.spec.source, model.group) for model in found] == [("owner/sharded", "cached"), ("tiny", "cached")]
    assert [model.name for model in iv.offered_models() if model.here] == ["owner/sharded", "tiny"]
    hub.repositories["openai-community/gpt2"] = hub.repositories["tiny"]
    snapshot("openai-community/gpt2", None, None, quiet)
    assert [model.name for model in iv.offered_models() if model.here] == ["GPT-2 small", "owner/sharded", "tiny"]
    (hub_module.cached("openai-community/gpt2") / "model.safetensors").unlink()
    (here / "model.safetensors").unlink()
    assert [model.spec.source for model in iv.cached_models()] == ["owner/sharded"]
    assert iv.offered_models()[-1].spec.source == "owner/sharded"


def test_a_file_fixes_the_list(tmp_path, monkeypatch):
    file = tmp_path / "models.toml"
    file.write_text(
        '[[model]]\nsource = "demo"\n\n[[model]]\nsource = "google/gemma-2b"\nquantisation = "nf4"\nname = "Gemma"\n'
    )
    monkeypatch.setenv("INTRAVISTO_MODELS_FILE", str(file))
    assert iv.offer_is_closed()
    demo, gemma = iv.offered_models()
    assert demo.spec == iv.ModelSpec("demo")
    assert (gemma.name, gemma.spec.quantisation, gemma.gated, gemma.group) == ("Gemma", "nf4", True, "offered")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[model]\n", "TOML"),
        ("[other]\n", "model"),
        ('[[model]]\nname = "nameless"\n', "source"),
        ('[[model]]\nsource = "demo"\ntoken = "hf_secret"\n', "source and some of"),
        ('[[model]]\nsource = "demo"\ndtype = "float8"\n', "float8"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, text, said):
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(iv.ModelError, match=said) as caught:
        iv.offered_models(tmp_path / "models.toml")
    assert "hf_secret" not in str(caught.value)
    with pytest.raises(iv.ModelError, match="TOML"):
        iv.offered_models(tmp_path / "none.toml")
