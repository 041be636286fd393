"""What a checkpoint says about generating: the tokens that end a text, and what is asked for but not applied here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from intravisto_core.errors import ModelError
from intravisto_core.models.files.json_file import read_object

NAME = "generation_config.json"
# What changes the distribution or ends a run, with the value that does nothing. Options of sampling are the reader's.
_UNAPPLIED: dict[str, Any] = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "sequence_bias": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "min_length": 0,
    "min_new_tokens": None,
    "stop_strings": None,
    "num_beams": 1,
    "num_return_sequences": 1,
    "guidance_scale": 1.0,
    "penalty_alpha": None,
    "dola_layers": None,
    "watermarking_config": None,
}


@dataclass(frozen=True, slots=True)
class GenerationFile:
    """stop_ids: tokens that end a text. notes: what the file asks for and this program does not do, in words."""

    stop_ids: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def for_transformers(self) -> GenerationConfig:
        """A fresh configuration that has the stop tokens alone."""
        return GenerationConfig(eos_token_id=list(self.stop_ids) or None)


def read_generation(folder: Path, settings: Any, name: str) -> GenerationFile:
    """What a folder's file says; where there is none, what its config says, as transformers has it.

    settings: transformers' configuration of the model. name: how messages call the folder.

    Raises:
        ModelError: the file is no JSON, or its stop tokens are no token ids.
    """
    file = folder / NAME
    if not file.exists():
        texts = settings.get_text_config()
        stated = getattr(settings, "eos_token_id", None)
        return GenerationFile(
            _ids(getattr(texts, "eos_token_id", None) if stated is None else stated, "config.json", name)
        )
    found = read_object(file, name)
    return GenerationFile(_ids(found.get("eos_token_id"), NAME, name), tuple(_unapplied(found)))


def _ids(value: Any, file: str, name: str) -> tuple[int, ...]:
    listed = [] if value is None else value if isinstance(value, list) else [value]
    if not all(type(i) is int for i in listed):
        raise ModelError(
            f"{name}: expected eos_token_id in {file} to be a token id or a list of them; got {str(value)[:80]!r}. "
            "Download the file again"
        )
    return tuple(listed)


def _unapplied(found: Mapping[str, Any]) -> list[str]:
    asked = [key for key, usual in _UNAPPLIED.items() if found.get(key) not in (None, usual, [], {})]
    if not asked:
        return []
    listed = ", ".join(f"{key} {_short(found[key])}" for key in asked)
    return [
        f"its {NAME} asks for {listed}: not applied here, where tokens are drawn from the model's own probabilities"
    ]


def _short(value: Any) -> str:
    return str(value) if isinstance(value, int | float) else f"({len(value)})" if isinstance(value, list) else "(given)"
