"""What a trace tells: one method a view. An unknown option is refused with the list of those that there are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from intravisto_core.engine.trace_attention import Places
from intravisto_core.engine.trace_origins import TraceOrigins
from intravisto_core.errors import RequestError, expected
from intravisto_core.options import refuse_unknown
from intravisto_core.records import (
    Architecture,
    CellShares,
    Comparison,
    DecodedGrid,
    Evidence,
    Experts,
    NextTokens,
    ReadBack,
    Shares,
    Sinks,
    TokenQuery,
    UpdateTokens,
)
from intravisto_core.request import (
    ActivationView,
    ArchitectureView,
    CellSharesView,
    Claim,
    CompareView,
    EvidenceView,
    ExpertsView,
    Generation,
    HeatmapView,
    LogitsView,
    ModuleView,
    NextTokensView,
    PatternView,
    QueryView,
    ReadBackView,
    Replace,
    ReplaceMain,
    SharesView,
    SinksView,
    UpdateView,
    View,
)
from intravisto_core.request.checks import TokenChoice
from intravisto_core.sites import (
    Component,
    ControlKind,
    Lens,
    ModuleSide,
    NormPolicy,
    Reading,
    ShareMeasure,
    Site,
)

R = TypeVar("R")


class TraceViews(TraceOrigins):
    """The views of a trace as its methods."""

    @property
    @abstractmethod
    def id(self) -> str:
        """Views name the trace by it."""

    @abstractmethod
    def view(self, view: View[R]) -> R:
        """The record of a view request on this trace."""

    def _ask(self, kind: Callable[..., View[R]], **options: Any) -> R:
        return self.view(kind(trace=self.id, **options))

    def heatmap(
        self,
        component: Component | str = Component.BLOCK,
        lens: Lens | str = Lens.OUTPUT,
        norm: NormPolicy | str | None = None,
        rows: Places = None,
        positions: Places = None,
        top_k: int = 5,
        watch: Iterable[str | int] = (),
        reading: Reading | str = Reading.TOP,
        **options: Any,
    ) -> DecodedGrid:
        """Decoded cells (docs/methods.md §3–4); see `HeatmapView` for the options."""
        options |= {"component": component, "lens": lens, "norm": norm, "rows": rows, "positions": positions}
        return self._ask(HeatmapView, top_k=top_k, watch=watch, reading=reading, **options)

    def shares(self, measure: ShareMeasure | str = ShareMeasure.NORM, **options: Any) -> Shares:
        """How much attention and MLP count at every junction (docs/methods.md §5)."""
        return self._ask(SharesView, measure=measure, **options)

    def activation(
        self, site: Site | str, layer: int, head: int | None = None, step: int | None = None, **options: Any
    ) -> np.ndarray:
        """Captured values, float32: (T, width), or (heads, T, width) of a site with heads and no head named.

        step: only what was computed in one step: 0 the prompt, n the position that reads generated token n − 1.
        """
        return self._ask(ActivationView, site=site, layer=layer, head=head, step=step, **options).values

    def module(self, path: str, what: ModuleSide | str = ModuleSide.OUTPUT, **options: Any) -> Any:
        """What a module named in the request's `modules` returned, or was given; see `ModuleValue.value`."""
        return self._ask(ModuleView, path=path, what=what, **options).value

    def architecture(self, **options: Any) -> Architecture:
        """The modules that the text ran through, the flow between them, what is measured; see `ArchitectureView`."""
        return self._ask(ArchitectureView, **options)

    def pattern(self, layer: int, head: int, **options: Any) -> np.ndarray:
        """Attention of one head, (T query, T key), float32."""
        return self._ask(PatternView, layer=layer, head=head, **options).values

    def sinks(self, **options: Any) -> Sinks:
        """Which positions of which layers are attention sinks, and what decided (docs/methods.md §5)."""
        return self._ask(SinksView, **options)

    def experts(self, layer: int, expert: int | None = None, **options: Any) -> Experts:
        """Which experts of a layer each position went to, and the neurons of one of them."""
        return self._ask(ExpertsView, layer=layer, expert=expert, **options)

    def logits(
        self,
        position: int = -1,
        row: int | None = None,
        component: Component | str = Component.BLOCK,
        lens: Lens | str = Lens.OUTPUT,
        norm: NormPolicy | str | None = None,
        **options: Any,
    ) -> np.ndarray:
        """All logits after a position, (V,), float32: the model's own, or those of a cell; see `LogitsView`."""
        options |= {"component": component, "lens": lens, "norm": norm}
        return self._ask(LogitsView, position=position, row=row, **options).values

    def written(self, component: Component | str, row: int, position: int, n: int = 15, **options: Any) -> UpdateTokens:
        """What attention or MLP promoted and suppressed at a cell, with ranks before and after."""
        return self._ask(UpdateView, component=component, row=row, position=position, n=n, **options)

    def cell_shares(self, row: int, position: int, **options: Any) -> CellShares:
        """Shares at one cell under every measure."""
        return self._ask(CellSharesView, row=row, position=position, **options)

    def next_tokens(self, position: int = -1, n: int = 20, **sampling: Any) -> NextTokens:
        """The next-token distribution after a position, before and after temperature, top_k and top_p."""
        refuse_unknown("next_tokens", Generation.__dataclass_fields__, sampling)
        return self._ask(NextTokensView, position=position, sampling=Generation(**sampling), n=n)

    def query(self, token: str | int, top_k: int = 5, positions: Places = None, **options: Any) -> TokenQuery:
        """Where a token first enters the top k of the stream, and what wrote it there."""
        return self._ask(QueryView, token=token, top_k=top_k, positions=positions, **options)

    def compare(
        self,
        edited: TraceViews | str,
        target: TokenChoice = None,
        contrast: TokenChoice = None,
        position: int | None = None,
        **options: Any,
    ) -> Comparison:
        """What another run, most often an edit of this one, changed; see `CompareView` for the options."""
        other = edited.id if isinstance(edited, TraceViews) else edited
        if not isinstance(other, str):
            raise RequestError(expected("edited", "a trace, or the id of one", type(edited).__name__))
        options |= {"target": target, "contrast": contrast, "position": position}
        return self._ask(CompareView, edited=other, **options)

    def read_back(self, edit: Replace | ReplaceMain, top_k: int = 5, **options: Any) -> ReadBack:
        """What the vector of an edit will read back as at its places, without running it; see `ReadBackView`."""
        return self._ask(ReadBackView, edit=edit, top_k=top_k, **options)

    def test(
        self,
        claim: Claim,
        prompts: Iterable[str] | None = None,
        controls: Iterable[ControlKind | str] | ControlKind | str = "default",
        draws: int = 5,
        seed: int = 0,
        **options: Any,
    ) -> Evidence:
        """A claim that was found in this trace, tested over prompts beside controls; see `EvidenceView`."""
        options |= {"claim": claim, "prompts": prompts, "controls": controls, "draws": draws, "seed": seed}
        return self._ask(EvidenceView, **options)
