"""Sweeps: each head, attention or MLP is taken away in a run of its own (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.bootstrap import bootstrap_mean
from intravisto_core.analysis.effects import compute_two_steps
from intravisto_core.analysis.lenses import compute_output_logits
from intravisto_core.errors import Cancelled
from intravisto_core.experiments.controls import nudge_edits
from intravisto_core.experiments.patch_cells import order_coarse_first
from intravisto_core.progress import Progress, relay_turns
from intravisto_core.records import SweepGrid
from intravisto_core.request import Ablate, SweepRequest, TraceRequest
from intravisto_core.request.phrases import name_positions
from intravisto_core.request.ranges import indices
from intravisto_core.sites import Site
from intravisto_core.traces.edit_batches import bind_text, list_sites, run_edited_rows, run_texts
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData, prepare_in_turns
from intravisto_core.tracing.edits import Edits
from intravisto_core.views.typed_tokens import DefaultContrast, target_and_contrast

TEXT = "taking parts away"
# Rounding is measured on so many parts, evenly spread over the layers.
N_NUDGED = 8


@dataclass(slots=True)
class _Prompt:
    """One prompt and what was found in it; see `SweepGrid`."""

    base: TraceData
    target: int
    contrast: int
    metric: float
    effects: np.ndarray
    noise: float = 0.0


def run_sweep(
    traces: Traces, request: SweepRequest, session: str, control: RunControl
) -> Generator[Progress, None, SweepGrid]:
    """The grid, some layers at a time; a cancel leaves the cells made so far.

    Raises:
        RequestError: a token, a layer or a position that there is not.
        ModelError: an identity that the parts need is missing.
        Cancelled: before there was a cell.
    """
    if request.what.edit_capability is not None:
        traces.card.require(request.what.edit_capability)
    work = _Sweep(traces, request, session, control)
    try:
        yield from work.fill()
    except Cancelled:
        if not work.found or not np.isfinite(work.found[0].effects).any():
            raise
        return work.record(cancelled=True)
    return work.record()


def _tell_nothing(step: Progress) -> None:
    return None


class _Sweep:
    """A grid that grows."""

    def __init__(self, traces: Traces, request: SweepRequest, session: str, control: RunControl) -> None:
        size = traces.model.dimensions
        self.traces, self.request, self.session, self.control = traces, request, session, control
        self.layers = tuple(sorted(indices(request.layers, size.n_layers, "layers")))
        self.heads: list[int | None] = list(range(size.n_heads)) if request.what is Site.Z else [None]
        self.found: list[_Prompt] = []
        self.notes: list[str] = []

    def fill(self) -> Generator[Progress, None, None]:
        """Run every cell of every prompt, every fourth layer first."""
        texts: list[tuple[int, ...]] = []
        for text in self.request.prompts:
            asked = TraceRequest(text, add_special_tokens=self.request.add_special_tokens, chat=self.request.chat)
            texts.append((yield from prepare_in_turns(self.traces.model, asked)).prompt)
        sites = list_sites([self._edit(self.layers[0], self.heads[0])])
        bases = yield from run_texts(self.traces, texts, sites, self.control)
        for number, base in enumerate(bases):
            self.found.append(self._read(base, number))
        for one in self.found:
            one.noise = yield from self._measure_noise(one)
        done, total = 0, len(self.found) * len(self.layers) * len(self.heads)
        for part in order_coarse_first(self.layers):
            for one in self.found:
                for layer in part:
                    yield Progress(done, total, TEXT, self.record() if done else None)
                    yield from self._run_layer(one, layer)
                    done += len(self.heads)

    def _edit(self, layer: int, head: int | None) -> Ablate:
        return Ablate(self.request.what, layer, self.request.positions, head=head, how=self.request.how)

    def _read(self, base: TraceData, number: int) -> _Prompt:
        """What is followed in one prompt."""
        logits = compute_output_logits(self.traces.model, base.final[base.length - 1 : base.length])[0]
        given = self.request.target, self.request.contrast
        target, contrast = (tokens[number if len(tokens) > 1 else 0] for tokens in given)
        model = self.traces.model
        ids = target_and_contrast(model, logits, target, contrast, DefaultContrast.RUNNER_UP)
        return self._keep(base, logits, *ids)

    def _keep(self, base: TraceData, logits: Tensor, target: int, contrast: int, said: tuple[str, ...]) -> _Prompt:
        self.notes += [note for note in said if note not in self.notes]
        blank = np.full((len(self.layers), len(self.heads)), np.nan)
        return _Prompt(base, target, contrast, float(logits[target].double() - logits[contrast].double()), blank)

    def _run_layer(self, one: _Prompt, layer: int) -> Generator[Progress, None, None]:
        rows: list[Edits] = []
        for head in self.heads:
            rows.append((yield from self._bind(one, layer, head)))
        moved, _ = yield from self._measure(one, rows)
        one.effects[self.layers.index(layer)] = moved

    def _measure_noise(self, one: _Prompt) -> Generator[Progress, None, float]:
        """`max(no-op, two steps of the dtype, 2·max|Δm| over 8 parts whose own values are moved by ±1 step)`."""
        places = [(layer, head) for layer in self.layers for head in self.heads]
        chosen = [places[i * len(places) // N_NUDGED] for i in range(min(N_NUDGED, len(places)))]
        rows = [Edits()]
        for seed, (layer, head) in enumerate(chosen):
            edits = yield from self._bind(one, layer, head)
            rows.append(nudge_edits(self.traces.model, edits, seed))
        moved, logits = yield from self._measure(one, rows)
        steps = compute_two_steps(logits[0], self.traces.model.dtype)
        return max(abs(moved[0]), steps, 2 * max(map(abs, moved[1:])))

    def _bind(self, one: _Prompt, layer: int, head: int | None) -> Generator[Progress, None, Edits]:
        edit = (self._edit(layer, head),)
        turns = bind_text(self.traces, edit, one.base, self.session, self.control)
        return (yield from relay_turns(turns, _tell_nothing))

    def _measure(self, one: _Prompt, rows: list[Edits]) -> Generator[Progress, None, tuple[list[float], Tensor]]:
        """Δm of each row, and its two logits, (n, 2)."""
        last = one.base.length - 1
        turns = run_edited_rows(self.traces.model, one.base, rows, last, self.control)
        final = yield from relay_turns(turns, _tell_nothing)
        return self._read_rows(one, final)

    @torch.no_grad()
    def _read_rows(self, one: _Prompt, final: Tensor) -> tuple[list[float], Tensor]:
        z = compute_output_logits(self.traces.model, final)[:, [one.target, one.contrast]].double()
        return (z[:, 0] - z[:, 1] - one.metric).tolist(), z

    def record(self, cancelled: bool = False) -> SweepGrid:
        """The grid as far as it is known."""
        effects = np.stack([one.effects for one in self.found])
        reader = self.traces.model.reader
        ids = {id for one in self.found for id in (one.target, one.contrast)}
        whole = len(self.found) > 1 and bool(np.isfinite(effects).all())
        return SweepGrid(
            self.traces.card.name,
            self.traces.card.n_layers,
            self.request.what,
            self.request.how,
            name_positions(self.request.positions, str),
            self.request.prompts,
            np.array(self.layers),
            None if self.request.what is not Site.Z else np.arange(len(self.heads)),
            np.array([one.metric for one in self.found]),
            effects,
            np.array([one.noise for one in self.found]),
            tuple(one.target for one in self.found),
            tuple(one.contrast for one in self.found),
            {id: reader.shown(id) for id in ids},
            bootstrap_mean(effects) if whole else None,
            cancelled,
            tuple(self.notes),
        )
