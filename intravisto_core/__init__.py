"""InTraVisTo: see how a transformer language model arrives at a token.

import intravisto_core as iv
trace = iv.open_model("demo").trace("Q: What is the capital of Italy? A:", max_new_tokens=10)
trace.heatmap().save("heatmap.html")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from intravisto_core import figures as figures
from intravisto_core.engine import Engine, Job, LocalEngine, Pool, Trace, TraceInfo, compare_models, diagnostics
from intravisto_core.errors import (
    BusyError,
    Cancelled,
    HubError,
    IntravistoError,
    MemoryShortError,
    MissingProgramError,
    ModelError,
    RequestError,
    Superseded,
    TraceError,
)
from intravisto_core.models.estimates import estimate_memory
from intravisto_core.models.hub import check_token
from intravisto_core.models.offered import OfferedModel, cached_models, offer_is_closed, offered_models
from intravisto_core.options import refuse_unknown
from intravisto_core.progress import Progress, Report, quiet
from intravisto_core.records import (
    Activation,
    AttentionSink,
    Attribution,
    CellShares,
    Check,
    Comparison,
    ConceptDirection,
    ContributionGraph,
    DecodedGrid,
    Disagreement,
    Experts,
    Flow,
    HeadShares,
    LinkCheck,
    Logits,
    MemoryEstimate,
    ModelCard,
    ModelDifference,
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
    Ablate,
    ActivationView,
    AttentionSinkView,
    AttributionView,
    CellSharesView,
    CompareView,
    DirectionRequest,
    DisagreementView,
    ExpertsView,
    FlowView,
    FreezePattern,
    Generated,
    Generation,
    GraphView,
    HeadSharesView,
    HeatmapView,
    KnockOut,
    Link,
    LinkCheckView,
    LogitsView,
    ModelSpec,
    NextTokensView,
    Patch,
    PatternView,
    PromptSet,
    QueryView,
    RemoveDirection,
    Replace,
    ReplaceMain,
    RouteView,
    Scale,
    SetValue,
    SharesView,
    Span,
    Steer,
    SwapDirection,
    TensorRef,
    TraceRequest,
    UpdateView,
    from_json,
    tensors,
    to_json,
    with_tensors,
)
from intravisto_core.sites import (
    Ablation,
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
    Patching,
    Reading,
    Refinement,
    ShareMeasure,
    Site,
    SteerUnit,
    TextMode,
)

__version__ = "0.1.0"


def open_model(
    source: str | Path | ModelSpec = "demo", *, token: str | None = None, report: Report = quiet, **options: Any
) -> LocalEngine:
    """Load a model and check it (docs/methods.md §2).

    source: "demo", a local folder, a GGUF file, a name on the Hugging Face Hub or of Ollama, a LoRA adapter (see
    `ModelSpec.source`), or a ModelSpec. token: for a model on the Hub that is gated or private; else HF_TOKEN or
    the machine's login serves. report: called with bytes done, bytes in all (0 of 0 where they are not known) and what
    is being done; what it raises ends the opening. options: fields of ModelSpec.

    Raises:
        IntravistoError: it cannot be opened, or what it shows would be wrong.
    """
    if isinstance(source, ModelSpec):
        if options:
            raise RequestError("open_model: expected a ModelSpec alone, or a source with options; got both")
        return LocalEngine(source, token=token, report=report)
    refuse_unknown("open_model", ModelSpec.__dataclass_fields__, options)
    return LocalEngine(ModelSpec(str(source), **options), token=token, report=report)


__all__ = [
    "Ablate",
    "Ablation",
    "Activation",
    "ActivationView",
    "AttentionDivision",
    "AttentionSink",
    "AttentionSinkView",
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
    "CompareView",
    "Comparison",
    "Component",
    "ConceptDirection",
    "ContributionGraph",
    "DecodedGrid",
    "DirectionRequest",
    "Disagreement",
    "DisagreementView",
    "Engine",
    "Experts",
    "ExpertsView",
    "Flow",
    "FlowView",
    "FreezePattern",
    "Generated",
    "Generation",
    "GraphView",
    "HeadShares",
    "HeadSharesView",
    "HeatmapView",
    "HubError",
    "IntravistoError",
    "Job",
    "JobState",
    "KnockOut",
    "Lens",
    "Link",
    "LinkCheck",
    "LinkCheckView",
    "LinkKind",
    "LocalEngine",
    "Logits",
    "LogitsView",
    "MemoryEstimate",
    "MemoryShortError",
    "MissingProgramError",
    "ModelCard",
    "ModelDifference",
    "ModelError",
    "ModelSpec",
    "NextTokens",
    "NextTokensView",
    "NodeKind",
    "NormPolicy",
    "OfferedModel",
    "Part",
    "Patch",
    "Patching",
    "Pattern",
    "PatternView",
    "Pool",
    "Progress",
    "PromptSet",
    "QueryView",
    "Reading",
    "Record",
    "Refinement",
    "RemoveDirection",
    "Replace",
    "ReplaceMain",
    "RequestError",
    "Route",
    "RouteView",
    "Scale",
    "SetValue",
    "ShareMeasure",
    "Shares",
    "SharesView",
    "Site",
    "Span",
    "Steer",
    "SteerUnit",
    "Superseded",
    "SwapDirection",
    "TensorRef",
    "TextMode",
    "Token",
    "TokenQuery",
    "Trace",
    "TraceError",
    "TraceInfo",
    "TraceRequest",
    "UpdateTokens",
    "UpdateView",
    "Watched",
    "cached_models",
    "check_token",
    "compare_models",
    "diagnostics",
    "estimate_memory",
    "from_json",
    "offer_is_closed",
    "offered_models",
    "open_model",
    "row_label",
    "tensors",
    "to_json",
    "with_tensors",
]
