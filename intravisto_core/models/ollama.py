"""Models that other programs keep on this machine: Ollama's by their names, LM Studio's by their files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from intravisto_core.errors import ModelError, expected
from intravisto_core.models.gguf.gguf_files import is_gguf, models

PREFIX = "ollama:"
VARIABLE = "OLLAMA_MODELS"
REGISTRY, LIBRARY, LATEST = "registry.ollama.ai", "library", "latest"
MODEL_LAYER, ADAPTER_LAYER = "application/vnd.ollama.image.model", "application/vnd.ollama.image.adapter"
_PART = re.compile(r"[A-Za-z0-9][\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_LARGEST_MANIFEST = 1 << 20
# of Ollama as a service of the system, and of the versions of LM Studio
_PLACES = ("~/.ollama/models", "/usr/share/ollama/.ollama/models")
_LM_STUDIO = ("~/.lmstudio/models", "~/.cache/lm-studio/models")


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A GGUF file that another program keeps here. source: how it is opened."""

    source: str
    name: str
    file: Path


def is_name(source: str) -> bool:
    """Whether a source names a model of Ollama."""
    return source.startswith(PREFIX)


def folders() -> tuple[Path, ...]:
    """Where Ollama may keep its models on this machine: where OLLAMA_MODELS says, else its usual places."""
    named = os.environ.get(VARIABLE, "").strip()
    return (Path(named).expanduser(),) if named else tuple(Path(place).expanduser() for place in _PLACES)


def find(source: str) -> Path:
    """The GGUF file of a model of Ollama, as `ollama list` names it: "ollama:llama3.2", "ollama:llama3.2:1b".

    Raises:
        ModelError: there is none of that name here, or its files are not what its manifest says.
    """
    parts = _parts(source)
    for folder in folders():
        manifest = folder.joinpath("manifests", *parts)
        if _is_there(manifest):
            return _file(manifest, folder, source)
    here = ", ".join(model.source for model in installed()) or "none"
    raise ModelError(
        expected(
            "model", f"one that Ollama has here ({here})", source, f"Fetch it with ollama pull, or check {VARIABLE}"
        )
    )


def _parts(source: str) -> tuple[str, str, str, str]:
    """Registry, owner, name and tag; the usual ones where a name leaves them out."""
    name, _, tag = source.removeprefix(PREFIX).partition(":")
    before = name.split("/")
    parts = (*(REGISTRY, LIBRARY)[: max(0, 3 - len(before))], *before, tag or LATEST)
    if len(parts) != 4 or not all(_PART.fullmatch(part) for part in parts):
        raise ModelError(expected("model", 'a name of Ollama, as "ollama:llama3.2" or "ollama:owner/name:tag"', source))
    registry, owner, last, tag = parts
    return registry, owner, last, tag


def _file(manifest: Path, folder: Path, source: str) -> Path:
    """The file that a manifest names as the model, of the size that it says."""
    layers = _layers(manifest)
    if any(kind == ADAPTER_LAYER for kind, _, _ in layers):
        raise ModelError(
            f"{source}: expected a model alone; it is one with an adapter of Ollama's, which is not read here. Choose "
            "the model that it was made from"
        )
    found = [(digest, size) for kind, digest, size in layers if kind == MODEL_LAYER]
    if len(found) != 1:
        raise ModelError(
            f"{source}: expected a manifest of Ollama that names one model; it names {len(found)}. Fetch it again with "
            "ollama pull"
        )
    digest, size = found[0]
    blob = folder / "blobs" / f"sha256-{digest}"
    if not _is_there(blob) or not blob.resolve().is_relative_to(folder.resolve()):
        raise ModelError(
            f"{source}: expected the file that its manifest names; it is not in Ollama's folder. Fetch it again with "
            "ollama pull"
        )
    if size != (there := blob.stat().st_size):
        raise ModelError(
            f"{source}: expected a file of {size:,} bytes, as its manifest says; it has {there:,}. Fetch it again with "
            "ollama pull"
        )
    return blob


def _is_there(file: Path) -> bool:
    """Whether it is a file; one in a folder that may not be read is none."""
    try:
        return file.is_file()
    except OSError:
        return False


def _layers(manifest: Path) -> list[tuple[str, str, int]]:
    """Kind, SHA-256 and size of the files that a manifest lists; none where it is damaged."""
    try:
        if manifest.stat().st_size > _LARGEST_MANIFEST:
            return []
        listed = json.loads(manifest.read_text(encoding="utf-8"))["layers"]
        found = []
        for layer in listed:
            if digest := _DIGEST.fullmatch(layer["digest"]):
                found.append((str(layer["mediaType"]), digest[1], int(layer["size"])))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return found


def installed() -> Iterator[LocalModel]:
    """Ollama's models on this machine whose files are there."""
    for folder in folders():
        root = folder / "manifests"
        for manifest in sorted(root.glob("*/*/*/*")):
            parts = manifest.relative_to(root).parts
            if not _is_there(manifest) or not all(_PART.fullmatch(part) for part in parts):
                continue
            source = PREFIX + _short(parts)
            try:
                file = _file(manifest, folder, source)
            except (ModelError, OSError):
                continue
            yield LocalModel(source, source.removeprefix(PREFIX), file)


def _short(parts: tuple[str, ...]) -> str:
    """The name as one types it."""
    registry, owner, name, tag = parts
    before = [part for part, usual in ((registry, REGISTRY), (owner, LIBRARY)) if part != usual or registry != REGISTRY]
    return "/".join([*before, name]) + ("" if tag == LATEST else f":{tag}")


def of_lm_studio() -> Iterator[LocalModel]:
    """LM Studio's GGUF files on this machine: owner, repository, file."""
    for place in _LM_STUDIO:
        for folder in sorted(Path(place).expanduser().glob("*/*")):
            for name in models(p.name for p in folder.glob("*") if is_gguf(p.name) and _is_there(p)):
                yield LocalModel(str(folder / name), name, folder / name)
