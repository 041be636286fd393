"""Trains the demo model from nothing: `python -m intravisto_core.demo.train --out FOLDER`.

The same machine with the same package versions writes the same file: text, weights and order come from one
seed, the schedule counts steps and never looks at the clock, and the number of threads is fixed.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from torch.utils import deterministic

from intravisto_core.demo import MODEL_FOLDER
from intravisto_core.demo.batches import ANSWER_WEIGHT, Batch, BatchSource
from intravisto_core.demo.corpus import Sampler
from intravisto_core.demo.export import export
from intravisto_core.demo.network import Network, Shape
from intravisto_core.demo.optimizer import Muon
from intravisto_core.demo.tokenizer import train_tokenizer

THREADS = 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn: linear warm-up, constant, then linear down to `floor` of the peak.

    early_weight: how much one randomly chosen row of the upper half counts for the answers, from the share
    `early_from` of the steps on, so that an answer shows in the rows as soon as the network has it. A run
    with all rows, twice the weight and from the first step on had weaker induction and composition.
    """

    steps: int = 2200
    rows: int = 16
    warm_up: int = 60
    decay_from: float = 0.55
    floor: float = 0.02
    muon_rate: float = 0.02
    adam_rate: float = 4e-3
    weight_decay: float = 0.01
    early_weight: float = 0.05
    early_from: float = 0.6
    seed: int = 7

    def factor(self, step: int) -> float:
        """The share of the peak rate at a step."""
        left = (1 - step / self.steps) / (1 - self.decay_from)
        return min(1.0, (step + 1) / self.warm_up) * min(1.0, max(self.floor, left))


class Trainer:
    """A network, its two optimizers and its stream of text.

    compiled: let torch write C++ for the blocks: about a quarter faster, but it needs a compiler and its rounding
    differs, so the file differs too.
    """

    def __init__(self, tokenizer: Tokenizer, shape: Shape, schedule: Schedule, compiled: bool = False) -> None:
        torch.manual_seed(schedule.seed)
        self.schedule = schedule
        self.network = Network(shape)
        self._streams = torch.compile(self.network.streams) if compiled else self.network.streams
        self.batches = BatchSource(tokenizer, schedule.rows, shape.context, schedule.seed)
        self._rows = Sampler(schedule.seed)
        matrices = [p for p in self.network.layers.parameters() if p.dim() == 2]
        chosen = {id(p) for p in matrices}
        others = [p for p in self.network.parameters() if id(p) not in chosen]
        decay = schedule.weight_decay
        self._muon = Muon(matrices, lr=schedule.muon_rate, weight_decay=decay)
        self._adam = torch.optim.AdamW(others, lr=schedule.adam_rate, betas=(0.9, 0.95), weight_decay=decay, fused=True)

    def step(self, number: int) -> Tensor:
        """One step on the next batch; returns the loss of the last row, in nats."""
        factor = self.schedule.factor(number)
        for group in self._muon.param_groups:
            group["lr"] = self.schedule.muon_rate * factor
        for group in self._adam.param_groups:
            group["lr"] = self.schedule.adam_rate * factor
        batch = self.batches.next()
        streams = self._streams(batch.ids[:, :-1])
        loss = weighted_loss(self.network, streams[-1], batch)
        total = loss
        if number >= self.schedule.early_from * self.schedule.steps:
            row = self._rows.choice(streams[len(streams) // 2 + 1 : -1])
            total = loss + self.schedule.early_weight * weighted_loss(self.network, row, batch, ANSWER_WEIGHT)
        self.network.zero_grad(set_to_none=True)
        total.backward()
        self._muon.step()
        self._adam.step()
        return loss.detach()


def weighted_loss(network: Network, stream: Tensor, batch: Batch, at_least: float = 0.0) -> Tensor:
    """Mean cross-entropy, in nats, of the targets as read from one residual stream, by their weights.

    Only targets of positive weight, `at_least` so large, pass through the output head, the largest product of all.
    """
    targets, weights = batch.ids[:, 1:].flatten(), batch.weights[:, 1:].flatten()
    counted = ((weights > 0) & (weights >= at_least)).nonzero().squeeze(1)
    logits = network.decode(stream.flatten(0, 1)[counted])
    losses = functional.cross_entropy(logits, targets[counted], reduction="none")
    return (losses * weights[counted]).sum() / weights[counted].sum()


def fix_randomness() -> None:
    """Settings under which a run can be repeated to the last bit on the same machine."""
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)


def train(schedule: Schedule, folder: Path, compiled: bool = False) -> None:
    """Train a tokenizer and a network, and write both into the folder."""
    fix_randomness()
    tokenizer = train_tokenizer()
    trainer = Trainer(tokenizer, Shape(tokenizer.get_vocab_size()), schedule, compiled)
    parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    print(f"{parameters:,} parameters, {schedule.steps:,} steps", flush=True)
    began = time.monotonic()
    for number in range(schedule.steps):
        loss = trainer.step(number)
        if number % 100 == 0 or number == schedule.steps - 1:
            print(f"step {number:5d}  loss {loss.item():.3f}  {time.monotonic() - began:5.0f} s", flush=True)
    export(trainer.network, tokenizer, folder)
    write_record(schedule, trainer.network.shape, compiled, folder)


def write_record(schedule: Schedule, shape: Shape, compiled: bool, folder: Path) -> None:
    """Write into the folder how the model was trained, so that it can be made again."""
    record = {
        "command": f"python -m intravisto_core.demo.train --steps {schedule.steps}{' --compile' * compiled}",
        "torch": torch.__version__,
        "tokens": schedule.steps * schedule.rows * shape.context,
        **asdict(schedule),
    }
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER, help="folder to write into")
    parser.add_argument("--steps", type=int, default=Schedule().steps)
    parser.add_argument("--compile", action="store_true", help="faster, where there is a C++ compiler")
    arguments = parser.parse_args()
    train(Schedule(steps=arguments.steps), arguments.out, arguments.compile)


if __name__ == "__main__":
    main()
