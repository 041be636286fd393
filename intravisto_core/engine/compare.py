"""A trace beside another one, most often an edit beside its baseline (docs/methods.md §8, effects)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int

from intravisto_core.analysis.decoding import tile_positions
from intravisto_core.analysis.effects import Predictions, predictions, recovered_share
from intravisto_core.analysis.lenses import default_policy
from intravisto_core.engine.base import Progress
from intravisto_core.engine.context import context_of
from intravisto_core.engine.difference import DifferenceGrid, difference_grid, edited_cells
from intravisto_core.engine.edit import no_op
from intravisto_core.engine.entry import TraceEntry
from intravisto_core.engine.select import index, indices
from intravisto_core.engine.sheet import gather
from intravisto_core.engine.tiles import TileKind
from intravisto_core.engine.vectors import blank_reason, row_range
from intravisto_core.errors import RequestError
from intravisto_core.models import LoadedModel
from intravisto_core.records import Comparison
from intravisto_core.request import CompareView, Patch
from intravisto_core.request.words import in_words
from intravisto_core.sites import Lens, Patching, Reading, TextMode
from intravisto_core.tracing import TraceData

if TYPE_CHECKING:
    from intravisto_core.engine.local import LocalEngine

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

    @property
    def at(self) -> Int[np.ndarray, " r"]:
        """Which of the rows have cells."""
        return np.flatnonzero([not why for why in self.blank])

    @property
    def there(self) -> Int[np.ndarray, " p"]:
        """Which of the columns both runs have."""
        return np.flatnonzero(np.array(self.columns) < self.n)


def compare(engine: LocalEngine, view: CompareView, session: str) -> Generator[Progress, None, Comparison]:
    """The record of a comparison; a no-op is run for the noise floor where the edit reused its baseline.

    Raises:
        RequestError: a position or row out of range, a token that is none, or the max-probability lens.
    """
    found: list[_Side] = []
    for name in (view.trace, view.edited):
        entry = engine._entry(name, session)
        found.append(_Side(entry, (yield from engine._data(entry))))
    a, b = found
    differs_at, n = _shared(a.entry.ids, b.entry.ids)
    position = n - 1 if view.position is None else index(view.position, n, "position")
    ask = _asked(engine, view, a, n, position)
    yield Progress(0, 3, "comparing")
    effects = _effects(engine, ask, a.data, b.data)
    yield Progress(1, 3, "comparing")
    grid = _difference(engine, ask, a.data, b.data).over((yield from _top_ids(engine, ask, a)))
    yield Progress(2, 3, "measuring the noise floor")
    noise = yield from _noise(engine, ask, (a, b), session)
    return _record(engine, view, (a, b), differs_at, position, ask, effects, grid, noise, session)


def _shared(ids: tuple[int, ...], others: tuple[int, ...]) -> tuple[int | None, int]:
    """The first position that reads another token, and how many positions come before it in both."""
    least = min(len(ids), len(others))
    differs = next((i for i in range(least) if ids[i] != others[i]), None)
    n = least if differs is None else differs
    if not n:
        raise RequestError("compare: expected two texts that begin alike; their first tokens differ")
    return differs, n


def _asked(engine: LocalEngine, view: CompareView, a: _Side, n: int, position: int) -> _Ask:
    model = engine._model
    if view.lens is Lens.MAX:
        raise RequestError("lens: cells of the max probability lens come from different tables. Choose another lens")
    norm = view.norm or default_policy(view.component, view.lens, Reading.TOP)
    best = model.logits(a.data.final[position : position + 1])[0].topk(2).indices.tolist()
    target = best[0] if view.target is None else token_id(model, view.target, "target")
    contrast = next(i for i in best if i != target)
    if view.contrast is not None:
        contrast = token_id(model, view.contrast, "contrast")
    rows = indices(view.rows, model.dimensions.n_layers + 2, "rows")
    return _Ask(
        n,
        target,
        contrast,
        TileKind(view.component, view.lens, norm, Reading.TOP),
        rows,
        indices(view.positions, a.entry.length, "positions"),
        tuple(blank_reason(view.component, Reading.TOP, r, model) for r in rows),
    )


def token_id(model: LoadedModel, token: str | int, name: str) -> int:
    """The first token of a text, or an id that the model has.

    Raises:
        RequestError: it is none.
    """
    if isinstance(token, int):
        return index(token, model.dimensions.d_vocab, name)
    ids = model.reader.encode(token, add_special_tokens=False)
    if not ids:
        raise RequestError(f"{name}: expected a text of at least one token; got {token!r}")
    return ids[0]


def _effects(engine: LocalEngine, ask: _Ask, base: TraceData, data: TraceData) -> tuple[Predictions, Predictions]:
    """What both runs say at the first n positions."""
    model = engine._model
    following = torch.tensor([*base.ids[1 : ask.n + 1], -1][: ask.n])
    step = tile_positions(2, model.dimensions.d_vocab)
    return predictions(
        model.logits, base.final[: ask.n], data.final[: ask.n], following, ask.target, ask.contrast, step
    )


def _difference(engine: LocalEngine, ask: _Ask, base: TraceData, data: TraceData) -> DifferenceGrid:
    tokens = (ask.target, ask.contrast)
    return difference_grid(engine._model, base, data, ask.kind, ask.rows, ask.columns, ask.at, ask.there, tokens)


def _top_ids(engine: LocalEngine, ask: _Ask, a: _Side) -> Generator[Progress, None, Int[np.ndarray, "R P"]]:
    """The baseline's top tokens, from the tiles that its heatmap is made of."""
    at, there = ask.at, ask.there
    out = np.full((len(ask.rows), len(ask.columns)), -1, np.int32)
    if len(at) and len(there):
        positions = tuple(ask.columns[i] for i in there)
        sheet = yield from gather(context_of(engine, a.entry, a.data), ask.kind, positions, (), empty=False)
        first = row_range(ask.kind.component, Reading.TOP, engine._model.dimensions.n_layers).start
        out[np.ix_(at, there)] = sheet.cells["top_ids"][np.array(ask.rows)[at] - first, :, 0]
    return out


