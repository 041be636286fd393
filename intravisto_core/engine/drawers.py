"""Which function answers which view request."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from intravisto_core.engine.base import Progress
from intravisto_core.engine.cell_views import draw_cell_shares, draw_next_tokens, draw_query, draw_update
from intravisto_core.engine.context import ViewContext
from intravisto_core.engine.flow_views import draw_flow
from intravisto_core.engine.heatmap import draw_grid
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
    CellSharesView,
    FlowView,
    HeatmapView,
    LogitsView,
    NextTokensView,
    PatternView,
    QueryView,
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
    UpdateView: draw_update,
    CellSharesView: draw_cell_shares,
    NextTokensView: draw_next_tokens,
    QueryView: draw_query,
    FlowView: draw_flow,
}
