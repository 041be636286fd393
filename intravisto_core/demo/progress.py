"""What to print while the training runs: time, mean loss, and how much of each task is right by now."""

from __future__ import annotations

import time

import torch
from tokenizers import Tokenizer
from torch import Tensor

from intravisto_core.demo.batches import BYTES
from intravisto_core.demo.corpus import TASKS, Answer, Sampler
from intravisto_core.demo.network import Network
from intravisto_core.demo.tokenizer import BEGIN, END, LineEncoder, special_id

_LINES, _PERIOD = 40, 30


class Progress:
    """Measures a network while it learns, on held-out lines drawn by its own samplers: training is not disturbed."""

    def __init__(self, network: Network, tokenizer: Tokenizer) -> None:
        self._network = network
        self._losses: list[Tensor] = []
        self._began = time.monotonic()
        self._end = special_id(tokenizer, END)
        self._tests = {"random tokens": self._random_rows(tokenizer)}
        encoder, begin = LineEncoder(tokenizer), special_id(tokenizer, BEGIN)
        for task, (draw, _) in TASKS.items():
            sampler = Sampler(55, held_out=True)
            lines = [draw(sampler) for _ in range(_LINES)]
            if any(isinstance(part, Answer) for part in lines[0]):
                encoded = [encoder.encode(line) for line in lines]
                rows = [([begin, *ids], [False, *answers]) for ids, answers in encoded]
                self._tests[task] = self._table(rows)

    def _random_rows(self, tokenizer: Tokenizer) -> tuple[Tensor, Tensor]:
        random = Sampler(56).random
        first = self._end + 1 + BYTES
        rows = []
        for _ in range(_LINES):
            once = [random.randrange(first, tokenizer.get_vocab_size()) for _ in range(_PERIOD)]
            rows.append((once * 2, [False] * (_PERIOD + 1) + [True] * (_PERIOD - 1)))
        return self._table(rows)

    def _table(self, rows: list[tuple[list[int], list[bool]]]) -> tuple[Tensor, Tensor]:
        """Ids, and which are answers, of rows filled up with end tokens: (row, pos), at most the context long."""
        width = min(self._network.shape.context, max(len(ids) for ids, _ in rows))
        ids = [(ids + [self._end] * width)[:width] for ids, _ in rows]
        answers = [(answers + [False] * width)[:width] for _, answers in rows]
        return torch.tensor(ids), torch.tensor(answers)

    def add(self, loss: Tensor) -> None:
        """Note the loss of one step."""
        self._losses.append(loss)

    @torch.no_grad()
    def report(self, step: int) -> str:
        """One line on the steps since the last report."""
        loss = float(torch.stack(self._losses).mean())
        self._losses.clear()
        right = []
        for task, (ids, answers) in self._tests.items():
            hits = self._network(ids[:, :-1]).argmax(dim=-1) == ids[:, 1:]
            right.append(f"{task} {float(hits[answers[:, 1:]].float().mean()):.2f}")
        return f"step {step:5d}  {time.monotonic() - self._began:5.0f} s  loss {loss:.3f}  {', '.join(right)}"
