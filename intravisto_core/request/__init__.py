"""What can be asked of an engine: frozen, hashable, JSON-able; each checks itself when built."""

from typing import Any

from intravisto_core.request.base import View
from intravisto_core.request.checks import Selection, Span, Turn
from intravisto_core.request.codec import from_json, to_json
from intravisto_core.request.effects import CompareView, DirectionRequest, EffectView, Link, LinkCheckView
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
from intravisto_core.request.interventions import (
    Ablate,
    FreezePattern,
    Intervention,
    KnockOut,
    Patch,
    PromptSet,
    RemoveDirection,
    Replace,
    ReplaceMain,
    Scale,
    SetValue,
    Steer,
    SwapDirection,
)
from intravisto_core.request.model import DEVICES, DTYPES, GGUF, QUANTISATIONS, ModelSpec
from intravisto_core.request.positions import Generated
from intravisto_core.request.run import MAX_NEW_TOKENS, Generation, TraceRequest
from intravisto_core.request.tensors import TensorRef, tensors, with_tensors
from intravisto_core.request.views import (
    TOP_K_KEPT,
    ActivationView,
    AttentionSinkView,
    CellSharesView,
    ExpertsView,
    HeatmapView,
    LogitsView,
    NextTokensView,
    PatternView,
    QueryView,
    SharesView,
    UpdateView,
    ViewRequest,
)
from intravisto_core.request.words import in_words

Request = TraceRequest | View[Any]

__all__ = [
    "DEVICES",
    "DTYPES",
    "GENERATED",
    "GGUF",
    "MAX_NEW_TOKENS",
    "MOST_LINKS",
    "MOST_NODES",
    "QUANTISATIONS",
    "TOP_K_KEPT",
    "Ablate",
    "ActivationView",
    "AttentionSinkView",
    "AttributionView",
    "CellSharesView",
    "CompareView",
    "DirectionRequest",
    "DisagreementView",
    "EffectView",
    "ExpertsView",
    "FlowView",
    "FreezePattern",
    "Generated",
    "Generation",
    "GraphView",
    "HeadSharesView",
    "HeatmapView",
    "Intervention",
    "KnockOut",
    "Link",
    "LinkCheckView",
    "LogitsView",
    "ModelSpec",
    "NextTokensView",
    "Patch",
    "PatternView",
    "PromptSet",
    "QueryView",
    "RemoveDirection",
    "Replace",
    "ReplaceMain",
    "Request",
    "RouteView",
    "Scale",
    "Selection",
    "SetValue",
    "SharesView",
    "Span",
    "Steer",
    "SwapDirection",
    "TensorRef",
    "TraceRequest",
    "Turn",
    "UpdateView",
    "View",
    "ViewRequest",
    "from_json",
    "in_words",
    "tensors",
    "to_json",
    "with_tensors",
]
