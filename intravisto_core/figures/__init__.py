"""Pictures of records. Importing this tells every kind of record how it is drawn."""

from intravisto_core.figures.arrays import (
    activation_figure,
    attention_sink_figure,
    attention_sink_frame,
    logits_figure,
    pattern_figure,
)
from intravisto_core.figures.attribution import attribution_figure, attribution_frame
from intravisto_core.figures.attribution_html import attribution_html, route_html
from intravisto_core.figures.cell import (
    cell_shares_figure,
    cell_shares_frame,
    next_tokens_figure,
    next_tokens_frame,
    query_figure,
    query_frame,
    update_figure,
    update_frame,
)
from intravisto_core.figures.effects import (
    comparison_figure,
    comparison_frame,
    direction_figure,
    direction_frame,
    link_check_figure,
    link_check_frame,
)
from intravisto_core.figures.experts import experts_figure, experts_frame
from intravisto_core.figures.export import save
from intravisto_core.figures.flow_html import flow_html, graph_html
from intravisto_core.figures.graph import graph_figure, graph_frame
from intravisto_core.figures.heatmap import heatmap_figure
from intravisto_core.figures.model_difference import model_difference_figure, model_difference_frame
from intravisto_core.figures.page import comparison_html, figure_html, grid_html
from intravisto_core.figures.route import head_shares_figure, head_shares_frame, route_figure, route_frame
from intravisto_core.figures.sankey import disagreement_figure, disagreement_frame, flow_figure, flow_frame
from intravisto_core.figures.shares import shares_figure
from intravisto_core.figures.tables import (
    activation_frame,
    grid_frame,
    logits_frame,
    pattern_frame,
    shares_frame,
)
from intravisto_core.records import (
    Activation,
    AttentionSink,
    Attribution,
    CellShares,
    Comparison,
    ConceptDirection,
    ContributionGraph,
    DecodedGrid,
    Disagreement,
    Drawer,
    Experts,
    Flow,
    HeadShares,
    LinkCheck,
    Logits,
    ModelDifference,
    NextTokens,
    Pattern,
    Route,
    Shares,
    TokenQuery,
    UpdateTokens,
    register_drawer,
)

register_drawer(DecodedGrid, Drawer(heatmap_figure, grid_html, grid_frame, save))
register_drawer(Shares, Drawer(shares_figure, figure_html, shares_frame, save))
register_drawer(Activation, Drawer(activation_figure, figure_html, activation_frame, save))
register_drawer(Pattern, Drawer(pattern_figure, figure_html, pattern_frame, save))
register_drawer(AttentionSink, Drawer(attention_sink_figure, figure_html, attention_sink_frame, save))
register_drawer(Experts, Drawer(experts_figure, figure_html, experts_frame, save))
register_drawer(Logits, Drawer(logits_figure, figure_html, logits_frame, save))
register_drawer(UpdateTokens, Drawer(update_figure, figure_html, update_frame, save))
register_drawer(CellShares, Drawer(cell_shares_figure, figure_html, cell_shares_frame, save))
register_drawer(NextTokens, Drawer(next_tokens_figure, figure_html, next_tokens_frame, save))
register_drawer(TokenQuery, Drawer(query_figure, figure_html, query_frame, save))
register_drawer(Flow, Drawer(flow_figure, flow_html, flow_frame, save))
register_drawer(Disagreement, Drawer(disagreement_figure, figure_html, disagreement_frame, save))
register_drawer(HeadShares, Drawer(head_shares_figure, figure_html, head_shares_frame, save))
register_drawer(ContributionGraph, Drawer(graph_figure, graph_html, graph_frame, save))
register_drawer(Route, Drawer(route_figure, route_html, route_frame, save))
register_drawer(Attribution, Drawer(attribution_figure, attribution_html, attribution_frame, save))
register_drawer(Comparison, Drawer(comparison_figure, comparison_html, comparison_frame, save))
register_drawer(ModelDifference, Drawer(model_difference_figure, figure_html, model_difference_frame, save))
register_drawer(LinkCheck, Drawer(link_check_figure, figure_html, link_check_frame, save))
register_drawer(ConceptDirection, Drawer(direction_figure, figure_html, direction_frame, save))