def _noise(
    engine: LocalEngine, ask: _Ask, sides: tuple[_Side, _Side], session: str
) -> Generator[Progress, None, Noise]:
    """The largest change that a no-op makes on the paths that the two runs took."""
    worst = dict.fromkeys(NOISES, 0.0)
    for side in sides:
        if side.entry.reused is None:
            continue
        base = engine._entry(side.entry.baseline, session)
        key = ("noise", base.fingerprint, _path(side.entry), ask)
        found: Noise | None = engine.store.get(key)
        if found is None:
            idle = yield from no_op(engine, side.entry, base, session)
            found = _change(engine, ask, (yield from engine._data(base)), idle)
            engine.store.put(key, found, 8 * len(found))
        worst = {name: max(value, found[name]) for name, value in worst.items()}
    return worst


def _path(entry: TraceEntry) -> tuple[int, int, int]:
    assert entry.reused is not None
    return entry.reused.layer, entry.reused.position, entry.reused.known


def _change(engine: LocalEngine, ask: _Ask, base: TraceData, idle: TraceData) -> Noise:
    (own, other), grid = _effects(engine, ask, base, idle), _difference(engine, ask, base, idle)
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
    engine: LocalEngine,
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
    (a, b), (own, other), model = (s.entry for s in sides), found, engine._model
    ids = {*own.top.tolist(), *other.top.tolist(), ask.target, ask.contrast}
    ids |= {*np.unique(grid.ids).tolist(), *np.unique(grid.edited_ids).tolist()} - {-1}
    clean, corrupt, edited, notes = _patched(engine, view, sides, position, ask, (own, other), session)
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
        edited_cells=edited_cells(model, b, view.component, ask.rows, ask.columns),
        blank=ask.blank,
        shown={i: model.reader.shown(i) for i in sorted(ids)},
        patching=view.patching,
        recovered=recovered_share(edited, clean, corrupt, noise["logit_difference"]),
        m_clean=clean,
        m_corrupt=corrupt,
        m_edit=edited,
        notes=tuple(dict.fromkeys([*a.notes, *b.notes, *notes])),
    )


def _patched(
    engine: LocalEngine,
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
    source = engine._entry(sources[0], session)
    # The same distance from the end of the prompt, since the two prompts may differ in length.
    there = source.prompt_length + position - a.entry.prompt_length
    data: TraceData | None = engine.store.get(("trace", source.id))
    own, edited = float(found[0].difference[position]), float(found[1].difference[position])
    if data is None or not 0 <= there < data.length:
        return float("nan"), float("nan"), edited, ["no recovered share: the source's text does not reach that far"]
    z = engine._model.logits(data.final[there : there + 1])[0]
    other = float(z[ask.target] - z[ask.contrast])
    clean, corrupt = (other, own) if view.patching is Patching.DENOISE else (own, other)
    return clean, corrupt, edited, [f"recovered share: {view.patching.label}"]
