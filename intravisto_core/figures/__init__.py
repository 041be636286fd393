"""Pictures of records. Importing this tells every kind of record how it is drawn."""

from intravisto_core.figures.arrays import (
    activation_figure,
    attention_sink_figure,
    attention_sink_frame,
    logits_figure,
    pattern_figure,
)
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
from intravisto_core.figures.export import save
from intravisto_core.figures.heatmap import heatmap_figure
from intravisto_core.figures.html import figure_html, grid_html
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
    CellShares,
    DecodedGrid,
    Drawer,
    Logits,
    NextTokens,
    Pattern,
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
register_drawer(Logits, Drawer(logits_figure, figure_html, logits_frame, save))
register_drawer(UpdateTokens, Drawer(update_figure, figure_html, update_frame, save))
register_drawer(CellShares, Drawer(cell_shares_figure, figure_html, cell_shares_frame, save))
register_drawer(NextTokens, Drawer(next_tokens_figure, figure_html, next_tokens_frame, save))
register_drawer(TokenQuery, Drawer(query_figure, figure_html, query_frame, save))
