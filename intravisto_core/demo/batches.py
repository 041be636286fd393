"""Rows of training text: documents end to end, or random tokens repeated; and how much each token counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from intravisto_core.demo.corpus import Sampler, document
from intravisto_core.demo.tokenizer import BEGIN, END, LineEncoder, special_id

ANSWER_WEIGHT = 1.0
TEXT_WEIGHT = 0.5
TEXT_COUNTED = 0.4
END_WEIGHT = 0.5
REPEAT_WEIGHT = 0.3
"""Little: until a head has learnt to look back, random rows are hundreds of targets that nothing foretells."""
RANDOM_ROWS = 0.15
BYTES = 256
_SHORTEST_PERIOD, _LONGEST_PERIOD = 4, 40


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids (batch, context + 1) and the weight of each as a target, (batch, context + 1)."""

    ids: Tensor
    weights: Tensor


class BatchSource:
    """An endless, repeatable stream of batches."""

    def __init__(self, tokenizer: Tokenizer, rows: int, context: int, seed: int) -> None:
        self._encoder = LineEncoder(tokenizer)
        self._sampler = Sampler(seed)
        self._rows, self._length = rows, context + 1
        self._begin, self._end = special_id(tokenizer, BEGIN), special_id(tokenizer, END)
        self._first_learned = self._end + 1 + BYTES
        self._vocabulary = tokenizer.get_vocab_size()

    def next(self) -> Batch:
        """The next batch."""
        rows = [self._row() for _ in range(self._rows)]
        return Batch(torch.tensor([ids for ids, _ in rows]), torch.tensor([weights for _, weights in rows]))

    def _row(self) -> tuple[list[int], list[float]]:
        return self._random_row() if self._sampler.chance(RANDOM_ROWS) else self._text_row()

    def _text_row(self) -> tuple[list[int], list[float]]:
        ids, weights = [self._begin], [0.0]
        while len(ids) < self._length:
            new_ids, answers = self._encoder.encode(document(self._sampler))
            ids += [*new_ids, self._end]
            weights += [ANSWER_WEIGHT if answer else self._text_weight() for answer in answers]
            weights.append(END_WEIGHT)
        return ids[: self._length], weights[: self._length]

    def _text_weight(self) -> float:
        """Most text is names and things that nothing foretells: counting a part of it saves time."""
        return TEXT_WEIGHT if self._sampler.chance(TEXT_COUNTED) else 0.0

    def _random_row(self) -> tuple[list[int], list[float]]:
        """Random tokens again and again; only the tokens from the second time on can be known."""
        random = self._sampler.random
        period = random.randint(_SHORTEST_PERIOD, min(_LONGEST_PERIOD, self._length // 2))
        once = [random.randrange(self._first_learned, self._vocabulary) for _ in range(period)]
        repeated = once * (self._length // period + 1)
        weights = [0.0] * (period + 1) + [REPEAT_WEIGHT] * self._length
        return [self._begin, *repeated][: self._length], weights[: self._length]
