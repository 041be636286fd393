"""What a trace tells about where a prediction comes from."""

from __future__ import annotations

from inspect import signature
from typing import Any, Protocol, TypeVar

from intravisto_core.errors import RequestError, expected
from intravisto_core.records import Attribution, ContributionGraph, Disagreement, Flow, HeadShares, Route
from intravisto_core.request import (
    AttributionView,
    DisagreementView,
    FlowView,
    GraphView,
    HeadSharesView,
    RouteView,
    Selection,
)
from intravisto_core.sites import AttentionDivision, Refinement, ShareMeasure

Asked = TypeVar("Asked")


class Viewed(Protocol):
    """A trace that can be asked for views."""

    @property
    def id(self) -> str:
        """Views name the trace by it."""
        ...

    def view(self, view: Any) -> Any:
        """The record of a view request on this trace."""
        ...


class TraceFlow:
    """The views of docs/methods.md §6 as methods of a trace."""

    def flow(
        self: Viewed,
        row: int | None = None,
        position: int | str = -1,
        measure: ShareMeasure | str = ShareMeasure.NORM,
        attention: AttentionDivision | str = AttentionDivision.WEIGHTS,
        rows: Selection | list[int] = None,
        top_k: int | None = None,
        min_mass: float = 1e-4,
        **options: Any,
    ) -> Flow:
        """Where a prediction comes from (docs/methods.md §6); see `FlowView` for all options."""
        options |= {"measure": measure, "attention": attention, "rows": rows, "top_k": top_k, "min_mass": min_mass}
        record: Flow = self.view(_asked(FlowView, trace=self.id, row=row, position=position, **options))
        return record

    def disagreement(self: Viewed, row: int | None = None, position: int | str = -1, **options: Any) -> Disagreement:
        """Links of a flow whose places differ most between two measures; see `DisagreementView`."""
        record: Disagreement = self.view(_asked(DisagreementView, trace=self.id, row=row, position=position, **options))
        return record

    def head_shares(self: Viewed, row: int, position: int, **options: Any) -> HeadShares:
        """How the attention of one cell divides over heads and sources; see `HeadSharesView`."""
        record: HeadShares = self.view(_asked(HeadSharesView, trace=self.id, row=row, position=position, **options))
        return record

    def graph(
        self: Viewed, row: int | None = None, position: int | str = -1, threshold: float = 0.04, **options: Any
    ) -> ContributionGraph:
        """The contribution-threshold graph (docs/methods.md §6); see `GraphView`."""
        options |= {"row": row, "position": position, "threshold": threshold}
        record: ContributionGraph = self.view(_asked(GraphView, trace=self.id, **options))
        return record

    def route(
        self: Viewed,
        measure: ShareMeasure | str = ShareMeasure.NORM,
        attention: AttentionDivision | str = AttentionDivision.WEIGHTS,
        **options: Any,
    ) -> Route:
        """Where each generated token came from: sources, layers, heads; see `RouteView`."""
        record: Route = self.view(_asked(RouteView, trace=self.id, measure=measure, attention=attention, **options))
        return record

    def attribution(
        self: Viewed,
        target: str | int | None = None,
        contrast: str | int | None = None,
        position: int = -1,
        by: Refinement | str = Refinement.COMPONENTS,
        **options: Any,
    ) -> Attribution:
        """What each part of the final stream adds to a logit (difference); see `AttributionView`."""
        options |= {"target": target, "contrast": contrast, "position": position, "by": by}
        record: Attribution = self.view(_asked(AttributionView, trace=self.id, **options))
        return record


def _asked(kind: type[Asked], **options: Any) -> Asked:
    """A request of that kind; what it has no option for is refused with the options that it has."""
    known = [name for name in signature(kind).parameters if name != "trace"]
    unknown = sorted(set(options) - {"trace", *known})
    if unknown:
        raise RequestError(expected(f"options of {kind.__name__}", known, ", ".join(unknown)))
    return kind(**options)
