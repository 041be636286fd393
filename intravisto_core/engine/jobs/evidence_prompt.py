"""The test of a claim in one prompt: the edit, its noise floor, and its controls (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.effects import compute_two_steps
from intravisto_core.analysis.lenses import compute_output_logits
from intravisto_core.experiments import controls
from intravisto_core.experiments.controls import Control, NoControl
from intravisto_core.progress import Progress
from intravisto_core.request import EvidenceView
from intravisto_core.request.interventions import Written
from intravisto_core.sites import ControlKind
from intravisto_core.traces.edit_batches import bind_text, list_sites, run_edited_rows, run_texts
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData
from intravisto_core.tracing.edits import Edits

NUDGES = 8


@dataclass(slots=True)
class Tested:
    """One prompt: what is asked of it, and what came out. draws: by kind, (what was drawn, Δm) each."""

    ids: tuple[int, ...]
    position: int
    target: int
    contrast: int
    metric: float = 0.0
    effect: float = 0.0
    noise: float = 0.0
    draws: dict[ControlKind, list[tuple[str, float]]] = field(default_factory=dict)
    refused: dict[ControlKind, str] = field(default_factory=dict)


@dataclass(slots=True)
class PromptTest:
    """The test of one prompt."""

    traces: Traces
    edit: tuple[Written, ...]
    base: TraceData
    tested: Tested
    view: EvidenceView
    number: int
    session: str
    control: RunControl

    def run(self, kinds: Sequence[ControlKind]) -> Generator[Progress, None, None]:
        """Measure the edit, its controls of these kinds, and its noise floor: what a no-op does on the same path, two
        steps of the dtype at the size of the logits, or twice what a step in the edited numbers does, the largest of 8.
        """
        tested = self.tested
        edits = yield from self._bind(self.edit, self.base)
        rows = [edits, Edits(), *(controls.nudge_edits(self.traces.model, edits, seed) for seed in range(NUDGES))]
        places: list[tuple[ControlKind, str]] = []
        for kind in kinds:
            try:
                drawn = yield from self._draw(kind, edits)
            except NoControl as reason:
                tested.refused[kind] = str(reason)
                continue
            tested.draws[kind] = []
            places += [(kind, words) for words, _ in drawn]
            rows += [row for _, row in drawn]
        moved, logits = yield from self._measure(self.base, rows, tested.metric)
        steps = compute_two_steps(logits[1], self.traces.model.dtype)
        idle = max(map(abs, moved[2 : 2 + NUDGES]))
        tested.effect, tested.noise = moved[0], max(abs(moved[1]), steps, 2 * idle)
        for (kind, words), change in zip(places, moved[2 + NUDGES :], strict=True):
            tested.draws[kind].append((words, change))
        if ControlKind.PROMPT in kinds:
            yield from self._shuffle()

    def _draw(self, kind: ControlKind, edits: Edits) -> Generator[Progress, None, list[tuple[str, Edits]]]:
        """The controls of one kind in this prompt, but for shuffled prompts, which are other texts."""
        n, rng, model = self.view.draws, self._rng(kind), self.traces.model
        if kind is ControlKind.PROMPT:
            return []
        if kind is ControlKind.DIRECTION:
            seeds = rng.integers(0, 2**31, n).tolist()
            return [(f"random vector of seed {seed}", controls.turn_edits(edits, seed)) for seed in seeds]
        if kind is ControlKind.PART:
            drawn = controls.draw_parts(model, self.edit, n, rng)
        else:
            drawn = controls.draw_positions(self.edit, self.base.length, self.tested.position, n, rng, self._show)
        return (yield from self._bind_each(drawn))

    def _bind_each(self, drawn: Sequence[Control]) -> Generator[Progress, None, list[tuple[str, Edits]]]:
        found = []
        for each in drawn:
            found.append((each.words, (yield from self._bind(each.edit, self.base))))
        return found

    def _shuffle(self) -> Generator[Progress, None, None]:
        """The edit in the prompt with its tokens in random orders, each a text of its own."""
        tested, reader = self.tested, self.traces.model.reader
        special = frozenset(t.id for t in reader.tokens(tested.ids, len(tested.ids)) if t.is_special)
        rng = self._rng(ControlKind.PROMPT)
        try:
            texts = controls.shuffle_prompt(tested.ids, special, self.view.draws, rng)
        except NoControl as reason:
            tested.refused[ControlKind.PROMPT] = str(reason)
            tested.draws.pop(ControlKind.PROMPT, None)
            return
        runs = yield from run_texts(self.traces, texts, list_sites(self.edit), self.control)
        tested.draws[ControlKind.PROMPT] = []
        for base in runs:
            edits = yield from self._bind(self.edit, base)
            before = self._metric(base.final[tested.position : tested.position + 1])[0][0]
            moved, _ = yield from self._measure(base, [edits], before)
            tested.draws[ControlKind.PROMPT].append((reader.decode(base.ids), moved[0]))

    def _bind(self, edit: tuple[Written, ...], base: TraceData) -> Generator[Progress, None, Edits]:
        return (yield from bind_text(self.traces, edit, base, self.session, self.control))

    def _measure(
        self, base: TraceData, rows: Sequence[Edits], before: float
    ) -> Generator[Progress, None, tuple[list[float], Tensor]]:
        """Δm of each row, and its two logits, (n, 2)."""
        final = yield from run_edited_rows(self.traces.model, base, rows, self.tested.position, self.control)
        metrics, logits = self._metric(final)
        return [m - before for m in metrics], logits

    @torch.no_grad()
    def _metric(self, final: Tensor) -> tuple[list[float], Tensor]:
        z = compute_output_logits(self.traces.model, final)[:, [self.tested.target, self.tested.contrast]].double()
        return (z[:, 0] - z[:, 1]).tolist(), z

    def _rng(self, kind: ControlKind) -> np.random.Generator:
        return np.random.default_rng([self.view.seed, self.number, list(ControlKind).index(kind)])

    def _show(self, position: int) -> str:
        return f"{position} ‘{self.traces.model.reader.shown(self.base.ids[position])}’"
