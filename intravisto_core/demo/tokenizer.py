"""The demo model's tokenizer: byte-level BPE that keeps the world's words whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from intravisto_core.demo.corpus import Answer, Line, Sampler, document, text_of, word_list

BEGIN = "<|bos|>"
END = "<|end|>"
VOCABULARY_SIZE = 2048
_DOCUMENTS = 40_000
_WORD_LIST_COPIES = 60
_CHUNK = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+")


def train_tokenizer(seed: int = 0) -> Tokenizer:
    """A tokenizer trained on the corpus and on the word list; the same for the same seed."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[BEGIN, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_text(seed), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, special_id(tokenizer, BEGIN))]
    )
    return tokenizer


def _training_text(seed: int) -> Iterator[str]:
    sampler = Sampler(seed)
    for _ in range(_DOCUMENTS):
        yield text_of(document(sampler))
    for _ in range(_WORD_LIST_COPIES):
        yield "".join(f" {word}" for word in word_list())


def special_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special token.

    Raises:
        ValueError: if the tokenizer has no such token.
    """
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"expected a tokenizer with {token!r}, got one without; use train_tokenizer()")
    return found


class LineEncoder:
    """Encodes lines to token ids, and marks the answers.

    Remembers every chunk that the tokenizer's own splitting would treat by itself, which makes it fast enough
    to feed the training from the same two cores.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, without the beginning token."""
        ids: list[int] = []
        for chunk in _CHUNK.findall(text):
            known = self._known.get(chunk)
            if known is None:
                known = self._known[chunk] = self._tokenizer.encode(chunk, add_special_tokens=False).ids
            ids += known
        return ids

    def encode(self, line: Line) -> tuple[list[int], list[bool]]:
        """Token ids of a line, and for each whether it belongs to an answer."""
        ids: list[int] = []
        answers: list[bool] = []
        for part in line:
            part_ids = self.ids(part)
            ids += part_ids
            answers += [isinstance(part, Answer)] * len(part_ids)
        return ids, answers
