"""The tokenizer of a folder, and whether it is the one that its tokenizer.json describes."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from intravisto_core.errors import ModelError
from intravisto_core.limited import LimitReached, ProgramError
from intravisto_core.models.files.guard import is_of_a_library
from intravisto_core.models.files.json_file import read_object
from intravisto_core.models.files.settings import in_one_line
from intravisto_core.models.files.tokenizer_limits import (
    LimitedTokenizer,
    limit_tokenizer,
    limited_program,
    may_explode,
)
from intravisto_core.tokens import TokenReader

FILE = "tokenizer.json"
PROBE = (
    "Hello, world!",
    " It's 12:34 and 5,678.90",
    " naïve café — “Größe”",
    " привет Ωμέγα",
    "東京は日本",
    " 😀🏽",
    "\n\tdef f(x):\n    return x  # two  spaces",
    "UPPER lower CamelCase snake_case",
)
SEEN = "azAZ09.,!?é東ж😀"


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Within this context Python looks for no garbage: the many small objects of a vocabulary would have it walk
    through all that the process holds, again and again, which takes longer than reading them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_nothing_collected()
def open_tokenizer(folder: Path, settings: Any, name: str) -> Any:
    """The tokenizer, as transformers' own code reads it. settings: transformers' configuration of the model.

    Raises:
        ModelError: its files are missing or damaged, or it needs code of its own.
    """
    _check_rules(folder / FILE, name)
    try:
        found = AutoTokenizer.from_pretrained(folder, config=settings, local_files_only=True, trust_remote_code=False)
        return limit_tokenizer(found)
    except BaseException as error:
        if not is_of_a_library(error):
            raise
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{name}: expected a tokenizer that transformers' own code runs; this one brings its "
                "own code, which is never run here. Choose another model, or save it with a tokenizer.json"
            ) from None
        raise ModelError(
            f"{name}: expected tokenizer files (tokenizer.json); they are missing or damaged "
            f"({type(error).__name__}: {in_one_line(error)}). Copy the model's own tokenizer into its folder, or "
            "choose another model"
        ) from error


def describe_differences(folder: Path, tokenizer: Any, reader: TokenReader) -> tuple[str, ...]:
    """What a reader should know of a tokenizer: tokens other than its file's, and characters that vanish.

    reader: of its ids, since others may be asking it at the same time.
    """
    return (*_other_tokens(folder / FILE, tokenizer, reader), *describe_lost(reader))


def _check_rules(file: Path, name: str) -> None:
    """Try rules that could explode on a text, with limits, before this process meets them."""
    if not file.is_file():
        return
    described = read_object(file, name)
    if may_explode(*(described.get(part) for part in ("normalizer", "pre_tokenizer", "decoder"))):
        try:
            stored = _stored(file, limited=True)
            for text in PROBE:
                stored(text)
        except (LimitReached, ProgramError) as error:
            raise ModelError(
                f"{name}: expected a {FILE} that splits a short text into tokens; it {error}. Choose another model"
            ) from None


def _stored(file: Path, limited: bool) -> Callable[[str], list[int]]:
    """What a file makes of texts, without special tokens."""
    described = file.read_text(encoding="utf-8")
    if limited:
        program = limited_program(described)
        return lambda text: list(program.ask({"text": text, "special": False}))
    stored = Tokenizer.from_str(described)
    stored.no_truncation()
    stored.no_padding()
    return lambda text: list(stored.encode(text, add_special_tokens=False).ids)


def _other_tokens(file: Path, tokenizer: Any, reader: TokenReader) -> list[str]:
    if not file.is_file():
        return []
    stored = _stored(file, limited=isinstance(tokenizer, LimitedTokenizer))
    for text in PROBE:
        expected, own = stored(text), reader.encode(text, add_special_tokens=False)
        if expected != own:
            made_as = tokenizer.made_as if isinstance(tokenizer, LimitedTokenizer) else type(tokenizer).__name__
            at = next((i for i, pair in enumerate(zip(own, expected, strict=False)) if pair[0] != pair[1]), 0)
            said = f"{text!r} becomes {_ids_from(own, at)} instead of {_ids_from(expected, at)}"
            return [
                f"transformers reads its tokenizer as {made_as}, which makes other tokens than "
                f"{FILE} says: {said}. Texts may be read otherwise than in training; check tokenizer_class in "
                "tokenizer_config.json"
            ]
    return []


def _ids_from(ids: list[int], start: int) -> str:
    listed = ", ".join(map(str, ids[start : start + 5]))
    return f"[{'… ' if start else ''}{listed}{' …' if len(ids) > start + 5 else ''}]"


def describe_lost(reader: TokenReader) -> list[str]:
    """A note where a tokenizer drops characters that every text may hold."""
    lost = [c for c in SEEN if not reader.encode(c, add_special_tokens=False)]
    if not lost:
        return []
    return [f"characters that its tokenizer has no token for vanish from a text, such as {lost[0]!r}"]
