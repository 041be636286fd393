"""What any model will take, before anything of it is loaded, or its weights downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from intravisto_core.models import adapters
from intravisto_core.models.adapter_merging import add_to
from intravisto_core.models.files import checkpoint
from intravisto_core.models.files.checkpoint import TensorHeader
from intravisto_core.models.files.guard import refusing_damage
from intravisto_core.models.gguf import gguf_files
from intravisto_core.models.gguf.gguf import check_asked, check_kinds
from intravisto_core.models.gguf.header import GgufHeader, read_header
from intravisto_core.models.gguf.memory import estimate_gguf
from intravisto_core.models.gguf.settings import read_settings
from intravisto_core.models.memory import estimate
from intravisto_core.models.remote import hub
from intravisto_core.models.source import is_local, locate, name
from intravisto_core.records.memory import MemoryEstimate
from intravisto_core.request import ModelSpec


def estimate_memory(
    source: str | Path | ModelSpec,
    prompt_tokens: int = 0,
    new_tokens: int = 0,
    sites: Any = None,
    token: str | None = None,
) -> MemoryEstimate:
    """What loading a model and running such a prompt will take, before anything is loaded or its weights downloaded.

    sites: captured, None for all. token: for the Hub, as `open_model` takes it.

    Raises:
        ModelError: the model cannot be had or read.
    """
    spec = source if isinstance(source, ModelSpec) else ModelSpec(str(source))
    with refusing_damage(spec.source):
        return _estimate(spec, (prompt_tokens, new_tokens, sites), token)


def _estimate(spec: ModelSpec, run: tuple[int, int, Any], token: str | None) -> MemoryEstimate:
    source, file = gguf_files.named(spec)
    if is_local(source):
        found = _looked(locate(spec), spec)
    elif hub.is_id(source):
        found = hub.look(source, spec.revision, token, file)
    else:
        found = locate(spec), []
    if isinstance(found, GgufHeader):
        return _of_gguf(spec, found, spec.source, run)
    if adapters.is_adapter(found[0]):
        return _of_adapter(spec, found[0], token, run)
    return estimate(spec, *found, *run)


def _looked(place: Path, spec: ModelSpec) -> tuple[Path, list[TensorHeader]] | GgufHeader:
    if place.is_file():
        return read_header(place, name(spec, place))
    return place, [] if adapters.is_adapter(place) else checkpoint.headers(checkpoint.weight_files(place))


def _of_adapter(spec: ModelSpec, folder: Path, token: str | None, run: tuple[int, int, Any]) -> MemoryEstimate:
    """Of its base, and where its weights are here already, of them too."""
    config = adapters.read_config(folder)
    base = adapters.base_of(config, spec, spec.source)
    found = estimate_memory(base, *run, token=token)
    here = (folder / adapters.WEIGHTS).is_file()
    return add_to(found, adapters.read_adapter(folder, spec) if here else None)


def _of_gguf(spec: ModelSpec, header: GgufHeader, called: str, run: tuple[int, int, Any]) -> MemoryEstimate:
    check_asked(spec, called)
    check_kinds(header, called)
    return estimate_gguf(spec, header, read_settings(header, called), *run)
