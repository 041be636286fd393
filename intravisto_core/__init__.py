"""InTraVisTo: see how a transformer language model arrives at a token.

import intravisto_core as iv
trace = iv.open_model("demo").trace("Q: What is the capital of Italy? A:", max_new_tokens=10)
trace.heatmap().save("heatmap.html")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from intravisto_core import figures as figures
from intravisto_core.engine import Engine, Job, LocalEngine, Pool, Progress, Trace, diagnostics
from intravisto_core.errors import (
    BusyError,
    Cancelled,
    IntravistoError,
    MissingProgramError,
    ModelError,
    RequestError,
    Superseded,
    TraceError,
)
from intravisto_core.records import (
    Activation,
    Attribution,
    CellShares,
    Check,
    ContributionGraph,
    DecodedGrid,
    Disagreement,
    Flow,
    HeadShares,
    Logits,
    ModelCard,
    NextTokens,
    Pattern,
    Record,
    Route,
    Shares,
    Token,
    TokenQuery,
    UpdateTokens,
    Watched,
    row_label,
)
from intravisto_core.request import (
    ActivationView,
    AttributionView,
    CellSharesView,
    DisagreementView,
    FlowView,
    Generation,
    GraphView,
    HeadSharesView,
    HeatmapView,
    LogitsView,
    ModelSpec,
    NextTokensView,
    PatternView,
    QueryView,
    RouteView,
    SharesView,
    Span,
    TraceRequest,
    UpdateView,
    from_json,
    to_json,
)
from intravisto_core.sites import (
    AttentionDivision,
    BlockKind,
    Capability,
    Colour,
    Component,
    JobState,
    Lens,
    LinkKind,
    NodeKind,
    NormPolicy,
    Part,
    Reading,
    Refinement,
    ShareMeasure,
    Site,
)

__version__ = "0.1.0"


def open_model(source: str | Path | ModelSpec = "demo", **options: Any) -> LocalEngine:
    """Load a model and check it (docs/methods.md §2).

    source: "demo", a local folder, or a ModelSpec. options: fields of ModelSpec.

    Raises:
        IntravistoError: it cannot be opened, or what it shows would be wrong.
    """
    if isinstance(source, ModelSpec):
        if options:
            raise RequestError("open_model: expected a ModelSpec alone, or a source with options; got both")
        return LocalEngine(source)
    unknown = set(options) - set(ModelSpec.__dataclass_fields__)
    if unknown:
        known = ", ".join(ModelSpec.__dataclass_fields__)
        raise RequestError(f"open_model: expected options among {known}; got {', '.join(sorted(unknown))}")
    return LocalEngine(ModelSpec(str(source), **options))


__all__ = [
    "Activation",
    "ActivationView",
    "AttentionDivision",
    "Attribution",
    "AttributionView",
    "BlockKind",
    "BusyError",
    "Cancelled",
    "Capability",
    "CellShares",
    "CellSharesView",
    "Check",
    "Colour",
    "Component",
    "ContributionGraph",
    "DecodedGrid",
    "Disagreement",
    "DisagreementView",
    "Engine",
    "Flow",
    "FlowView",
    "Generation",
    "GraphView",
    "HeadShares",
    "HeadSharesView",
    "HeatmapView",
    "IntravistoError",
    "Job",
    "JobState",
    "Lens",
    "LinkKind",
    "LocalEngine",
    "Logits",
    "LogitsView",
    "MissingProgramError",
    "ModelCard",
    "ModelError",
    "ModelSpec",
    "NextTokens",
    "NextTokensView",
    "NodeKind",
    "NormPolicy",
    "Part",
    "Pattern",
    "PatternView",
    "Pool",
    "Progress",
    "QueryView",
    "Reading",
    "Record",
    "Refinement",
    "RequestError",
    "Route",
    "RouteView",
    "ShareMeasure",
    "Shares",
    "SharesView",
    "Site",
    "Span",
    "Superseded",
    "Token",
    "TokenQuery",
    "Trace",
    "TraceError",
    "TraceRequest",
    "UpdateTokens",
    "UpdateView",
    "Watched",
    "diagnostics",
    "from_json",
    "open_model",
    "row_label",
    "to_json",
]
