"""A trace as its user holds it: a handle with its tokens; the activations stay with the engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from intravisto_core.engine.base import Engine
from intravisto_core.engine.entry import TraceEntry
from intravisto_core.engine.trace_flow import TraceFlow
from intravisto_core.records import (
    AttentionSink,
    CellShares,
    Comparison,
    DecodedGrid,
    Experts,
    LinkCheck,
    NextTokens,
    Shares,
    Token,
    TokenQuery,
    UpdateTokens,
)
from intravisto_core.request import (
    ActivationView,
    AttentionSinkView,
    CellSharesView,
    CompareView,
    ExpertsView,
    Generation,
    HeatmapView,
    Intervention,
    Link,
    LinkCheckView,
    LogitsView,
    NextTokensView,
    PatternView,
    QueryView,
    Selection,
    SharesView,
    TraceRequest,
    UpdateView,
)
from intravisto_core.request.effects import TokenChoice
from intravisto_core.sites import (
    Component,
    Lens,
    NormPolicy,
    Reading,
    ShareMeasure,
    Site,
    TextMode,
)


class Trace(TraceFlow):
    """One run of a model over a text.

    tokens: prompt, then generated; every one has been run. text: all decoded, specials left out. prompt_length: in
    tokens, BOS included. cancelled: whether it was stopped early. notes: sentences that the reader must know.
    """

    def __init__(self, engine: Engine, entry: TraceEntry) -> None:
        self._engine = engine
        self._entry = entry

    @property
    def engine(self) -> Engine:
        """The engine that holds the activations."""
        return self._engine

    @property
    def id(self) -> str:
        """A random handle; views name the trace by it."""
        return self._entry.id

    @property
    def fingerprint(self) -> str:
        """A hash of request, weights, dtype and attention path: equal runs have equal ones."""
        return self._entry.fingerprint

    @property
    def request(self) -> TraceRequest:
        """What was asked."""
        return self._entry.request

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens of the text."""
        return self._entry.tokens

    @property
    def text(self) -> str:
        """The whole text, special tokens left out."""
        return self._entry.text

    @property
    def prompt_length(self) -> int:
        """Tokens of the prompt, BOS included."""
        return self._entry.prompt_length

    @property
    def cancelled(self) -> bool:
        """Whether the run was stopped before its end."""
        return self._entry.cancelled

    @property
    def interventions(self) -> tuple[Intervention, ...]:
        """What was changed inside; none in an unedited run."""
        return self._entry.request.interventions

    @property
    def baseline(self) -> Trace | None:
        """The unedited run that an edited one is held against; it is kept as long as this one."""
        if not self._entry.baseline:
            return None
        found: Trace = self._engine.find(self._entry.baseline, self._entry.session)
        return found

    @property
    def mode(self) -> TextMode | None:
        """Whether an edited run read the baseline's tokens (held) or went on by itself (free); else None."""
        return self.request.text if self.interventions else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader must know about this run."""
        return tuple(self._entry.notes)

    def pin(self) -> None:
        """Keep the activations whatever the byte budget."""
        self._engine.pin(self.id)

    def unpin(self) -> None:
        """Take one pin back."""
        self._engine.unpin(self.id)

    def heatmap(
        self,
        component: Component | str = Component.BLOCK,
        lens: Lens | str = Lens.OUTPUT,
        norm: NormPolicy | str | None = None,
        rows: Selection | list[int] = None,
        positions: Selection | list[int] = None,
        top_k: int = 5,
        watch: Iterable[str | int] = (),
        reading: Reading | str = Reading.TOP,
    ) -> DecodedGrid:
        """Decoded cells (docs/methods.md §3–4); see `HeatmapView` for the options."""
        options: dict[str, Any] = {
            "component": component,
            "lens": lens,
            "norm": norm,
            "rows": rows,
            "positions": positions,
            "top_k": top_k,
            "watch": watch,
            "reading": reading,
        }
        grid: DecodedGrid = self.view(HeatmapView(self.id, **options))
        return grid

    def shares(self, measure: ShareMeasure | str = ShareMeasure.NORM) -> Shares:
        """How much attention and MLP count at every junction (docs/methods.md §5)."""
        record: Shares = self.view(SharesView(self.id, ShareMeasure.parse(measure, "measure")))
        return record

    def activation(self, site: Site | str, layer: int, head: int | None = None) -> np.ndarray:
        """Captured values, float32: (T, width), or (heads, T, width) of a site with heads and no head named."""
        values: np.ndarray = self.view(ActivationView(self.id, Site.parse(site, "site"), layer, head)).values
        return values

    def pattern(self, layer: int, head: int) -> np.ndarray:
        """Attention of one head, (T query, T key), float32."""
        values: np.ndarray = self.view(PatternView(self.id, layer, head)).values
        return values

    def attention_sink(self) -> AttentionSink:
        """How much of all attention goes to position 0 and to learned sinks, for each head."""
        record: AttentionSink = self.view(AttentionSinkView(self.id))
        return record

    def experts(self, layer: int, expert: int | None = None) -> Experts:
        """Which experts of a layer each position went to, and the neurons of one of them."""
        record: Experts = self.view(ExpertsView(self.id, layer, expert))
        return record

    def logits(self, position: int = -1) -> np.ndarray:
        """The model's own logits after a position, (V,), float32."""
        values: np.ndarray = self.view(LogitsView(self.id, position)).values
        return values

    def written(self, component: Component | str, row: int, position: int, n: int = 15) -> UpdateTokens:
        """What attention or MLP promoted and suppressed at a cell, with ranks before and after."""
        record: UpdateTokens = self.view(UpdateView(self.id, Component.parse(component), row, position, n))
        return record

    def cell_shares(self, row: int, position: int) -> CellShares:
        """Shares at one cell under every measure."""
        record: CellShares = self.view(CellSharesView(self.id, row, position))
        return record

    def next_tokens(self, position: int = -1, n: int = 20, **sampling: Any) -> NextTokens:
        """The next-token distribution after a position, before and after temperature, top_k and top_p."""
        record: NextTokens = self.view(NextTokensView(self.id, position, Generation(**sampling), n))
        return record

    def query(self, token: str | int, top_k: int = 5, positions: Selection | list[int] = None) -> TokenQuery:
        """Where a token first enters the top k of the stream, and what wrote it there."""
        options: dict[str, Any] = {"positions": positions}
        record: TokenQuery = self.view(QueryView(self.id, token, top_k, **options))
        return record

    def edit_request(self, *interventions: Intervention, text: TextMode | str = TextMode.HELD) -> TraceRequest:
        """What `edit` asks of the engine. Of an edited trace: its interventions and these, on the same baseline."""
        return replace(
            self.request,
            interventions=(*self.interventions, *interventions),
            baseline=self._entry.baseline or self.id,
            text=TextMode.parse(text, "text"),
        )

    def edit(self, *interventions: Intervention, text: TextMode | str = TextMode.HELD) -> Trace:
        """Run again with interventions (docs/methods.md §8) and wait; this trace is kept as the baseline.

        text: "held" feeds the same tokens, so that every position can be compared; "free" goes on by itself.

        Raises:
            RequestError: an intervention does not fit the model or the text; the message names the range.
        """
        found: Trace = self._engine.submit(
            self.edit_request(*interventions, text=text), session=self._entry.session
        ).result()
        return found

    def compare(
        self,
        edited: Trace | str,
        target: TokenChoice = None,
        contrast: TokenChoice = None,
        position: int | None = None,
        **options: Any,
    ) -> Comparison:
        """What another run, most often an edit of this one, changed; see `CompareView` for the options."""
        other = edited if isinstance(edited, str) else edited.id
        record: Comparison = self.view(CompareView(self.id, other, target, contrast, position, **options))
        return record

    def check_links(
        self,
        links: Link | Iterable[Link],
        target: TokenChoice = None,
        contrast: TokenChoice = None,
        position: int = -1,
    ) -> LinkCheck:
        """Predicted and measured effect of taking links away, one or many (docs/methods.md §6)."""
        given: Any = links
        record: LinkCheck = self.view(LinkCheckView(self.id, given, target, contrast, position))
        return record

    def view(self, view: Any) -> Any:
        """The record of a view request on this trace."""
        return self._engine.view(view, session=self._entry.session)

    def __repr__(self) -> str:
        return f"Trace({self.id!r}, {len(self.tokens)} tokens of {self._engine.model.name})"
