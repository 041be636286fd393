"""Which function answers which view request."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from intravisto_core.progress import Progress
from intravisto_core.request import (
    ActivationView,
    AttentionSinkView,
    AttributionView,
    CellSharesView,
    DisagreementView,
    ExpertsView,
    FlowView,
    GraphView,
    HeadSharesView,
    HeatmapView,
    LogitsView,
    NextTokensView,
    PatternView,
    QueryView,
    RouteView,
    SharesView,
    UpdateView,
)
from intravisto_core.views.activations import (
    compute_activation,
    compute_attention_sink,
    compute_logits,
    compute_pattern,
)
from intravisto_core.views.attribution import compute_attribution
from intravisto_core.views.cell import compute_cell_shares, compute_next_tokens, compute_query, compute_update
from intravisto_core.views.context import ViewContext
from intravisto_core.views.experts import compute_experts
from intravisto_core.views.flow.disagreement import compute_disagreement
from intravisto_core.views.flow.flow import compute_flow
from intravisto_core.views.flow.graph import compute_graph
from intravisto_core.views.flow.heads import compute_head_shares
from intravisto_core.views.flow.route import compute_route
from intravisto_core.views.heatmap import compute_heatmap
from intravisto_core.views.shares import compute_shares

VIEWS: dict[type, Callable[[ViewContext, Any], Generator[Progress, None, Any]]] = {
    HeatmapView: compute_heatmap,
    SharesView: compute_shares,
    ActivationView: compute_activation,
    PatternView: compute_pattern,
    AttentionSinkView: compute_attention_sink,
    LogitsView: compute_logits,
    ExpertsView: compute_experts,
    UpdateView: compute_update,
    CellSharesView: compute_cell_shares,
    NextTokensView: compute_next_tokens,
    QueryView: compute_query,
    FlowView: compute_flow,
    DisagreementView: compute_disagreement,
    HeadSharesView: compute_head_shares,
    GraphView: compute_graph,
    RouteView: compute_route,
    AttributionView: compute_attribution,
}
