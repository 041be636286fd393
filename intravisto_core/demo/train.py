"""Trains the demo model from nothing: `python -m intravisto_core.demo.train --out FOLDER`.

The same machine with the same package versions writes the same file: text, weights and order come from one
seed, the schedule counts steps and never looks at the clock, and the number of threads is fixed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
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
from intravisto_core.demo.progress import Progress
from intravisto_core.demo.tokenizer import train_tokenizer

THREADS = 2
_REPORT_EVERY, _KEEP_EVERY = 100, 500


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn: linear warm-up, constant, then linear down to `floor` of the peak."""

    steps: int = 4400
    rows: int = 24
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
    """A network, its two optimizers and its stream of text.

    compiled: let torch write C++ for the blocks: about a quarter faster, but it needs a compiler and its rounding
    differs, so the file differs too.
    """

    def __init__(self, tokenizer: Tokenizer, shape: Shape, schedule: Schedule, compiled: bool = False) -> None:
        torch.manual_seed(schedule.seed)
        self.schedule = schedule
        self.network = Network(shape)
        final = self.network.final_stream
        self._final_stream = torch.compile(final) if compiled else final
        self.batches = BatchSource(tokenizer, schedule.rows, shape.context, schedule.seed)
        matrices = [p for p in self.network.layers.parameters() if p.dim() == 2]
        chosen = {id(p) for p in matrices}
        others = [p for p in self.network.parameters() if id(p) not in chosen]
        decay, rate = schedule.weight_decay, schedule.adam_rate
        self._optimizers = (
            Muon(matrices, lr=schedule.muon_rate, weight_decay=decay),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.95), weight_decay=decay, fused=True),
        )
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        self._peaks = [(group, group["lr"]) for group in groups]

    def step(self, number: int) -> Tensor:
        """One step on the next batch; returns its loss in nats."""
        for group, peak in self._peaks:
            group["lr"] = peak * self.schedule.factor(number)
        batch = self.batches.next()
        loss = weighted_loss(self.network, self._final_stream(batch.ids[:, :-1]), batch)
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self._optimizers:
            optimizer.step()
        return loss.detach()


def weighted_loss(network: Network, stream: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy, in nats, of the targets as read from the final residual stream, by their weights.

    Only targets of positive weight pass through the output head, the largest product of all.
    """
    targets, weights = batch.ids[:, 1:].flatten(), batch.weights[:, 1:].flatten()
    counted = weights.nonzero().squeeze(1)
    losses = functional.cross_entropy(network.decode(stream.flatten(0, 1)[counted]), targets[counted], reduction="none")
    return (losses * weights[counted]).sum() / weights[counted].sum()


def fix_randomness() -> None:
    """Settings under which a run can be repeated to the last bit on the same machine."""
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)


def train(schedule: Schedule, folder: Path, compiled: bool = False, keep: Path | None = None) -> None:
    """Train a tokenizer and a network, and write both into the folder; into `keep` too, every 500 steps."""
    fix_randomness()
    tokenizer = train_tokenizer()
    trainer = Trainer(tokenizer, Shape(tokenizer.get_vocab_size()), schedule, compiled)
    parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    print(f"{parameters:,} parameters, {schedule.steps:,} steps", flush=True)
    progress = Progress(trainer.network, tokenizer)
    for done in range(1, schedule.steps + 1):
        progress.add(trainer.step(done - 1))
        if done % _REPORT_EVERY == 0:
            print(progress.report(done), flush=True)
        if keep and done % _KEEP_EVERY == 0:
            export(trainer.network, tokenizer, keep)
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
    parser.add_argument("--keep", type=Path, help="folder to write the unfinished model into, every 500 steps")
    arguments = parser.parse_args()
    train(Schedule(steps=arguments.steps), arguments.out, arguments.compile, arguments.keep)


if __name__ == "__main__":
    main()
