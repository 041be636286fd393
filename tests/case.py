"""What most tests start from: a tiny model that is opened and traced, and the same text without the engine."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import intravisto_core as iv
from tests import tiny
from tests.reference import families, plain, slow


class Case:
    """One tiny model: its checkpoint, an engine on it, one trace, and the runs that it is compared with.

    `run`, `decoder` and `cells` are for the models that read characters, `plain` for those of the families.
    """

    def __init__(
        self,
        folder: Path,
        prompt: str | tuple[int, ...],
        n_new: int,
        engine: iv.Engine | None = None,
        **options: Any,
    ) -> None:
        self.folder = folder
        self.prompt = prompt
        self.engine = engine or iv.open_model(str(folder), **options)
        self.trace = self.engine.trace(prompt, max_new_tokens=n_new)
        self.trace.pin()
        self.ids = tuple(token.id for token in self.trace.tokens)

    @classmethod
    def of_characters(cls, folder: Path, engine: iv.Engine | None = None) -> Case:
        return cls(folder, tiny.PROMPT, tiny.N_NEW, engine)

    @classmethod
    def of_family(cls, name: str, folder: Path, device_map: str = "cpu") -> Case:
        written = tiny.write(tiny.CONFIGS[name](), folder)
        return cls(written, tiny.FAMILY_PROMPT, tiny.FAMILY_N_NEW, dtype="float32", device_map=device_map)

    @cached_property
    def prompt_ids(self) -> list[int]:
        found: list[int] = plain.tokenizer(self.folder)(self.prompt).input_ids
        return found

    @cached_property
    def model(self) -> Any:
        return plain.load(self.folder)

    @cached_property
    def run(self) -> plain.Run:
        return plain.run(self.model, self.ids)

    @cached_property
    def decoder(self) -> slow.Decoder:
        return slow.Decoder.of(self.model)

    @cached_property
    def cells(self) -> slow.Cells:
        return slow.Cells(self.decoder, self.run)

    @cached_property
    def plain(self) -> families.Plain:
        return families.Plain(self.folder, self.ids)
