"""What can be asked of an engine: frozen, hashable, JSON-able; each checks itself when built."""

from intravisto_core.request.checks import Selection, Span, Turn
from intravisto_core.request.codec import from_json, to_json
from intravisto_core.request.flow import (
    GENERATED,
    MOST_LINKS,
    MOST_NODES,
    AttributionView,
    DisagreementView,
    FlowView,
    GraphView,
    HeadSharesView,
    RouteView,
)
from intravisto_core.request.model import DEVICES, DTYPES, QUANTISATIONS, ModelSpec
from intravisto_core.request.run import MAX_NEW_TOKENS, Generation, TraceRequest
from intravisto_core.request.views import (
    TOP_K_KEPT,
    ActivationView,
    CellSharesView,
    HeatmapView,
    LogitsView,
    NextTokensView,
    PatternView,
    QueryView,
    SharesView,
    UpdateView,
    ViewRequest,
)

Request = TraceRequest | ViewRequest

__all__ = [
    "DEVICES",
    "DTYPES",
    "GENERATED",
    "MAX_NEW_TOKENS",
    "MOST_LINKS",
    "MOST_NODES",
    "QUANTISATIONS",
    "TOP_K_KEPT",
    "ActivationView",
    "AttributionView",
    "CellSharesView",
    "DisagreementView",
    "FlowView",
    "Generation",
    "GraphView",
    "HeadSharesView",
    "HeatmapView",
    "LogitsView",
    "ModelSpec",
    "NextTokensView",
    "PatternView",
    "QueryView",
    "Request",
    "RouteView",
    "Selection",
    "SharesView",
    "Span",
    "TraceRequest",
    "Turn",
    "UpdateView",
    "ViewRequest",
    "from_json",
    "to_json",
]
