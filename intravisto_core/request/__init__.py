"""What can be asked of an engine: frozen, hashable, JSON-able; each checks itself when built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intravisto_core.lazy_names import load_when_used

if TYPE_CHECKING:
    from intravisto_core.request.architecture import ArchitectureView as ArchitectureView
    from intravisto_core.request.architecture import ModuleBlock as ModuleBlock
    from intravisto_core.request.architecture import ModuleOutputView as ModuleOutputView
    from intravisto_core.request.attention import AttentionCutView as AttentionCutView
    from intravisto_core.request.attention import AttentionScoreView as AttentionScoreView
    from intravisto_core.request.attention import AttentionView as AttentionView
    from intravisto_core.request.attention import HeadCompositionRequest as HeadCompositionRequest
    from intravisto_core.request.attention import HeadPatternsView as HeadPatternsView
    from intravisto_core.request.attention import HeadTargetsView as HeadTargetsView
    from intravisto_core.request.attention import HeadTypesRequest as HeadTypesRequest
    from intravisto_core.request.attention import SparseAttentionView as SparseAttentionView
    from intravisto_core.request.base import View as View
    from intravisto_core.request.checks import Selection as Selection
    from intravisto_core.request.checks import Span as Span
    from intravisto_core.request.checks import Turn as Turn
    from intravisto_core.request.circuits import CircuitRequest as CircuitRequest
    from intravisto_core.request.claims import Claim as Claim
    from intravisto_core.request.claims import ClaimRequest as ClaimRequest
    from intravisto_core.request.claims import EvidenceView as EvidenceView
    from intravisto_core.request.codec import from_json as from_json
    from intravisto_core.request.codec import to_json as to_json
    from intravisto_core.request.effects import CompareView as CompareView
    from intravisto_core.request.effects import DirectionRequest as DirectionRequest
    from intravisto_core.request.effects import EffectView as EffectView
    from intravisto_core.request.effects import Link as Link
    from intravisto_core.request.effects import LinkCheckView as LinkCheckView
    from intravisto_core.request.effects import ReadBackView as ReadBackView
    from intravisto_core.request.flow import FLOW_DIVISION as FLOW_DIVISION
    from intravisto_core.request.flow import FLOW_MEASURE as FLOW_MEASURE
    from intravisto_core.request.flow import GENERATED as GENERATED
    from intravisto_core.request.flow import MOST_LINKS as MOST_LINKS
    from intravisto_core.request.flow import MOST_NODES as MOST_NODES
    from intravisto_core.request.flow import AttributionView as AttributionView
    from intravisto_core.request.flow import DisagreementView as DisagreementView
    from intravisto_core.request.flow import ExplainView as ExplainView
    from intravisto_core.request.flow import FlowView as FlowView
    from intravisto_core.request.flow import GraphView as GraphView
    from intravisto_core.request.flow import HeadSharesView as HeadSharesView
    from intravisto_core.request.flow import RouteView as RouteView
    from intravisto_core.request.functions import Apply as Apply
    from intravisto_core.request.interventions import Ablate as Ablate
    from intravisto_core.request.interventions import FreezePattern as FreezePattern
    from intravisto_core.request.interventions import Intervention as Intervention
    from intravisto_core.request.interventions import KnockOut as KnockOut
    from intravisto_core.request.interventions import Patch as Patch
    from intravisto_core.request.interventions import PromptSet as PromptSet
    from intravisto_core.request.interventions import RemoveDirection as RemoveDirection
    from intravisto_core.request.interventions import Replace as Replace
    from intravisto_core.request.interventions import ReplaceMain as ReplaceMain
    from intravisto_core.request.interventions import Scale as Scale
    from intravisto_core.request.interventions import SetValue as SetValue
    from intravisto_core.request.interventions import Steer as Steer
    from intravisto_core.request.interventions import SwapDirection as SwapDirection
    from intravisto_core.request.interventions import in_words as in_words
    from intravisto_core.request.layer import ActiveTextsRequest as ActiveTextsRequest
    from intravisto_core.request.layer import FeatureView as FeatureView
    from intravisto_core.request.layer import HeadView as HeadView
    from intravisto_core.request.layer import LayerView as LayerView
    from intravisto_core.request.layer import NeuronsView as NeuronsView
    from intravisto_core.request.layer import NeuronView as NeuronView
    from intravisto_core.request.measures import MeasureTestRequest as MeasureTestRequest
    from intravisto_core.request.model import DEVICES as DEVICES
    from intravisto_core.request.model import DTYPES as DTYPES
    from intravisto_core.request.model import GGUF as GGUF
    from intravisto_core.request.model import QUANTISATIONS as QUANTISATIONS
    from intravisto_core.request.model import ModelSpec as ModelSpec
    from intravisto_core.request.patching import EmbeddingNoise as EmbeddingNoise
    from intravisto_core.request.patching import PatchingRequest as PatchingRequest
    from intravisto_core.request.patching import PathPatchingRequest as PathPatchingRequest
    from intravisto_core.request.patching import ResampleTokens as ResampleTokens
    from intravisto_core.request.patching import SwapTokens as SwapTokens
    from intravisto_core.request.positions import Generated as Generated
    from intravisto_core.request.run import MAX_NEW_TOKENS as MAX_NEW_TOKENS
    from intravisto_core.request.run import Generation as Generation
    from intravisto_core.request.run import Request as Request
    from intravisto_core.request.run import TraceBatch as TraceBatch
    from intravisto_core.request.run import TraceRequest as TraceRequest
    from intravisto_core.request.saliency import GradientRequest as GradientRequest
    from intravisto_core.request.saliency import GradientView as GradientView
    from intravisto_core.request.saliency import SaliencyView as SaliencyView
    from intravisto_core.request.sweep import SweepRequest as SweepRequest
    from intravisto_core.request.tensor_refs import TensorRef as TensorRef
    from intravisto_core.request.tensor_refs import tensors as tensors
    from intravisto_core.request.tensor_refs import with_tensors as with_tensors
    from intravisto_core.request.vectors import DecodeRequest as DecodeRequest
    from intravisto_core.request.vectors import ModuleRequest as ModuleRequest
    from intravisto_core.request.views import TOP_K_KEPT as TOP_K_KEPT
    from intravisto_core.request.views import ActivationView as ActivationView
    from intravisto_core.request.views import CellSharesView as CellSharesView
    from intravisto_core.request.views import ExpertsView as ExpertsView
    from intravisto_core.request.views import HeatmapView as HeatmapView
    from intravisto_core.request.views import LogitsView as LogitsView
    from intravisto_core.request.views import ModuleView as ModuleView
    from intravisto_core.request.views import NextTokensView as NextTokensView
    from intravisto_core.request.views import PatternView as PatternView
    from intravisto_core.request.views import QueryView as QueryView
    from intravisto_core.request.views import SharesView as SharesView
    from intravisto_core.request.views import SinksView as SinksView
    from intravisto_core.request.views import UpdateView as UpdateView
    from intravisto_core.request.views import ViewRequest as ViewRequest

__getattr__, __dir__ = load_when_used(
    __name__,
    {
        "architecture": "ArchitectureView ModuleBlock ModuleOutputView",
        "attention": (
            "AttentionCutView AttentionScoreView AttentionView HeadCompositionRequest HeadPatternsView "
            "HeadTargetsView HeadTypesRequest SparseAttentionView"
        ),
        "base": "View",
        "checks": "Selection Span Turn",
        "circuits": "CircuitRequest",
        "claims": "Claim ClaimRequest EvidenceView",
        "codec": "from_json to_json",
        "effects": "CompareView DirectionRequest EffectView Link LinkCheckView ReadBackView",
        "flow": (
            "FLOW_DIVISION FLOW_MEASURE GENERATED MOST_LINKS MOST_NODES AttributionView DisagreementView ExplainView "
            "FlowView GraphView HeadSharesView RouteView"
        ),
        "functions": "Apply",
        "interventions": (
            "Ablate FreezePattern Intervention KnockOut Patch PromptSet RemoveDirection Replace ReplaceMain Scale "
            "SetValue Steer SwapDirection in_words"
        ),
        "layer": "ActiveTextsRequest FeatureView HeadView LayerView NeuronsView NeuronView",
        "measures": "MeasureTestRequest",
        "model": "DEVICES DTYPES GGUF QUANTISATIONS ModelSpec",
        "patching": "EmbeddingNoise PatchingRequest PathPatchingRequest ResampleTokens SwapTokens",
        "positions": "Generated",
        "run": "MAX_NEW_TOKENS Generation Request TraceBatch TraceRequest",
        "saliency": "GradientRequest GradientView SaliencyView",
        "sweep": "SweepRequest",
        "tensor_refs": "TensorRef tensors with_tensors",
        "vectors": "DecodeRequest ModuleRequest",
        "views": (
            "TOP_K_KEPT ActivationView CellSharesView ExpertsView HeatmapView LogitsView ModuleView NextTokensView "
            "PatternView QueryView SharesView SinksView UpdateView ViewRequest"
        ),
    },
)
