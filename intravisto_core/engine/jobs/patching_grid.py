"""A patching grid that grows: pair by pair and cell by cell, with what can be shown of it by now."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from intravisto_core.analysis.bootstrap import bootstrap_mean
from intravisto_core.engine.jobs.patching_pairs import (
    PairRuns,
    count_draws,
    describe_made,
    make_pairs,
    read_last_logits,
)
from intravisto_core.errors import ModelError, RequestError
from intravisto_core.experiments.patch_cells import Cell, changes_nothing, group_cells, order_coarse_first
from intravisto_core.experiments.patch_estimate import estimate_effects
from intravisto_core.experiments.patch_metric import measure_noise_floor
from intravisto_core.experiments.patch_runs import Exchange
from intravisto_core.progress import Progress
from intravisto_core.records import PatchedPair, PatchGrid
from intravisto_core.request import PatchingRequest, PathPatchingRequest
from intravisto_core.request.ranges import indices
from intravisto_core.sites import Patching, Site
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl

TEXT = "patching"


@dataclass(slots=True)
class _Pair:
    """What was found of one pair; see `PatchGrid`."""

    runs: PairRuns
    positions: tuple[int, ...]
    effects: np.ndarray
    skipped: np.ndarray
    asked: np.ndarray
    logits: torch.Tensor
    clean: float
    corrupt: float
    texts: PatchedPair
    noise_floor: float = 0.0
    estimates: np.ndarray | None = None

    @property
    def whole(self) -> bool:
        """Whether every cell is done."""
        return bool(np.isfinite(self.effects[self.asked]).all())


class GrowingGrid:
    """The cells of all pairs, run in turns; `record` is what is there by now."""

    path = ""

    def __init__(self, traces: Traces, request: PatchingRequest | PathPatchingRequest, control: RunControl) -> None:
        self.traces, self.request, self.control = traces, request, control
        size, what = traces.model.dimensions, request.what
        self.layers = self.choose_layers()
        n_heads = size.n_kv_heads if what in (Site.K, Site.V) else size.n_heads
        self.heads = tuple(range(n_heads)) if request.by_head else None
        self.pairs: list[_Pair] = []
        self.notes: list[str] = []
        self.n_pairs = len(request.clean) * count_draws(request)
        self.done = self.total = 0

    def choose_layers(self) -> tuple[int, ...]:
        """The rows, rising."""
        assert isinstance(self.request, PatchingRequest)
        return tuple(sorted(set(indices(self.request.layers, self.traces.model.dimensions.n_layers, "layers"))))

    def make_exchange(self, runs: PairRuns) -> Exchange:
        """The two runs of a pair, ready for cells."""
        receiver, donor = runs.receiver(self.request.direction), runs.donor(self.request.direction)
        return Exchange.of(self.traces.model, receiver, donor, self.request.what, runs.measured, self.control)

    def is_asked(self, cell: Cell) -> bool:
        """Whether a cell is to be known at all."""
        return True

    def fill(self) -> Generator[Progress, None, None]:
        """Run every cell of every pair."""
        pairs = yield from make_pairs(self.traces, self.request, self.control)
        for turns in pairs:
            runs = yield from turns
            yield from self._fill_pair(runs)

    def _fill_pair(self, runs: PairRuns) -> Generator[Progress, None, None]:
        request, exchange = self.request, self.make_exchange(runs)
        if runs.noise is not None and exchange.obstacle:
            raise ModelError(f"corrupt: expected a model whose runs can be gone on from; {exchange.obstacle}")
        self._say(f"each cell is a full run: {exchange.obstacle}" if exchange.obstacle else "")
        for note in runs.notes:
            self._say(note)
        positions = self._choose_positions(runs)
        columns = positions if self.heads is None else self.heads
        cells = [self._cell(runs, layer, column, positions) for layer in self.layers for column in columns]
        asked = np.array([self.is_asked(cell) for cell in cells])
        skipped = asked & [self._changes_nothing(exchange, cell, runs.first) for cell in cells]
        shape = (len(self.layers), len(columns))
        pair = self._begin(runs, positions, skipped.reshape(shape), asked.reshape(shape))
        chosen = np.flatnonzero(asked & ~skipped).tolist()
        self.total = self.n_pairs * int(asked.sum())
        self.done += int(skipped.sum())
        yield Progress(self.done, self.total, TEXT)
        receiving = pair.corrupt if request.direction is Patching.DENOISE else pair.clean
        if chosen:
            own = [cells[i] for i in chosen]
            pair.noise_floor = measure_noise_floor(exchange, runs.measured, own, pair.logits, receiving)
            yield Progress(self.done, self.total, TEXT)
        if request.estimate:
            pair.estimates = self._estimate(exchange, runs, cells, pair.skipped)
            yield Progress(self.done, self.total, TEXT)
        for part in order_coarse_first(self.layers):
            wanted = [i for i in chosen if cells[i].layer in part]
            yield from self._run_cells(exchange, cells, wanted, pair, receiving)

    def _begin(self, runs: PairRuns, positions: tuple[int, ...], skipped: np.ndarray, asked: np.ndarray) -> _Pair:
        logits = torch.stack([read_last_logits(self.traces, data) for data in (runs.clean, runs.corrupt)])
        clean, corrupt = runs.measured(logits).tolist()
        effects, texts = np.where(skipped, 0.0, np.nan), self._read_texts(runs, positions, skipped)
        pair = _Pair(runs, positions, effects, skipped, asked, logits, clean, corrupt, texts)
        if self.pairs and self.pairs[0].effects.shape != skipped.shape:
            raise RequestError("alignment: expected pairs of prompts whose positions are aligned alike")
        self.pairs.append(pair)
        return pair

    def _read_texts(self, runs: PairRuns, positions: tuple[int, ...], skipped: np.ndarray) -> PatchedPair:
        clean, corrupt = (self.traces.model.reader.tokens(data.ids, data.length) for data in (runs.clean, runs.corrupt))
        return PatchedPair(clean, corrupt, np.array(runs.pairs), runs.first, np.array(positions), skipped)

    def _run_cells(
        self, exchange: Exchange, cells: list[Cell], wanted: list[int], pair: _Pair, receiving: float
    ) -> Generator[Progress, None, None]:
        n_layers, effects = self.traces.model.dimensions.n_layers, pair.effects.reshape(-1)
        for group in group_cells(exchange.site, cells, wanted, exchange.stop, n_layers, exchange.grows):
            here = [cells[i] for i in group]
            found = exchange.run(here, [exchange.read(cell, exchange.donor) for cell in here])
            effects[group] = found.numpy() - receiving
            self.done += len(group)
            yield Progress(self.done, self.total, TEXT, partial=self.record())

    def _changes_nothing(self, exchange: Exchange, cell: Cell, first: int) -> bool:
        """By causality, or since both runs have the same values there, bit by bit."""
        n_layers = self.traces.model.dimensions.n_layers
        if changes_nothing(exchange.site, cell, n_layers, exchange.stop - 1, 0 if exchange.obstacle else first):
            return True
        own, other = exchange.read(cell, exchange.receiver, own=True), exchange.read(cell, exchange.donor)
        return torch.equal(own, other)

    def _estimate(
        self, exchange: Exchange, runs: PairRuns, cells: list[Cell], skipped: np.ndarray
    ) -> np.ndarray | None:
        noise = runs.noise if self.request.direction is Patching.DENOISE else None
        try:
            found = estimate_effects(exchange, cells, noise)
        except ModelError as error:
            self._say(f"no estimate: {error}")
            return None
        return np.where(skipped, 0.0, found.reshape(skipped.shape))

    def _choose_positions(self, runs: PairRuns) -> tuple[int, ...]:
        """Clean positions that have a partner: those that were asked for, else all, or of heads all that differ."""
        partners, length = [clean for clean, _ in runs.pairs], runs.clean.length
        if self.request.positions is None:
            return tuple(p for p in partners if not self.request.by_head or p >= runs.first)
        asked = tuple(sorted(set(indices(self.request.positions, length, "positions"))))
        missing = [p for p in asked if p not in partners]
        if missing:
            raise RequestError(
                f"positions: expected clean positions that stand for one of the corrupt prompt; {missing[0]} has none. "
                "Give pairs of positions (alignment)"
            )
        return asked

    def _cell(self, runs: PairRuns, layer: int, column: int, positions: tuple[int, ...]) -> Cell:
        partner = dict(runs.pairs)
        places = (column,) if self.heads is None else positions
        pairs = tuple((p, partner[p]) for p in places)
        if self.request.direction is Patching.DENOISE:
            pairs = tuple((b, a) for a, b in pairs)
        return Cell(layer, pairs, None if self.heads is None else column)

    def _say(self, note: str) -> None:
        if note and note not in self.notes:
            self.notes.append(note)

    def _list_prompts(self, pairs: Sequence[_Pair], draws: int) -> tuple[PatchedPair, ...]:
        """Each prompt of several, with the text of its first draw."""
        if len(pairs) == draws:
            return ()
        groups = [pairs[i : i + draws] for i in range(0, len(pairs), draws)]
        return tuple(replace(g[0].texts, skipped=np.all([pair.skipped for pair in g], 0)) for g in groups)

    def record(self, cancelled: bool = False) -> PatchGrid:
        """What is there by now: pairs that are done, else as far as the first is."""
        pairs = [pair for pair in self.pairs if pair.whole] or self.pairs[:1]
        draws = count_draws(self.request)
        if draws > 1 and len(pairs) >= draws:
            pairs = pairs[: len(pairs) // draws * draws]
        elif draws > 1:
            draws = len(pairs)
        reader, first = self.traces.model.reader, pairs[0]
        estimates, texts = [pair.estimates for pair in pairs], first.texts
        tokens = {t for pair in pairs for t in (pair.runs.measured.target, pair.runs.measured.contrast) if t >= 0}
        found = PatchGrid(
            model=self.traces.model.name,
            n_layers=self.traces.model.dimensions.n_layers,
            what=self.request.what,
            direction=self.request.direction,
            metric=self.request.metric,
            clean_tokens=texts.clean_tokens,
            corrupt_tokens=texts.corrupt_tokens,
            alignment=texts.alignment,
            first_difference=texts.first_difference,
            layers=np.array(self.layers),
            positions=texts.positions,
            heads=None if self.heads is None else np.array(self.heads),
            effects=np.stack([pair.effects.copy() for pair in pairs]),
            skipped=np.all([pair.skipped for pair in pairs], 0),
            cleans=np.array([pair.clean for pair in pairs]),
            corrupts=np.array([pair.corrupt for pair in pairs]),
            noise_floors=np.array([pair.noise_floor for pair in pairs]),
            targets=tuple(pair.runs.measured.target for pair in pairs),
            contrasts=tuple(pair.runs.measured.contrast for pair in pairs),
            shown={token: reader.shown(token) for token in tokens},
            estimates=None if any(e is None for e in estimates) else np.stack(estimates),  # type: ignore[arg-type]
            draws=draws,
            made=describe_made(self.request),
            path=self.path,
            cancelled=cancelled,
            prompts=self._list_prompts(pairs, draws),
            notes=tuple(self.notes),
        )
        # while it grows nobody waits for ten thousand resamples
        ended = cancelled or self.done == self.total
        return found.with_interval(bootstrap_mean) if ended and len(found.each) > 1 else found
