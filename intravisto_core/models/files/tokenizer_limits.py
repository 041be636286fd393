"""Tokenizers whose rules could run for hours, or fill the memory, on a short text: these are asked with limits.

A regular expression in tokenizer.json is a program that comes with a model. Those that published models have take a
time that grows with the text; one with repetitions inside repetitions can take a time that doubles with each character.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from intravisto_core.errors import RequestError
from intravisto_core.limited import SECONDS, LimitedProgram, LimitReached, ProgramError

# In one alternative of a harmless expression: repetitions without an end, and all; and how much longer a text may grow.
_MOST_ENDLESS, _MOST_REPEATS, _MOST_GROWTH = 2, 5, 8
# what a limited tokenizer remembers: of how many texts, of how many tokens each; and for how long it refuses one again
_MOST_KNOWN, _LONGEST_KNOWN, _REFUSED_S = 1000, 2000, 60.0
_REFERENCE = re.compile(r"\\[1-9kg]")
_OPENING = re.compile(r"\?(?:[a-zA-Z-]*:|[=!>]|<[=!]|<\w+>)")
_ENDLESS = re.compile(r"[*+]|\{\d*,\}")
_ATOM = re.compile(
    r"\\[pP]\{[^}]*\}|\\[xu]\{[^}]*\}|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|\[\^?\]?(?:\\.|\[[^\]]*\]|[^\]\\])*\]|.",
    re.DOTALL,
)
_REPEAT = re.compile(r"(?:\*|\+|\{\d*,\d*\}|\{\d+\}|\?)[?+]?")


def may_explode(*rules: Any) -> bool:
    """Whether rules of a tokenizer, as its file describes them, need limits."""
    growth = 1.0
    for rule in _patterns(rules):
        pattern, content = rule["pattern"], str(rule.get("content") or "")
        plain = pattern.get("String") if isinstance(pattern, dict) else pattern
        expression = pattern.get("Regex") if isinstance(pattern, dict) else None
        if expression is not None and not is_harmless(str(expression)):
            return True
        growth *= max(1.0, len(content) / max(1, len(str(plain or "x"))))
    return growth > _MOST_GROWTH


def _patterns(rule: Any) -> Iterator[dict[str, Any]]:
    if isinstance(rule, dict):
        if "pattern" in rule:
            yield rule
        rule = list(rule.values())
    if isinstance(rule, list | tuple):
        for part in rule:
            yield from _patterns(part)


def is_harmless(expression: str) -> bool:
    """Whether matching takes a time that grows with the text.

    So it is where no group is repeated, nothing refers back, and few repetitions stand in a row.
    """
    position, endless, all_repeats = 0, 0, 0
    groups: list[tuple[int, int]] = []
    while position < len(expression):
        atom = _ATOM.match(expression, position)
        assert atom is not None
        position, text = atom.end(), atom[0]
        if _REFERENCE.fullmatch(text) or (text == ")" and not groups):
            return False
        if text == "(":
            groups.append((endless, all_repeats))
            opened = _OPENING.match(expression, position)
            position = position if opened is None else opened.end()
            continue
        if text == "|":
            endless, all_repeats = groups[-1] if groups else (0, 0)
        if text == ")":
            groups.pop()
        if repeat := _REPEAT.match(expression, position):
            position = repeat.end()
            if text == ")" and repeat[0][0] != "?":
                return False
            endless, all_repeats = endless + bool(_ENDLESS.match(repeat[0])), all_repeats + 1
        if endless > _MOST_ENDLESS or all_repeats > _MOST_REPEATS:
            return False
    return not groups


class LimitedTokenizer:
    """A tokenizer of transformers whose texts and ids go through a process of their own; else it is that tokenizer."""

    # a text that takes long holds up nobody else
    takes_turns = False

    def __init__(self, tokenizer: Any, seconds: float = SECONDS) -> None:
        # by text: its ids, or why it was stopped, and until when that holds
        self._known: OrderedDict[tuple[bytes, bool], tuple[list[int], str, float]] = OrderedDict()
        self._whole = tokenizer
        self._program = limited_program(tokenizer.backend_tokenizer.to_str(), seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    @property
    def made_as(self) -> str:
        """The class of transformers that read it."""
        return type(self._whole).__name__

    def __call__(self, text: str, add_special_tokens: bool = True, verbose: bool = False) -> dict[str, list[int]]:
        """Ids of a text. Those of the last texts are known, as is for a while which of them could not be read."""
        key = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), add_special_tokens)
        ids, stopped, until = self._known.get(key, ([], "", 0.0))
        if not ids and time.monotonic() >= until:
            try:
                ids, stopped = list(self._ask({"text": text, "special": add_special_tokens})), ""
            except RequestError as error:
                ids, stopped = [], str(error)
            if len(ids) <= _LONGEST_KNOWN:
                self._known[key] = ids, stopped, time.monotonic() + _REFUSED_S
                while len(self._known) > _MOST_KNOWN:
                    self._known.popitem(last=False)
        if stopped:
            raise RequestError(stopped)
        return {"input_ids": list(ids)}

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False, **_: Any) -> str:
        """The text of ids."""
        return self.batch_decode([ids], skip_special_tokens)[0]

    def batch_decode(self, ids: Sequence[Sequence[int]], skip_special_tokens: bool = False, **_: Any) -> list[str]:
        """The texts of many lists of ids."""
        return [str(text) for text in self._ask({"ids": [list(i) for i in ids], "skip": skip_special_tokens})]

    def _ask(self, what: dict[str, Any]) -> Any:
        try:
            return self._program.ask(what)
        except (LimitReached, ProgramError) as error:
            raise RequestError(
                f"text: this model's tokenizer was stopped: it {error}. Shorten the text, or choose another model"
            ) from None


def limit_tokenizer(tokenizer: Any) -> Any:
    """A tokenizer of transformers as it is, or with limits where its rules need them."""
    return LimitedTokenizer(tokenizer) if may_explode(*described_rules(tokenizer)) else tokenizer


def limited_program(described: str, seconds: float = SECONDS) -> LimitedProgram:
    """A tokenizer, as its file describes it, in a process of its own."""
    return LimitedProgram({"tokenizer": described}, seconds)


def described_rules(tokenizer: Any) -> list[Any]:
    """The rules by which a tokenizer of transformers changes, splits and joins texts, where it has such rules."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = [getattr(backend, name, None) for name in ("normalizer", "pre_tokenizer", "decoder")]
    return [json.loads(part.__getstate__()) for part in parts if part is not None]
