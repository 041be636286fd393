"""A heatmap view from tiles: what is missing is decoded tile by tile, the rest is slices."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from intravisto_core.analysis.readings import STEPS
from intravisto_core.lenses import table_lens
from intravisto_core.progress import Progress
from intravisto_core.records import DecodedGrid, Watched
from intravisto_core.request import HeatmapView
from intravisto_core.request.ranges import indices
from intravisto_core.request.views import default_norm
from intravisto_core.sites import Component, Lens, NormPolicy, Reading, TokenOrder
from intravisto_core.views.context import Arrays, ViewContext
from intravisto_core.views.tile_rows import Following, Order, TileRows, gather_tiles
from intravisto_core.views.tiles import TileKind
from intravisto_core.views.typed_tokens import TypedToken, read_token
from intravisto_core.views.vectors import check_reading, explain_blank, list_rows


def compute_heatmap(context: ViewContext, view: HeatmapView) -> Generator[Progress, None, DecodedGrid]:
    """The record of a heatmap view; a turn is a tile.

    Raises:
        RequestError: rows, positions, lens or reading do not fit the model or the trace.
    """
    model, entry = context.model, context.entry
    check_reading(view.component, view.reading)
    lens = table_lens(view.lens)
    norm = view.norm or default_norm(view.component, view.lens, view.reading)
    lens.check_policy(norm)
    # the tokens of states have one order
    order = view.order if norm is NormPolicy.STREAM else TokenOrder.LOGIT
    kind = TileKind(view.component, lens, norm, view.reading, order)
    rows = indices(view.rows, model.dimensions.n_layers + 2, "rows")
    positions = indices(view.positions, entry.length, "positions")
    watch = [read_token(model, text) for text in view.watch]
    reasons = tuple(explain_blank(view.component, view.reading, r, model) for r in rows)
    tokens = tuple(w.id for w in watch)
    first = () if view.first is None else indices(view.first, entry.length, "first")
    turns, following = Order(first, view.within), Following(tokens, view.ranks)
    tile_rows = yield from gather_tiles(context, kind, positions, following, all(reasons), turns)
    return _Composer(context, view, kind, rows, tile_rows.positions, reasons, tile_rows).record(watch)


class _Composer:
    """Puts the tile rows into the order of a view, with blanks where there are no cells."""

    def __init__(
        self,
        context: ViewContext,
        view: HeatmapView,
        kind: TileKind,
        rows: tuple[int, ...],
        positions: tuple[int, ...],
        reasons: tuple[str, ...],
        tile_rows: TileRows,
    ) -> None:
        self.context, self.view, self.kind, self.tile_rows = context, view, kind, tile_rows
        self.rows, self.positions, self.reasons = rows, positions, reasons
        first = list_rows(kind.component, kind.reading, context.model.dimensions.n_layers).start
        self.source = np.array([-1 if why else r - first for r, why in zip(rows, reasons, strict=True)])
        self.filled = self.source >= 0

    def cell(self, name: str, fill: float = np.nan, k: int = 0, arrays: Arrays | None = None) -> np.ndarray:
        """A statistic over the asked rows; blank rows, and what this reading lacks, are filled."""
        whole = (self.tile_rows.cells if arrays is None else arrays).get(name)
        shape = (len(self.rows), len(self.positions), *((k,) if k else ()))
        out = np.full(shape, fill, dtype=np.float32 if whole is None else whole.dtype)
        if whole is not None:
            out[self.filled] = (whole[..., :k] if k else whole)[self.source[self.filled]]
        return out

    def record(self, watch: list[TypedToken]) -> DecodedGrid:
        """The grid."""
        model, entry, view, sheet = self.context.model, self.context.entry, self.view, self.tile_rows
        iterative = view.reading is Reading.ITERATIVE
        k = STEPS if iterative else min(view.top_k, model.dimensions.d_vocab)
        ids = self.cell("ids" if iterative else "top_ids", -1, k).astype(np.int32)
        logits = self.cell("logits" if iterative else "top_logits", k=k)
        log_sum = self.cell("log_sum")
        probabilities = np.exp(logits - log_sum[..., None])
        lowered = self.kind.is_update and not iterative
        suppressed = self.cell("low_ids", -1, k).astype(np.int32) if lowered else None
        shown = {int(i) for a in (ids, sheet.says, suppressed) if a is not None for i in np.unique(a)}
        return DecodedGrid(
            trace=entry.id,
            model=model.name,
            n_layers=model.dimensions.n_layers,
            prompt_length=entry.prompt_length,
            component=view.component,
            lens=view.lens,
            norm=self.kind.norm,
            reading=view.reading,
            rows=np.array(self.rows),
            positions=np.array(self.positions),
            tokens=tuple(entry.tokens[p] for p in self.positions),
            says=sheet.says,
            next_ids=np.array([entry.tokens[p + 1].id if p + 1 < entry.length else -1 for p in self.positions]),
            token_ids=ids,
            probabilities=probabilities,
            logits=logits,
            p_max=probabilities[..., 0],
            entropy=self.cell("entropy"),
            kl_final=self.cell("kl_final"),
            kl_below=self.cell("kl_below"),
            next_log_prob=self.cell("next_logit") - log_sum,
            blank=self.reasons,
            shown={i: model.reader.shown(i) for i in sorted(shown)},
            d_vocab=model.dimensions.d_vocab,
            suppressed_ids=suppressed,
            suppressed_logits=self.cell("low_logits", k=k) if lowered else None,
            coefficients=self.cell("coefficients", k=k) if iterative else None,
            winner=self._winner() if "winner" in sheet.cells else None,
            watch=tuple(self._watched(w) for w in watch),
            notes=tuple(self._notes(watch)),
            **{name: a[list(self.rows)] for name, a in sheet.stream.items()},
        )

    def _winner(self) -> np.ndarray:
        out = np.where(self.cell("winner", 0).astype(bool), "output", "input")
        out[~self.filled] = ""
        return out

    def _watched(self, watch: TypedToken) -> Watched:
        text, token, n_tokens = watch.text, watch.id, watch.n_tokens
        arrays = self.tile_rows.watched.get(token, {})
        logit = self.cell("logit", arrays=arrays)
        return Watched(
            text=text,
            token_id=token,
            n_tokens=n_tokens,
            shown=self.context.model.reader.shown(token),
            probability=np.exp(logit - self.cell("log_sum", arrays=arrays)),
            logit=logit,
            rank=self.cell("rank", 0, arrays=arrays).astype(np.int32),
        )

    def _notes(self, watch: list[TypedToken]) -> list[str]:
        view, model = self.view, self.context.model
        notes = list(self.context.entry.notes)
        if self.kind.norm is NormPolicy.FINAL and view.component in (Component.ATTENTION, Component.MLP):
            notes.append("scale removed: the norm blows every update up to the size of the whole stream")
        if model.weights.tied and view.lens is not Lens.OUTPUT:
            notes.append("this model has one table for input and output: all lenses show the same, but for a bias")
        elif view.lens is not Lens.OUTPUT and not self.kind.is_update:
            notes.append("under this lens the top layers need not equal the model's own prediction")
        if view.lens is Lens.MAX:
            notes.append("favours the table with longer rows; cells of different tables are not compared by colour")
        notes += [f"“{w.text}” has {w.n_tokens} tokens: the first is followed" for w in watch if w.n_tokens > 1]
        return notes
