"""Where GGUF files come from: a path, a folder, the Hub, Ollama, LM Studio; and where they are offered."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

import intravisto_core as iv
from intravisto_core.models import ollama
from intravisto_core.models.gguf import header
from intravisto_ui.session import settings
from tests.loading.gguf_writing import of_folder


@pytest.fixture(scope="module")
def file(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return of_folder(tiny_llama, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def _opened(source: object, **options: object) -> str:
    engine = iv.open_model(source, **options)
    name = engine.model.name
    engine.close()
    return name


def test_a_folder_with_one_file_and_with_several(file, tmp_path):
    shutil.copy(file, tmp_path / "first.gguf")
    shutil.copy(file, tmp_path / "mmproj-first.gguf")
    assert _opened(tmp_path) == "first"
    shutil.copy(file, tmp_path / "second.Q8_0.gguf")
    with pytest.raises(iv.ModelError, match=r"it has first.gguf, second.Q8_0.gguf. Name it: .*file='first.gguf'"):
        iv.open_model(tmp_path)
    assert _opened(iv.ModelSpec(str(tmp_path), file="second.Q8_0.gguf")) == "second.Q8_0"
    with pytest.raises(iv.ModelError, match=r"expected a file third.gguf; it has first.gguf"):
        iv.open_model(tmp_path, file="third.gguf")


def test_a_folder_with_safetensors_too(file, tiny_llama, tmp_path):
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "both"))
    shutil.copy(file, folder / "small.gguf")
    assert _opened(folder) == "both"
    assert _opened(folder, file="small.gguf") == "small"


@pytest.mark.parametrize("name", ["../tiny.gguf", "/tiny.gguf", "a//b.gguf", "model.safetensors", "a\\b.gguf", 3])
def test_names_that_lead_out_of_the_folder(name):
    with pytest.raises(iv.RequestError, match="file: expected a name such as"):
        iv.ModelSpec("folder", file=name)


def test_links_that_lead_out_of_the_folder(file, tmp_path):
    (tmp_path / "link.gguf").symlink_to(file)
    with pytest.raises(iv.ModelError, match=r"link.gguf is a link that leads out of it"):
        iv.open_model(tmp_path)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "x.gguf")
    with pytest.raises(iv.ModelError, match="it is a pipe or a device"):
        iv.open_model(tmp_path / "x.gguf")


def test_other_files(file, tiny_llama, tmp_path):
    with pytest.raises(iv.ModelError, match=r"another kind of file. Give the folder that it lies in"):
        iv.open_model(tiny_llama / "model.safetensors")
    with pytest.raises(iv.RequestError, match="file: expected None where the source is one model already"):
        iv.open_model(file, file="tiny.gguf")
    with pytest.raises(iv.RequestError, match="revision: expected None for what is on this machine"):
        iv.open_model(file, revision="main")


def test_the_hash_is_of_the_content(file, tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(file.read_bytes())
    engines = [iv.open_model(f) for f in (file, other)]
    assert len({e.trace((1, 5)).fingerprint for e in engines}) == 1
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    other.write_bytes(content)
    engines.append(iv.open_model(other))
    assert len({e.trace((1, 5)).fingerprint for e in engines}) == 2
    for engine in engines:
        engine.close()


def test_a_file_of_the_hub(hub, file, tiny_llama, tmp_path, monkeypatch):
    several = tmp_path / "several"
    (several / "Q8").mkdir(parents=True)
    for name in ("a.gguf", "b.gguf", "Q8/c.gguf"):
        shutil.copy(file, several / name)
    hub.repositories["owner/several"] = several
    with pytest.raises(iv.ModelError, match=r"owner/several: expected one GGUF file.*Q8/c.gguf, a.gguf, b.gguf"):
        iv.open_model("owner/several")
    monkeypatch.setattr(header, "FIRST_PIECE", 2000)
    found = iv.estimate_memory("owner/several:b.gguf")
    assert found.weights == iv.estimate_memory(file).weights
    assert not any((tmp_path / "cache").rglob("*.gguf"))
    assert _opened("owner/several:b.gguf") == "owner/several:b.gguf"
    assert _opened(iv.ModelSpec("owner/several", file="Q8/c.gguf")) == "owner/several:Q8/c.gguf"
    asked = len(hub.asked("a.gguf"))
    assert asked == 0
    with pytest.raises(iv.ModelError, match=r"expected a file z.gguf; it has"):
        iv.open_model("owner/several:z.gguf")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert _opened("owner/several:b.gguf") == "owner/several:b.gguf"
    assert iv.estimate_memory("owner/several:b.gguf").weights == found.weights


def test_the_only_file_of_a_repository_and_one_beside_safetensors(hub, file, tiny_llama, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(file, alone)
    hub.repositories["owner/alone"] = alone
    assert _opened("owner/alone") == "owner/alone"
    both = Path(shutil.copytree(tiny_llama, tmp_path / "both"))
    shutil.copy(file, both)
    hub.repositories["owner/both"] = both
    assert _opened("owner/both") == "owner/both"
    assert not hub.asked("owner/both/resolve/main/tiny.gguf")
    assert _opened("owner/both", file="tiny.gguf") == "owner/both:tiny.gguf"


def test_a_damaged_file_of_the_hub_is_said_before_it_is_downloaded(hub, file, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "x.gguf").write_bytes(b"GGUF" + bytes(5000))
    hub.repositories["owner/damaged"] = damaged
    with pytest.raises(iv.ModelError, match=r"owner/damaged: x.gguf: expected a GGUF file; it is damaged.*version 0"):
        iv.estimate_memory("owner/damaged")


def _install(folder: Path, name: str, content: bytes, *, kind: str = ollama.MODEL_LAYER, size: int = 0) -> Path:
    """As `ollama pull` leaves a model."""
    digest = hashlib.sha256(content).hexdigest()
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    (folder / "blobs" / f"sha256-{digest}").write_bytes(content)
    manifest = folder / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layers = [{"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "0" * 64, "size": 3}]
    layers.append({"mediaType": kind, "digest": f"sha256:{digest}", "size": size or len(content)})
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return manifest


@pytest.fixture
def ollamas(home: Path, file: Path) -> Path:
    """Ollama's folder with a model from its library in two tags, and one of somebody else."""
    folder = home / "ollama"
    for name in ("library/tiny/latest", "library/tiny/1b", "somebody/own/latest"):
        _install(folder, f"registry.ollama.ai/{name}", file.read_bytes())
    _install(folder, "hf.co/owner/name/Q8_0", file.read_bytes())
    return folder


