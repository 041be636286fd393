"""Trains the demo model from nothing: `python -m intravisto_core.demo.train --out FOLDER`.

The same machine with the same package versions writes the same file: text, weights and order come from one
seed, the schedule counts steps and never looks at the clock, and the number of threads is fixed.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from torch.utils import deterministic

from intravisto_core.demo import MODEL_FOLDER
from intravisto_core.demo.batches import Batch, BatchSource
from intravisto_core.demo.export import export
from intravisto_core.demo.network import Network, Shape
from intravisto_core.demo.optimizer import Muon
from intravisto_core.demo.tokenizer import train_tokenizer

THREADS = 2


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn: linear warm-up, constant, then linear down to `floor` of the peak."""

    steps: int = 6000
    rows: int = 16
    warm_up: int = 60
    decay_from: float = 0.55
    floor: float = 0.02
    muon_rate: float = 0.02
    adam_rate: float = 4e-3
    weight_decay: float = 0.01
    seed: int = 7

    def factor(self, step: int) -> float:
        """The share of the peak rate at a step."""
        left = (1 - step / self.steps) / (1 - self.decay_from)
        return min(1.0, (step + 1) / self.warm_up) * min(1.0, max(self.floor, left))


class Trainer:
    """A network, its two optimizers and its stream of text."""

    def __init__(self, tokenizer: Tokenizer, shape: Shape, schedule: Schedule) -> None:
        torch.manual_seed(schedule.seed)
        self.schedule = schedule
        self.network = Network(shape)
        self.batches = BatchSource(tokenizer, schedule.rows, shape.context, schedule.seed)
        matrices = [p for name, p in self.network.layers.named_parameters() if p.dim() == 2]
        chosen = {id(p) for p in matrices}
        others = [p for p in self.network.parameters() if id(p) not in chosen]
        decay = schedule.weight_decay
        self._muon = Muon(matrices, lr=schedule.muon_rate, weight_decay=decay)
        self._adam = torch.optim.AdamW(others, lr=schedule.adam_rate, betas=(0.9, 0.95), weight_decay=decay, fused=True)

    def step(self, number: int) -> Tensor:
        """One step on the next batch; returns the weighted loss in nats."""
        factor = self.schedule.factor(number)
        for group in self._muon.param_groups:
            group["lr"] = self.schedule.muon_rate * factor
        for group in self._adam.param_groups:
            group["lr"] = self.schedule.adam_rate * factor
        loss = weighted_loss(self.network, self.batches.next())
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        self._muon.step()
        self._adam.step()
        return loss.detach()


def weighted_loss(network: Network, batch: Batch) -> Tensor:
    """Mean cross-entropy of the targets by their weights, in nats.

    Targets of no weight are left out before the output head, which is the largest product of all.
    """
    targets, weights = batch.ids[:, 1:].flatten(), batch.weights[:, 1:].flatten()
    counted = weights.nonzero().squeeze(1)
    hidden = network.hidden(batch.ids[:, :-1]).flatten(0, 1)
    losses = functional.cross_entropy(network.lm_head(hidden[counted]), targets[counted], reduction="none")
    weights = weights[counted]
    return (losses * weights).sum() / weights.sum()


def fix_randomness() -> None:
    """Settings under which a run can be repeated to the last bit on the same machine."""
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)


def train(schedule: Schedule, folder: Path, shape: Shape | None = None) -> None:
    """Train a tokenizer and a network, and write both into the folder."""
    fix_randomness()
    tokenizer = train_tokenizer()
    trainer = Trainer(tokenizer, shape or Shape(tokenizer.get_vocab_size()), schedule)
    parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    print(f"{parameters:,} parameters, {schedule.steps:,} steps", flush=True)
    began = time.monotonic()
    for number in range(schedule.steps):
        loss = trainer.step(number)
        if number % 100 == 0 or number == schedule.steps - 1:
            print(f"step {number:5d}  loss {loss.item():.3f}  {time.monotonic() - began:5.0f} s", flush=True)
    export(trainer.network, tokenizer, folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER, help="folder to write into")
    parser.add_argument("--steps", type=int, default=Schedule().steps)
    arguments = parser.parse_args()
    train(Schedule(steps=arguments.steps), arguments.out)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
