"""A trace beside another one, most often an edit beside its baseline (docs/methods.md §8, effects)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from intravisto_core.analysis.decoding import count_tile_positions
from intravisto_core.analysis.effects import Predictions, compute_predictions, compute_recovered_share
from intravisto_core.analysis.lenses import compute_output_logits
from intravisto_core.errors import RequestError
from intravisto_core.lenses import table_lens
from intravisto_core.progress import Progress
from intravisto_core.records import Comparison
from intravisto_core.request import CompareView, Patch
from intravisto_core.request.interventions import in_words
from intravisto_core.request.ranges import index, indices
from intravisto_core.request.views import default_norm
from intravisto_core.sites import Lens, Patching, Reading, TextMode
from intravisto_core.traces.edited_runs import run_no_op
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.plain_runs import read_plain_data
from intravisto_core.traces.trace_data import read_data
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData
from intravisto_core.views.context import ViewContext
from intravisto_core.views.difference import DifferenceGrid, compute_difference, flag_edited_cells
from intravisto_core.views.tile_rows import Following, gather_tiles
from intravisto_core.views.tiles import TileKind
from intravisto_core.views.typed_tokens import DefaultContrast, target_and_contrast
from intravisto_core.views.vectors import explain_blank, list_rows

Noise = dict[str, float]
NOISES = ("log_prob", "logit_difference", "kl", "grid_kl", "grid_distance", "grid_difference")


@dataclass(frozen=True, slots=True)
class _Side:
    entry: TraceEntry
    data: TraceData


@dataclass(frozen=True, slots=True)
class _Ask:
    """What is measured: the first n positions, two tokens, the cells of a grid; blank: why a row has none, or ""."""

    n: int
    target: int
    contrast: int
    kind: TileKind
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    blank: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def at(self) -> Int[np.ndarray, " r"]:
        """Which of the rows have cells."""
        return np.flatnonzero([not why for why in self.blank])

    @property
    def there(self) -> Int[np.ndarray, " p"]:
        """Which of the columns both runs have."""
        return np.flatnonzero(np.array(self.columns) < self.n)


def run_compare(
    traces: Traces, view: CompareView, session: str, control: RunControl
) -> Generator[Progress, None, Comparison]:
    """The record of a comparison; a no-op is run for the noise floor where the edit reused its baseline.

    Raises:
        RequestError: a position or row out of range, a token that is none, or the max-probability lens.
    """
    found: list[_Side] = []
    for name in (view.trace, view.edited):
        entry = traces.entry(name, session)
        found.append(_Side(entry, (yield from read_data(traces, entry))))
    a, b = found
    differs_at, n = _shared(a.entry.ids, b.entry.ids)
    position = n - 1 if view.position is None else index(view.position, n, "position")
    ask = _read_view(traces, view, a, n, position)
    yield Progress(0, 3, "comparing")
    effects = _effects(traces, ask, a.data, b.data)
    yield Progress(1, 3, "comparing")
    grid = _difference(traces, ask, a.data, b.data).over((yield from _top_ids(traces, ask, a)))
    yield Progress(2, 3, "measuring the noise floor")
    noise = yield from _noise(traces, ask, (a, b), session)
    return _record(traces, view, (a, b), differs_at, position, ask, effects, grid, noise, session)


def _shared(ids: tuple[int, ...], others: tuple[int, ...]) -> tuple[int | None, int]:
    """The first position that reads another token, and how many positions come before it in both."""
    least = min(len(ids), len(others))
    differs = next((i for i in range(least) if ids[i] != others[i]), None)
    n = least if differs is None else differs
    if not n:
        raise RequestError("compare: expected two texts that begin alike; their first tokens differ")
    return differs, n


def _read_view(traces: Traces, view: CompareView, a: _Side, n: int, position: int) -> _Ask:
    model = traces.model
    if view.lens is Lens.MAX:
        raise RequestError("lens: cells of the max probability lens come from different tables. Choose another lens")
    lens = table_lens(view.lens)
    norm = view.norm or default_norm(view.component, view.lens, Reading.TOP)
    logits = compute_output_logits(model, a.data.final[position : position + 1])[0]
    target, contrast, notes = target_and_contrast(model, logits, view.target, view.contrast, DefaultContrast.RUNNER_UP)
    rows = indices(view.rows, model.dimensions.n_layers + 2, "rows")
    return _Ask(
        n,
        target,
        contrast,
        TileKind(view.component, lens, norm, Reading.TOP),
        rows,
        indices(view.positions, a.entry.length, "positions"),
        tuple(explain_blank(view.component, Reading.TOP, r, model) for r in rows),
        notes,
    )


def _effects(traces: Traces, ask: _Ask, base: TraceData, data: TraceData) -> tuple[Predictions, Predictions]:
    """What both runs say at the first n positions."""
    model = traces.model
    following = torch.tensor([*base.ids[1 : ask.n + 1], -1][: ask.n])
    step = count_tile_positions(2, model.dimensions.d_vocab)
    return compute_predictions(
        model.logits, base.final[: ask.n], data.final[: ask.n], following, ask.target, ask.contrast, step
    )


def _difference(traces: Traces, ask: _Ask, base: TraceData, data: TraceData) -> DifferenceGrid:
    tokens = (ask.target, ask.contrast)
    return compute_difference(traces.model, base, data, ask.kind, ask.rows, ask.columns, ask.at, ask.there, tokens)


def _top_ids(traces: Traces, ask: _Ask, a: _Side) -> Generator[Progress, None, Int[np.ndarray, "R P"]]:
    """The baseline's top tokens, from the tiles that its heatmap is made of."""
    context, at, there = ViewContext.of(traces, a.entry, a.data), ask.at, ask.there
    out = np.full((len(ask.rows), len(ask.columns)), -1, np.int32)
    if len(at) and len(there):
        positions = tuple(ask.columns[i] for i in there)
        tile_rows = yield from gather_tiles(context, ask.kind, positions, Following(), empty=False)
        first = list_rows(ask.kind.component, Reading.TOP, traces.model.dimensions.n_layers).start
        out[np.ix_(at, there)] = tile_rows.cells["top_ids"][np.array(ask.rows)[at] - first, :, 0]
    return out


