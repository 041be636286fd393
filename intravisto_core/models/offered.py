"""Which models a list offers: the demo, well-known ones of the Hub, those on this machine; or what a file fixes."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from intravisto_core.architectures import names, refusal
from intravisto_core.errors import IntravistoError, ModelError, expected
from intravisto_core.models import ollama
from intravisto_core.models.files.json_file import parse_object
from intravisto_core.models.gguf.header import peek_architecture
from intravisto_core.models.gguf.settings import FAMILIES
from intravisto_core.models.remote import hub
from intravisto_core.records.memory import size
from intravisto_core.request import ModelSpec

FILE = "INTRAVISTO_MODELS_FILE"
DEMO, CLASSIC, LARGE, RECENT, CACHED, FIXED = "demo", "classic", "large", "recent", "cached", "offered"
OLLAMA, LM_STUDIO = "ollama", "lm studio"
_FIELDS = (*ModelSpec.__dataclass_fields__, "name")


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """One line of a list of models.

    note: its size in words. group: "demo", "classic" (of earlier tools), "large", "recent", "cached" (in the Hub's
    cache on this machine), "ollama" and "lm studio" (GGUF files that these programs keep here) or "offered" (by this
    deployment). gated: its owner asks for acceptance on the Hub first. here: on this machine, so that nothing is
    downloaded.
    """

    spec: ModelSpec
    name: str
    note: str = ""
    group: str = CLASSIC
    gated: bool = False
    here: bool = False


def _known(
    source: str, name: str, note: str, group: str = CLASSIC, *, gated: bool = False, dtype: str = "auto"
) -> OfferedModel:
    return OfferedModel(ModelSpec(source, dtype=dtype), name, note, group, gated)


def _four_bit(model: OfferedModel, note: str) -> OfferedModel:
    spec = replace(model.spec, quantisation="nf4")
    return OfferedModel(spec, f"{model.name}, 4 bit", note, LARGE, model.gated)


_LARGE = (
    # stored in float32, of which twice as much would be needed
    (_known("EleutherAI/gpt-j-6b", "GPT-J 6B", "12 GB", LARGE, dtype="bfloat16"), "4 GB"),
    (_known("meta-llama/Llama-2-7b-hf", "Llama 2 7B", "13 GB", LARGE, gated=True), "4 GB"),
    (_known("meta-llama/Meta-Llama-3-8B", "Llama 3 8B", "16 GB", LARGE, gated=True), "6 GB"),
    (_known("mistralai/Mistral-7B-Instruct-v0.2", "Mistral 7B Instruct v0.2", "14 GB", LARGE, gated=True), "4 GB"),
    (_known("google/gemma-2b", "Gemma 2B", "5 GB", LARGE, gated=True), "2 GB"),
    (_known("google/gemma-7b", "Gemma 7B", "17 GB", LARGE, gated=True), "6 GB"),
    (_known("openlm-research/open_llama_7b", "OpenLLaMA 7B", "13 GB", LARGE), "4 GB"),
)
KNOWN: tuple[OfferedModel, ...] = (
    _known("demo", "Demo model", "comes with the program", DEMO),
    _known("openai-community/gpt2", "GPT-2 small", "124 M · 0.5 GB"),
    _known("openai-community/gpt2-medium", "GPT-2 medium", "355 M · 1.5 GB"),
    _known("openai-community/gpt2-large", "GPT-2 large", "774 M · 3.1 GB"),
    _known("openai-community/gpt2-xl", "GPT-2 XL", "1.6 B · 6.2 GB"),
    _known("EleutherAI/gpt-neo-125m", "GPT-Neo 125M", "0.5 GB"),
    _known("EleutherAI/gpt-neo-1.3B", "GPT-Neo 1.3B", "5.3 GB"),
    _known("EleutherAI/pythia-160m", "Pythia 160M", "0.4 GB"),
    _known("HuggingFaceTB/SmolLM2-135M", "SmolLM2 135M", "0.3 GB", RECENT),
    _known("HuggingFaceTB/SmolLM2-360M-Instruct", "SmolLM2 360M Instruct", "0.7 GB", RECENT),
    _known("Qwen/Qwen2.5-0.5B", "Qwen2.5 0.5B", "1 GB", RECENT),
    _known("Qwen/Qwen3-0.6B", "Qwen3 0.6B", "1.5 GB", RECENT),
    _known("google/gemma-3-270m", "Gemma 3 270M", "0.5 GB", RECENT, gated=True),
    _known("meta-llama/Llama-3.2-1B", "Llama 3.2 1B", "2.5 GB", RECENT, gated=True),
    *(line for model, note in _LARGE for line in (model, _four_bit(model, note))),
)


def offer_is_closed(environment: Mapping[str, str] | None = None) -> bool:
    """Whether a file fixes the list, so that nothing else may be opened here."""
    return bool((os.environ if environment is None else environment).get(FILE, "").strip())


def offered_models(path: str | Path | None = None) -> tuple[OfferedModel, ...]:
    """The list, in its order: a file's, by default that of INTRAVISTO_MODELS_FILE; without one the known ones and
    those on this machine.

    Raises:
        ModelError: the file is not there, or not in its form.
    """
    chosen = path or os.environ.get(FILE, "").strip()
    if chosen:
        return read_offer(Path(chosen))
    cached = {model.spec.source: model for model in cached_models()}
    known = (replace(model, here=model.spec.source in cached) for model in KNOWN[1:])
    others = (model for source, model in cached.items() if source not in {model.spec.source for model in KNOWN})
    return (KNOWN[0], *known, *others, *gguf_models())


def read_offer(path: Path) -> tuple[OfferedModel, ...]:
    """The models that a TOML file lists, a table [[model]] each: source, and what else a ModelSpec has, and a name.

    Raises:
        ModelError: it is not there, or something in it is not known.
    """
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path.name}: expected a TOML file with a table [[model]] for each model; got {type(error).__name__}. "
            f"Check the file that {FILE} names"
        ) from None
    return tuple(_line(entry, path) for entry in listed)


def _line(entry: Any, path: Path) -> OfferedModel:
    if not isinstance(entry, dict) or "source" not in entry or set(entry) - set(_FIELDS):
        got = sorted(entry) if isinstance(entry, dict) else entry
        raise ModelError(f"{path.name}: {expected('model', 'a source and some of ' + ', '.join(_FIELDS[1:]), got)}")
    name = str(entry.get("name") or entry["source"])
    try:
        spec = ModelSpec(**{key: value for key, value in entry.items() if key != "name"})
    except IntravistoError as error:
        raise ModelError(f"{path.name}: {name}: {error}") from None
    gated = any(model.gated for model in KNOWN if model.spec.source == spec.source)
    return OfferedModel(spec, name, "", FIXED, gated)


def cached_models() -> tuple[OfferedModel, ...]:
    """Models that lie whole in the Hub's cache on this machine, and whose config does not rule them out."""
    found = []
    for storage in sorted(Path(constants.HF_HUB_CACHE).glob("models--*")):
        source = storage.name.removeprefix("models--").replace("--", "/")
        here = hub.cached(source) if hub.is_id(source) else None
        if here is not None and _could_be_shown(here):
            nbytes = sum(file.stat().st_size for file in here.glob("*.safetensors"))
            found.append(OfferedModel(ModelSpec(source), source, size(nbytes), CACHED, here=True))
    return tuple(found)


def gguf_models() -> tuple[OfferedModel, ...]:
    """GGUF files that Ollama and LM Studio keep on this machine, of architectures that are read."""
    of_ollama = _of_program(ollama.installed(), OLLAMA, "Ollama")
    return (*of_ollama, *_of_program(ollama.of_lm_studio(), LM_STUDIO, "LM Studio"))


def _of_program(found: Iterable[ollama.LocalModel], group: str, program: str) -> tuple[OfferedModel, ...]:
    return tuple(
        OfferedModel(
            ModelSpec(model.source), f"{model.name} ({program})", size(model.file.stat().st_size), group, here=True
        )
        for model in found
        if peek_architecture(model.file) in FAMILIES
    )


def _could_be_shown(folder: Path) -> bool:
    try:
        config = parse_object((folder / "config.json").read_bytes())
        return config["model_type"] in names() or not (config.get("auto_map") or refusal(config))
    except (OSError, ValueError, KeyError, TypeError):
        return False
