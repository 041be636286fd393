"""What a trace tells of where a prediction comes from: flows, attribution, explanations, saliency."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from intravisto_core.engine.trace_attention import Places
from intravisto_core.engine.trace_layer import TraceLayer
from intravisto_core.records import (
    Attribution,
    ContributionGraph,
    Disagreement,
    Explanation,
    Flow,
    HeadShares,
    LinkCheck,
    Route,
    Saliency,
)
from intravisto_core.request import (
    FLOW_DIVISION,
    FLOW_MEASURE,
    AttributionView,
    DisagreementView,
    ExplainView,
    FlowView,
    GradientView,
    GraphView,
    HeadSharesView,
    Link,
    LinkCheckView,
    RouteView,
    SaliencyView,
)
from intravisto_core.request.checks import TokenChoice
from intravisto_core.sites import AttentionDivision, Refinement, SaliencyMethod, SaliencyReference, ShareMeasure, Site


class TraceOrigins(TraceLayer):
    """The views of where a prediction comes from as methods of a trace."""

    def flow(
        self,
        row: int | None = None,
        position: int | str = -1,
        measure: ShareMeasure | str = FLOW_MEASURE,
        attention: AttentionDivision | str = FLOW_DIVISION,
        rows: Places = None,
        top_k: int | None = None,
        min_mass: float = 1e-4,
        **options: Any,
    ) -> Flow:
        """Where a prediction comes from (docs/methods.md §6); see `FlowView` for all options."""
        options |= {"measure": measure, "attention": attention, "rows": rows, "top_k": top_k, "min_mass": min_mass}
        return self._ask(FlowView, row=row, position=position, **options)

    def disagreement(self, row: int | None = None, position: int | str = -1, **options: Any) -> Disagreement:
        """Links of a flow whose ranks differ most between two measures; see `DisagreementView`."""
        return self._ask(DisagreementView, row=row, position=position, **options)

    def head_shares(self, row: int, position: int, **options: Any) -> HeadShares:
        """How the attention of one cell divides over heads and sources; see `HeadSharesView`."""
        return self._ask(HeadSharesView, row=row, position=position, **options)

    def graph(
        self, row: int | None = None, position: int | str = -1, threshold: float = 0.04, **options: Any
    ) -> ContributionGraph:
        """The contribution-threshold graph (docs/methods.md §6); see `GraphView`."""
        return self._ask(GraphView, row=row, position=position, threshold=threshold, **options)

    def route(
        self,
        measure: ShareMeasure | str = FLOW_MEASURE,
        attention: AttentionDivision | str = FLOW_DIVISION,
        **options: Any,
    ) -> Route:
        """Where each generated token came from: sources, layers, heads; see `RouteView`."""
        return self._ask(RouteView, measure=measure, attention=attention, **options)

    def attribution(
        self,
        target: str | int | None = None,
        contrast: str | int | None = None,
        position: int = -1,
        by: Refinement | str = Refinement.COMPONENTS,
        **options: Any,
    ) -> Attribution:
        """What each part of the final stream adds to a logit (difference); see `AttributionView`."""
        options |= {"target": target, "contrast": contrast, "position": position, "by": by}
        return self._ask(AttributionView, **options)

    def explain(
        self,
        target: str | int | None = None,
        contrast: str | int | None = None,
        position: int | None = None,
        tests: bool = True,
        **options: Any,
    ) -> Explanation:
        """Where a token comes from: which words it uses, when it comes up, who adds to it; see `ExplainView`."""
        options |= {"target": target, "contrast": contrast, "position": position, "tests": tests}
        return self._ask(ExplainView, **options)

    def check_links(
        self,
        links: Link | Iterable[Link],
        target: TokenChoice = None,
        contrast: TokenChoice = None,
        position: int = -1,
        **options: Any,
    ) -> LinkCheck:
        """Predicted and measured effect of taking links away, one or many (docs/methods.md §6)."""
        options |= {"target": target, "contrast": contrast, "position": position}
        return self._ask(LinkCheckView, links=links, **options)

    def gradient(
        self,
        target: str | int | None = None,
        contrast: str | int | None = None,
        site: Site | str = Site.RESID_PRE,
        layer: int = 0,
        position: int = -1,
        **options: Any,
    ) -> np.ndarray:
        """The slope of a logit (difference) along a site, (T, width), float32; see `GradientView`."""
        options |= {"target": target, "contrast": contrast, "position": position}
        return self._ask(GradientView, site=site, layer=layer, **options).values

    def saliency(
        self,
        target: str | int | None = None,
        contrast: str | int | None = None,
        position: int | None = None,
        method: SaliencyMethod | str = SaliencyMethod.GRADIENT_INPUT,
        steps: int = 32,
        reference: SaliencyReference | str = SaliencyReference.MEAN,
        **options: Any,
    ) -> Saliency:
        """How much a logit (difference) depends on each token of the text; see `SaliencyView`."""
        options |= {"target": target, "contrast": contrast, "position": position, "method": method}
        return self._ask(SaliencyView, steps=steps, reference=reference, **options)