def _noise(traces: Traces, ask: _Ask, sides: tuple[_Side, _Side], session: str) -> Generator[Progress, None, Noise]:
    """The largest change that a no-op makes on the paths that the two runs took."""
    worst = dict.fromkeys(NOISES, 0.0)
    for side in sides:
        reused = side.entry.reused
        if reused is None:
            continue
        base = traces.entry(side.entry.baseline, session)
        key = ("noise", base.fingerprint, reused.layer, reused.position, reused.known, ask)
        found: Noise | None = traces.store.get(key)
        if found is None:
            idle = yield from run_no_op(traces, base, reused)
            found = _change(traces, ask, (yield from read_plain_data(traces, base)), idle)
            traces.store.put(key, found, 8 * len(found))
        worst = {name: max(value, found[name]) for name, value in worst.items()}
    return worst


def _change(traces: Traces, ask: _Ask, base: TraceData, idle: TraceData) -> Noise:
    (own, other), grid = _effects(traces, ask, base, idle), _difference(traces, ask, base, idle)
    return {
        "log_prob": _largest(other.log_prob - own.log_prob),
        "logit_difference": _largest(other.difference - own.difference),
        "kl": _largest(other.kl),
        "grid_kl": _largest(grid.kl),
        "grid_distance": _largest(grid.distance),
        "grid_difference": _largest(grid.difference),
    }


def _largest(change: np.ndarray) -> float:
    finite = np.abs(change[np.isfinite(change)])
    return float(finite.max()) if finite.size else 0.0


