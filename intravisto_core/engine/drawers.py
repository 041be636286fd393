"""Which function answers which view request."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from intravisto_core.engine.attribution_view import draw_attribution
from intravisto_core.engine.base import Progress
from intravisto_core.engine.cell_views import draw_cell_shares, draw_next_tokens, draw_query, draw_update
from intravisto_core.engine.context import ViewContext
from intravisto_core.engine.disagreement_view import draw_disagreement
from intravisto_core.engine.expert_views import draw_experts
from intravisto_core.engine.flow_views import draw_flow
from intravisto_core.engine.graph_view import draw_graph
from intravisto_core.engine.head_views import draw_head_shares
from intravisto_core.engine.heatmap import draw_grid
from intravisto_core.engine.route_view import draw_route
from intravisto_core.engine.views import (
    draw_activation,
    draw_attention_sink,
    draw_logits,
    draw_pattern,
    draw_shares,
)
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

DRAWERS: dict[type, Callable[[ViewContext, Any], Generator[Progress, None, Any]]] = {
    HeatmapView: draw_grid,
    SharesView: draw_shares,
    ActivationView: draw_activation,
    PatternView: draw_pattern,
    AttentionSinkView: draw_attention_sink,
    LogitsView: draw_logits,
    ExpertsView: draw_experts,
    UpdateView: draw_update,
    CellSharesView: draw_cell_shares,
    NextTokensView: draw_next_tokens,
    QueryView: draw_query,
    FlowView: draw_flow,
    DisagreementView: draw_disagreement,
    HeadSharesView: draw_head_shares,
    GraphView: draw_graph,
    RouteView: draw_route,
    AttributionView: draw_attribution,
}
