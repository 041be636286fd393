"""Which function answers which view request."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from intravisto_core.progress import Progress
from intravisto_core.request import (
    ActivationView,
    ArchitectureView,
    AttentionScoreView,
    AttentionView,
    AttributionView,
    CellSharesView,
    DisagreementView,
    ExpertsView,
    FeatureView,
    FlowView,
    GraphView,
    HeadPatternsView,
    HeadSharesView,
    HeadTargetsView,
    HeadView,
    HeatmapView,
    LayerView,
    LogitsView,
    ModuleOutputView,
    ModuleView,
    NeuronsView,
    NeuronView,
    NextTokensView,
    PatternView,
    QueryView,
    ReadBackView,
    RouteView,
    SharesView,
    SinksView,
    SparseAttentionView,
    UpdateView,
)
from intravisto_core.views.activations import (
    compute_activation,
    compute_logits,
    compute_module,
    compute_pattern,
)
from intravisto_core.views.architecture import compute_architecture, compute_module_output
from intravisto_core.views.attention import compute_attention, compute_sparse_attention
from intravisto_core.views.attention_score import compute_attention_score
from intravisto_core.views.attribution import compute_attribution
from intravisto_core.views.cell import compute_cell_shares, compute_next_tokens, compute_query, compute_update
from intravisto_core.views.context import ViewContext
from intravisto_core.views.experts import compute_experts
from intravisto_core.views.flow.disagreement import compute_disagreement
from intravisto_core.views.flow.flow import compute_flow
from intravisto_core.views.flow.graph import compute_graph
from intravisto_core.views.flow.heads import compute_head_shares
from intravisto_core.views.flow.route import compute_route
from intravisto_core.views.heads import compute_head_patterns, compute_head_targets
from intravisto_core.views.heatmap import compute_heatmap
from intravisto_core.views.layer.cards import compute_head
from intravisto_core.views.layer.feature import compute_feature
from intravisto_core.views.layer.layer import compute_layer
from intravisto_core.views.layer.neuron import compute_neuron
from intravisto_core.views.layer.neurons import compute_neurons
from intravisto_core.views.read_back import compute_read_back
from intravisto_core.views.shares import compute_shares
from intravisto_core.views.sinks import compute_sinks

VIEWS: dict[type, Callable[[ViewContext, Any], Generator[Progress, None, Any]]] = {
    HeatmapView: compute_heatmap,
    SharesView: compute_shares,
    ActivationView: compute_activation,
    ModuleView: compute_module,
    ArchitectureView: compute_architecture,
    ModuleOutputView: compute_module_output,
    PatternView: compute_pattern,
    SinksView: compute_sinks,
    AttentionView: compute_attention,
    AttentionScoreView: compute_attention_score,
    SparseAttentionView: compute_sparse_attention,
    HeadTargetsView: compute_head_targets,
    HeadPatternsView: compute_head_patterns,
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
    ReadBackView: compute_read_back,
    LayerView: compute_layer,
    HeadView: compute_head,
    NeuronView: compute_neuron,
    NeuronsView: compute_neurons,
    FeatureView: compute_feature,
}