def _record(
    traces: Traces,
    view: CompareView,
    sides: tuple[_Side, _Side],
    differs_at: int | None,
    position: int,
    ask: _Ask,
    found: tuple[Predictions, Predictions],
    grid: DifferenceGrid,
    noise: Noise,
    session: str,
) -> Comparison:
    (a, b), (own, other), model = (s.entry for s in sides), found, traces.model
    ids = {*own.top.tolist(), *other.top.tolist(), ask.target, ask.contrast}
    ids |= {*np.unique(grid.ids).tolist(), *np.unique(grid.edited_ids).tolist()} - {-1}
    clean, corrupt, edited, notes = _patched(traces, view, sides, position, ask, (own, other), session)
    if differs_at is not None:
        notes.append(f"texts differ from position {differs_at}: later cells are blank")
    return Comparison(
        baseline=a.id,
        edited=b.id,
        model=model.name,
        n_layers=model.dimensions.n_layers,
        mode=b.request.text if b.request.interventions else TextMode.FREE,
        edits=tuple(in_words(i) for i in b.request.interventions),
        tokens=a.tokens,
        edited_tokens=b.tokens,
        text=a.text,
        edited_text=b.text,
        prompt_length=a.prompt_length,
        differs_at=differs_at,
        n_compared=ask.n,
        log_prob=own.log_prob,
        edited_log_prob=other.log_prob,
        kl=other.kl,
        top_ids=own.top,
        edited_top_ids=other.top,
        target=ask.target,
        contrast=ask.contrast,
        logit_difference=own.difference,
        edited_logit_difference=other.difference,
        position=position,
        noise=noise,
        exact=a.reused is None and b.reused is None,
        component=view.component,
        lens=view.lens,
        norm=ask.kind.norm,
        rows=np.array(ask.rows),
        positions=np.array(ask.columns),
        grid_kl=grid.kl,
        grid_distance=grid.distance,
        grid_difference=grid.difference,
        grid_ids=grid.ids,
        grid_edited_ids=grid.edited_ids,
        edited_cells=flag_edited_cells(model, b, view.component, ask.rows, ask.columns),
        blank=ask.blank,
        shown={i: model.reader.shown(i) for i in sorted(ids)},
        patching=view.patching,
        recovered=_recover(view, edited, clean, corrupt, noise["logit_difference"]),
        m_clean=clean,
        m_corrupt=corrupt,
        m_edit=edited,
        notes=tuple(dict.fromkeys([*a.notes, *b.notes, *ask.notes, *notes])),
    )


def _recover(view: CompareView, edited: float, clean: float, corrupt: float, noise: float) -> float:
    """The recovered share, where it was asked for."""
    if view.patching is None:
        return float("nan")
    return compute_recovered_share(edited, clean, corrupt, noise, view.patching)


def _patched(
    traces: Traces,
    view: CompareView,
    sides: tuple[_Side, _Side],
    position: int,
    ask: _Ask,
    found: tuple[Predictions, Predictions],
    session: str,
) -> tuple[float, float, float, list[str]]:
    """Logit difference of the clean, the corrupt and the edited run, NaN where no recovered share is asked for."""
    if view.patching is None:
        return (float("nan"),) * 3 + ([],)
    a, b = sides
    sources = [i.source for i in b.entry.request.interventions if isinstance(i, Patch)]
    if not sources:
        raise RequestError("patching: expected an edit with a Patch, whose source is the other text; it has none")
    source = traces.entry(sources[0], session)
    # The same distance from the end of the prompt, since the two prompts may differ in length.
    there = source.prompt_length + position - a.entry.prompt_length
    data: TraceData | None = traces.kept_data(source)
    own, edited = float(found[0].difference[position]), float(found[1].difference[position])
    if data is None or not 0 <= there < data.length:
        return float("nan"), float("nan"), edited, ["no recovered share: the source's text does not reach that far"]
    z = compute_output_logits(traces.model, data.final[there : there + 1])[0]
    other = float(z[ask.target] - z[ask.contrast])
    clean, corrupt = (other, own) if view.patching is Patching.DENOISE else (own, other)
    return clean, corrupt, edited, [f"recovered share: {view.patching.label}"]
