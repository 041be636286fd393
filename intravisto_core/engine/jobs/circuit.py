"""A circuit: parts ranked, kept and left out, the rest from the counterfactual prompt (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.circuits import (
    LEAST_FLOORS,
    Sets,
    compute_areas,
    count_sizes,
    leave_out,
    resample,
    take_largest,
    weigh_faithfulness,
)
from intravisto_core.analysis.effects import compute_two_steps
from intravisto_core.engine.jobs.circuit_ranking import Pair, rank_parts
from intravisto_core.errors import RequestError, expected
from intravisto_core.experiments.edges import EdgePlaces
from intravisto_core.experiments.kept_parts import keep_parts
from intravisto_core.progress import Progress, always, relay_turns
from intravisto_core.records import Circuit
from intravisto_core.request import CircuitRequest, TraceRequest
from intravisto_core.request.prompts import Prompt, pick_token
from intravisto_core.request.ranges import index
from intravisto_core.sites import Capability, Site
from intravisto_core.traces.edit_batches import run_edited_rows, run_texts
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData, prepare_in_turns
from intravisto_core.tracing.reuse import NEEDED
from intravisto_core.views.typed_tokens import DefaultContrast, target_and_contrast

KEEPS = 0.8
MOST_MINIMAL = 64
SITES = tuple(site for site in Site if site in {*NEEDED, Site.Z, Site.MLP_OUT})
TEXT = "running circuits"


def run_circuit(
    traces: Traces, request: CircuitRequest, session: str, control: RunControl
) -> Generator[Progress, None, Circuit]:
    """The record of a circuit.

    Raises:
        RequestError: pairs of different lengths, a part that there is not, or counterfactuals that leave m.
        ModelError: an identity that heads rest on is missing, or the ranking cannot be made of this model.
    """
    traces.card.require(Capability.HEADS)
    work = _Work(traces, request, control)
    pairs = yield from work.make_pairs(request.prompts)
    found_in = pairs if request.found_in is None else (yield from work.make_pairs(request.found_in))
    scores, edges = yield from work.rank(found_in, len(pairs) + len(found_in))
    work.check(pairs)
    return (yield from work.measure(pairs, scores, edges, len(found_in)))


@dataclass(slots=True)
class _Work:
    traces: Traces
    request: CircuitRequest
    control: RunControl

    @property
    def n(self) -> int:
        """N, heads and MLPs."""
        size = self.traces.model.dimensions
        return size.n_layers * (size.n_heads + 1)

    def make_pairs(self, prompts: Sequence[tuple[Prompt, Prompt]]) -> Generator[Progress, None, list[Pair]]:
        """The runs of each pair."""
        model, texts = self.traces.model, []
        for pair in prompts:
            for prompt in pair:
                asked = TraceRequest(prompt, add_special_tokens=self.request.add_special_tokens)
                texts.append((yield from prepare_in_turns(model, asked)).prompt)
        for clean, corrupt in zip(texts[::2], texts[1::2], strict=True):
            if len(clean) != len(corrupt) or clean == corrupt:
                got = "the same tokens" if clean == corrupt else f"{len(clean)} and {len(corrupt)} tokens"
                raise RequestError(expected("prompts", "pairs of as many tokens each, that differ", got))
        data = yield from run_texts(self.traces, texts, SITES, self.control)
        return [self._pair(number, *runs) for number, runs in enumerate(zip(data[::2], data[1::2], strict=True))]

    def _pair(self, number: int, clean: TraceData, corrupt: TraceData) -> Pair:
        model, default = self.traces.model, DefaultContrast.RUNNER_UP
        logits = model.logits(torch.stack([clean.final[-1], corrupt.final[-1]]))
        wanted, against = (pick_token(value, number) for value in (self.request.target, self.request.contrast))
        target, contrast, _ = target_and_contrast(model, logits[0], wanted, against, default)
        return Pair.of(clean, corrupt, target, contrast, logits)

    def rank(self, pairs: Sequence[Pair], total: int) -> Generator[Progress, None, tuple[np.ndarray, Tensor | None]]:
        """Scores and edges, made once for the same pairs: another circuit of theirs is soon measured."""
        request, store = self.request, self.traces.store
        key = ("circuit ranking", request.by, request.steps, request.seed, *(pair.key for pair in pairs))
        found: tuple[np.ndarray, Tensor | None] | None = store.get(key)
        if found is None:
            ranking = rank_parts(self.traces.model, pairs, request, self.control)
            found = yield from relay_turns(ranking, lambda done: Progress(done, total, "ranking parts"))
            store.put(key, found, found[0].nbytes + (0 if found[1] is None else found[1].nbytes))
        return found

    def check(self, pairs: Sequence[Pair]) -> None:
        """Refuse counterfactuals that do not move m enough to divide by."""
        moved = abs(np.mean([pair.clean_metric - pair.corrupt_metric for pair in pairs]))
        steps = max(compute_two_steps(pair.logits.flatten(), self.traces.model.dtype) for pair in pairs)
        if not moved >= LEAST_FLOORS * steps:
            raise RequestError(
                f"prompts: expected counterfactuals that change the lead of the target; they change it by {moved:.3g} "
                f"logits, and {LEAST_FLOORS} noise floors are {LEAST_FLOORS * steps:.3g}. Name target and contrast, or "
                "change the words that decide between them"
            )

    def measure(
        self, pairs: Sequence[Pair], scores: np.ndarray, edges: Tensor | None, ranked: int
    ) -> Generator[Progress, None, Circuit]:
        """The curves, then everything about the circuit."""
        sizes = count_sizes(self.request.shares, self.n)
        curves = np.concatenate([take_largest(key, sizes) for key in (scores, np.abs(scores))])
        m = yield from self._run_once(pairs, curves, ranked)
        values = _Values(pairs, self.request.seed)
        k = len(sizes)
        f = values.mean(m)
        kept = self._choose(f[:k], curves[:k])
        listed = np.flatnonzero(kept)[np.argsort(-scores[kept], kind="stable")][:MOST_MINIMAL]
        losses = [leave_out(kept, [i])[None] for i in listed]
        sets = np.concatenate([kept[None], *self._halves(kept), *losses, ~kept[None]])
        own = yield from self._run(pairs, sets, ranked, 1.0)
        return self._record(values, scores, edges, m, own, kept, listed)

    def _run_once(self, pairs: Sequence[Pair], sets: Sets, ranked: int) -> Generator[Progress, None, np.ndarray]:
        """m of the sets of the curves, which are the same for every circuit of the same ranking."""
        store = self.traces.store
        key = ("circuit curves", sets.tobytes(), *(pair.key for pair in pairs))
        m: np.ndarray | None = store.get(key)
        if m is None:
            m = yield from self._run(pairs, sets, ranked, 0.5)
            store.put(key, m, m.nbytes)
        return m

    def _run(
        self, pairs: Sequence[Pair], sets: Sets, ranked: int, until: float
    ) -> Generator[Progress, None, np.ndarray]:
        """m of each pair with each set of parts kept, (P, sets); equal sets are run once.

        With no part kept the words too are the counterfactual's.
        """
        unique, place = np.unique(sets, axis=0, return_inverse=True)
        out, model = np.empty((len(pairs), len(unique))), self.traces.model
        total = len(pairs) + ranked
        for number, pair in enumerate(pairs):
            done = ranked + round((until - 0.5 + 0.5 * number / len(pairs)) * len(pairs))
            yield Progress(done, total, TEXT)
            rows = [keep_parts(model, pair.corrupt, pair.first, kept) for kept in unique]
            turns = run_edited_rows(model, pair.clean, rows, pair.clean.length - 1, self.control)
            final = yield from relay_turns(turns, always(Progress(done, total, TEXT)))
            out[number] = np.where(unique.any(1), pair.metric(model.logits(final)), pair.corrupt_metric)
        return out[:, place.reshape(-1)]

    def _choose(self, f: np.ndarray, curve: Sets) -> np.ndarray:
        """The parts that were given, or the smallest set on the curve that keeps enough."""
        if self.request.parts is None:
            enough = np.flatnonzero(f >= KEEPS)
            return curve[enough[0] if len(enough) else -1]
        size, kept = self.traces.model.dimensions, np.zeros(self.n, bool)
        for layer, head in self.request.parts:
            index(layer, size.n_layers, "layer")
            if head >= 0:
                index(head, size.n_heads, "head")
            kept[layer * (size.n_heads + 1) + (size.n_heads if head < 0 else head)] = True
        return kept

    def _halves(self, kept: np.ndarray) -> list[Sets]:
        """For each draw of a random half of the circuit: the circuit without it, and the model without it."""
        rng, found = np.random.default_rng(self.request.seed), []
        for _ in range(self.request.draws):
            half = np.flatnonzero(kept & (rng.random(self.n) < 0.5))
            found.append(np.stack([leave_out(kept, half), leave_out(np.ones(self.n, bool), half)]))
        return found

    def _record(
        self,
        values: _Values,
        scores: np.ndarray,
        edges: Tensor | None,
        m: np.ndarray,
        own: np.ndarray,
        kept: np.ndarray,
        listed: np.ndarray,
    ) -> Circuit:
        request, model = self.request, self.traces.model
        size, shares, k = model.dimensions, np.array(self.request.shares), len(self.request.shares)
        pairs, reader, places = values.pairs, model.reader, EdgePlaces.of(model)

        def areas(f: np.ndarray) -> np.ndarray:
            return np.stack(compute_areas(shares, f[..., :k], f[..., k:]), -1)

        def completeness(f: np.ndarray) -> np.ndarray:
            halves = f[..., 1 : 1 + 2 * request.draws]
            return np.abs(halves[..., ::2] - halves[..., 1::2]).mean(-1)

        def losses(f: np.ndarray) -> np.ndarray:
            return f[..., :1] - f[..., 1 + 2 * request.draws : -1]

        f, f_own = values.mean(m), values.mean(own)
        (cpr, cmd), area = areas(f), values.interval(m, areas)
        minimality, minimality_interval = np.full(self.n, np.nan), np.full((2, self.n), np.nan)
        minimality[listed], minimality_interval[:, listed] = losses(f_own), values.interval(own, losses)
        layer, head = np.divmod(np.arange(self.n), size.n_heads + 1)
        tokens = {token for pair in pairs for token in (pair.target, pair.contrast)}
        notes: tuple[str, ...] = (
            () if request.found_in else ("the parts are ranked on the same prompts that they are measured on",)
        )
        if int(kept.sum()) > len(listed):
            notes += (f"what each part is needed for is measured for the {len(listed)} of largest score",)
        return Circuit(
            model=model.name,
            n_layers=size.n_layers,
            n_heads=size.n_heads,
            by=request.by,
            layer=layer,
            head=np.where(head == size.n_heads, -1, head),
            scores=scores,
            kept=kept,
            chosen=request.parts is not None,
            prompts=tuple(reader.decode(pair.clean.ids) for pair in pairs),
            counterfactuals=tuple(reader.decode(pair.corrupt.ids) for pair in pairs),
            targets=tuple(pair.target for pair in pairs),
            contrasts=tuple(pair.contrast for pair in pairs),
            shown={token: reader.shown(token) for token in sorted(tokens)},
            clean=values.clean,
            corrupt=values.corrupt,
            shares=shares,
            sizes=count_sizes(request.shares, self.n),
            faithfulness=f[:k],
            faithfulness_interval=values.interval(m[:, :k], lambda f: f),
            faithfulness_by_size=f[k:],
            cpr=float(cpr),
            cpr_interval=(float(area[0, 0]), float(area[1, 0])),
            cmd=float(cmd),
            cmd_interval=(float(area[0, 1]), float(area[1, 1])),
            own=float(f_own[0]),
            own_interval=_ends(values.interval(own, lambda f: f[..., 0])),
            removed=float(f_own[-1]),
            removed_interval=_ends(values.interval(own, lambda f: f[..., -1])),
            completeness=float(completeness(f_own)),
            completeness_interval=_ends(values.interval(own, completeness)),
            minimality=minimality,
            minimality_interval=minimality_interval,
            edges=None if edges is None else edges.numpy(),
            sources=() if edges is None else places.sources,
            readers=() if edges is None else places.readers,
            notes=notes,
        )


class _Values:
    """From m of each pair and set to f, and intervals of what is made of it."""

    def __init__(self, pairs: Sequence[Pair], seed: int) -> None:
        self.pairs, self.seed = pairs, seed
        self.clean = np.array([pair.clean_metric for pair in pairs])
        self.corrupt = np.array([pair.corrupt_metric for pair in pairs])

    def mean(self, m: np.ndarray) -> np.ndarray:
        """f of each set, (sets,)."""
        even = np.full((1, len(self.pairs)), 1 / len(self.pairs))
        found: np.ndarray = weigh_faithfulness(even, m, self.clean, self.corrupt)[0]
        return found

    def interval(self, m: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The 95 % interval of a statistic of f (…, sets)."""
        return resample(
            lambda weights: statistic(weigh_faithfulness(weights, m, self.clean, self.corrupt)),
            len(self.pairs),
            self.seed,
        )


def _ends(interval: np.ndarray) -> tuple[float, float]:
    return float(interval[0]), float(interval[1])