@pytest.mark.parametrize("name", ["tiny", "tiny:1b", "somebody/own", "hf.co/owner/name:Q8_0"])
def test_a_model_of_ollama(name, ollamas, file):
    engine, plain = iv.open_model(f"ollama:{name}"), iv.open_model(file)
    assert engine.model.name == f"ollama:{name}"
    assert engine.trace((1, 5)).fingerprint == plain.trace((1, 5)).fingerprint
    engine.close()
    plain.close()


def test_models_of_ollama_that_cannot_be_had(ollamas, file, tmp_path):
    with pytest.raises(iv.ModelError, match=r"Ollama has here \(.*ollama:tiny.*\); got 'ollama:none'.*ollama pull"):
        iv.open_model("ollama:none")
    for name in ("../../x", "a/b/c/d", "", "tiny:../x", "-x"):
        with pytest.raises(iv.ModelError, match="a name of Ollama"):
            iv.open_model(f"ollama:{name}")
    root = "registry.ollama.ai/library"
    _install(ollamas, f"{root}/tuned/latest", file.read_bytes(), kind=ollama.ADAPTER_LAYER)
    with pytest.raises(iv.ModelError, match="it is one with an adapter"):
        iv.open_model("ollama:tuned")
    _install(ollamas, f"{root}/short/latest", b"GGUF", size=99)
    with pytest.raises(iv.ModelError, match="expected a file of 99 bytes, as its manifest says; it has 4"):
        iv.open_model("ollama:short")
    manifest = _install(ollamas, f"{root}/odd/latest", b"GGUF")
    for text in ("{", "[" * 100_000, '{"layers": 3}', '{"layers": [{"digest": "sha256:../../x"}]}', "x" * (1 << 21)):
        manifest.write_text(text)
        with pytest.raises(iv.ModelError, match="a manifest of Ollama that names one model; it names 0"):
            iv.open_model("ollama:odd")
    outside = tmp_path / "outside"
    outside.write_bytes(b"GGUF")
    _install(ollamas, f"{root}/link/latest", b"GGUF")
    blob = ollamas / "blobs" / f"sha256-{hashlib.sha256(b'GGUF').hexdigest()}"
    blob.unlink()
    blob.symlink_to(outside)
    with pytest.raises(iv.ModelError, match="not in Ollama's folder"):
        iv.open_model("ollama:link")


def test_models_of_other_programs_are_offered(ollamas, home, file, monkeypatch):
    monkeypatch.delenv("INTRAVISTO_MODELS_FILE", raising=False)
    studio = home / ".lmstudio" / "models" / "owner" / "repository"
    studio.mkdir(parents=True)
    shutil.copy(file, studio / "tiny.Q8_0.gguf")
    shutil.copy(file, studio / "mmproj-tiny.gguf")
    (studio / "other.gguf").write_bytes(file.read_bytes().replace(b"llama", b"clamp"))
    _install(ollamas, "registry.ollama.ai/library/short/latest", b"GGUF", size=99)
    found = [model for model in iv.offered_models() if model.group in ("ollama", "lm studio")]
    assert [(model.name, model.here) for model in found] == [
        ("hf.co/owner/name:Q8_0 (Ollama)", True),
        ("tiny:1b (Ollama)", True),
        ("tiny (Ollama)", True),
        ("somebody/own (Ollama)", True),
        ("tiny.Q8_0.gguf (LM Studio)", True),
    ]
    for model in found[1:3]:
        iv.open_model(model.spec).close()
    assert _opened(found[-1].spec) == "tiny.Q8_0"


def test_a_public_server_neither_offers_nor_opens_them(ollamas, file, monkeypatch, tmp_path):
    public = settings.read({"INTRAVISTO_PUBLIC": "1"})
    for spec in (iv.ModelSpec(str(file)), iv.ModelSpec("ollama:tiny"), iv.ModelSpec("demo", file="x.gguf")):
        with pytest.raises(iv.ModelError, match="expected one that this server offers"):
            public.check_model(spec)
    allowed = settings.read({"INTRAVISTO_PUBLIC": "1", "INTRAVISTO_MODELS": "demo,ollama:tiny"})
    allowed.check_model(iv.ModelSpec("ollama:tiny"))
    listed = tmp_path / "models.toml"
    listed.write_text('[[model]]\nsource = "demo"\n[[model]]\nsource = "owner/name"\nfile = "x.Q8_0.gguf"\n')
    monkeypatch.setenv("INTRAVISTO_MODELS_FILE", str(listed))
    assert [m.spec for m in iv.offered_models()] == [iv.ModelSpec(), iv.ModelSpec("owner/name", file="x.Q8_0.gguf")]
