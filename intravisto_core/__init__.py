"""InTraVisTo: see how a transformer language model arrives at a token.

import intravisto_core as iv
trace = iv.open_model("demo").trace("Q: What is the capital of Italy? A:", max_new_tokens=10)
trace.heatmap().save("heatmap.html")

Every name that is promised stands here, and loads when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intravisto_core.lazy_names import load_when_used

if TYPE_CHECKING:
    from intravisto_core import figures as figures
    from intravisto_core.engine import Engine as Engine
    from intravisto_core.engine import Job as Job
    from intravisto_core.engine import LocalEngine as LocalEngine
    from intravisto_core.engine import Pool as Pool
    from intravisto_core.engine import Trace as Trace
    from intravisto_core.engine import TraceInfo as TraceInfo
    from intravisto_core.engine import compare_models as compare_models
    from intravisto_core.engine import diagnostics as diagnostics
    from intravisto_core.engine import open_trace as open_trace
    from intravisto_core.engine import retest as retest
    from intravisto_core.engine.connecting import connect as connect
    from intravisto_core.engine.frames import frame as frame
    from intravisto_core.engine.model_opening import open_model as open_model
    from intravisto_core.engine.remote import RemoteEngine as RemoteEngine
    from intravisto_core.errors import BusyError as BusyError
    from intravisto_core.errors import Cancelled as Cancelled
    from intravisto_core.errors import HubError as HubError
    from intravisto_core.errors import IntravistoError as IntravistoError
    from intravisto_core.errors import LostTraceError as LostTraceError
    from intravisto_core.errors import MemoryShortError as MemoryShortError
    from intravisto_core.errors import MissingProgramError as MissingProgramError
    from intravisto_core.errors import ModelError as ModelError
    from intravisto_core.errors import NotSavedError as NotSavedError
    from intravisto_core.errors import RequestError as RequestError
    from intravisto_core.errors import ServiceError as ServiceError
    from intravisto_core.errors import Superseded as Superseded
    from intravisto_core.errors import TooLargeError as TooLargeError
    from intravisto_core.errors import TraceError as TraceError
    from intravisto_core.inspection.inspector import Inspector as Inspector
    from intravisto_core.models.estimates import estimate_memory as estimate_memory
    from intravisto_core.models.offered import OfferedModel as OfferedModel
    from intravisto_core.models.offered import cached_models as cached_models
    from intravisto_core.models.offered import offer_is_closed as offer_is_closed
    from intravisto_core.models.offered import offered_models as offered_models
    from intravisto_core.models.remote.hub_token import check_token as check_token
    from intravisto_core.models.tree_difference import compare_trees as compare_trees
    from intravisto_core.progress import Progress as Progress
    from intravisto_core.records import Activation as Activation
    from intravisto_core.records import ActiveText as ActiveText
    from intravisto_core.records import ActiveTexts as ActiveTexts
    from intravisto_core.records import Architecture as Architecture
    from intravisto_core.records import Attention as Attention
    from intravisto_core.records import AttentionCut as AttentionCut
    from intravisto_core.records import AttentionScore as AttentionScore
    from intravisto_core.records import Attribution as Attribution
    from intravisto_core.records import BatchSummary as BatchSummary
    from intravisto_core.records import CellShares as CellShares
    from intravisto_core.records import Check as Check
    from intravisto_core.records import Circuit as Circuit
    from intravisto_core.records import Comparison as Comparison
    from intravisto_core.records import ConceptDirection as ConceptDirection
    from intravisto_core.records import ContributionGraph as ContributionGraph
    from intravisto_core.records import DecodedGrid as DecodedGrid
    from intravisto_core.records import DecodedVectors as DecodedVectors
    from intravisto_core.records import DictionaryCard as DictionaryCard
    from intravisto_core.records import Disagreement as Disagreement
    from intravisto_core.records import Evidence as Evidence
    from intravisto_core.records import Experts as Experts
    from intravisto_core.records import Explanation as Explanation
    from intravisto_core.records import FeatureCard as FeatureCard
    from intravisto_core.records import Flow as Flow
    from intravisto_core.records import FlowLink as FlowLink
    from intravisto_core.records import FlowNode as FlowNode
    from intravisto_core.records import Gradient as Gradient
    from intravisto_core.records import HeadCard as HeadCard
    from intravisto_core.records import HeadComposition as HeadComposition
    from intravisto_core.records import HeadPatterns as HeadPatterns
    from intravisto_core.records import HeadShares as HeadShares
    from intravisto_core.records import HeadTargets as HeadTargets
    from intravisto_core.records import HeadTypes as HeadTypes
    from intravisto_core.records import LayerFeatures as LayerFeatures
    from intravisto_core.records import LayerGraph as LayerGraph
    from intravisto_core.records import LinkCheck as LinkCheck
    from intravisto_core.records import Logits as Logits
    from intravisto_core.records import MeasureTest as MeasureTest
    from intravisto_core.records import MemoryEstimate as MemoryEstimate
    from intravisto_core.records import ModelCard as ModelCard
    from intravisto_core.records import ModelDifference as ModelDifference
    from intravisto_core.records import ModuleCall as ModuleCall
    from intravisto_core.records import ModuleChange as ModuleChange
    from intravisto_core.records import ModuleFlow as ModuleFlow
    from intravisto_core.records import ModuleNode as ModuleNode
    from intravisto_core.records import ModuleOutput as ModuleOutput
    from intravisto_core.records import ModuleRun as ModuleRun
    from intravisto_core.records import ModuleTensor as ModuleTensor
    from intravisto_core.records import ModuleTree as ModuleTree
    from intravisto_core.records import ModuleValue as ModuleValue
    from intravisto_core.records import NeuronCard as NeuronCard
    from intravisto_core.records import Neurons as Neurons
    from intravisto_core.records import NextTokens as NextTokens
    from intravisto_core.records import PatchedPair as PatchedPair
    from intravisto_core.records import PatchGrid as PatchGrid
    from intravisto_core.records import Pattern as Pattern
    from intravisto_core.records import ReadBack as ReadBack
    from intravisto_core.records import Record as Record
    from intravisto_core.records import Retest as Retest
    from intravisto_core.records import Route as Route
    from intravisto_core.records import Saliency as Saliency
    from intravisto_core.records import Shares as Shares
    from intravisto_core.records import Sinks as Sinks
    from intravisto_core.records import SparseAttention as SparseAttention
    from intravisto_core.records import SweepGrid as SweepGrid
    from intravisto_core.records import Token as Token
    from intravisto_core.records import TokenList as TokenList
    from intravisto_core.records import TokenQuery as TokenQuery
    from intravisto_core.records import TreeComparison as TreeComparison
    from intravisto_core.records import UpdateTokens as UpdateTokens
    from intravisto_core.records import ValueShape as ValueShape
    from intravisto_core.records import Watched as Watched
    from intravisto_core.records import row_label as row_label
    from intravisto_core.request import Ablate as Ablate
    from intravisto_core.request import ActivationView as ActivationView
    from intravisto_core.request import ActiveTextsRequest as ActiveTextsRequest
    from intravisto_core.request import Apply as Apply
    from intravisto_core.request import ArchitectureView as ArchitectureView
    from intravisto_core.request import AttentionCutView as AttentionCutView
    from intravisto_core.request import AttentionScoreView as AttentionScoreView
    from intravisto_core.request import AttentionView as AttentionView
    from intravisto_core.request import AttributionView as AttributionView
    from intravisto_core.request import CellSharesView as CellSharesView
    from intravisto_core.request import CircuitRequest as CircuitRequest
    from intravisto_core.request import Claim as Claim
    from intravisto_core.request import CompareView as CompareView
    from intravisto_core.request import DecodeRequest as DecodeRequest
    from intravisto_core.request import DirectionRequest as DirectionRequest
    from intravisto_core.request import DisagreementView as DisagreementView
    from intravisto_core.request import EmbeddingNoise as EmbeddingNoise
    from intravisto_core.request import EvidenceView as EvidenceView
    from intravisto_core.request import ExpertsView as ExpertsView
    from intravisto_core.request import ExplainView as ExplainView
    from intravisto_core.request import FeatureView as FeatureView
    from intravisto_core.request import FlowView as FlowView
    from intravisto_core.request import FreezePattern as FreezePattern
    from intravisto_core.request import Generated as Generated
    from intravisto_core.request import Generation as Generation
    from intravisto_core.request import GradientView as GradientView
    from intravisto_core.request import GraphView as GraphView
    from intravisto_core.request import HeadCompositionRequest as HeadCompositionRequest
    from intravisto_core.request import HeadPatternsView as HeadPatternsView
    from intravisto_core.request import HeadSharesView as HeadSharesView
    from intravisto_core.request import HeadTargetsView as HeadTargetsView
    from intravisto_core.request import HeadTypesRequest as HeadTypesRequest
    from intravisto_core.request import HeadView as HeadView
    from intravisto_core.request import HeatmapView as HeatmapView
    from intravisto_core.request import KnockOut as KnockOut
    from intravisto_core.request import LayerView as LayerView
    from intravisto_core.request import Link as Link
    from intravisto_core.request import LinkCheckView as LinkCheckView
    from intravisto_core.request import LogitsView as LogitsView
    from intravisto_core.request import MeasureTestRequest as MeasureTestRequest
    from intravisto_core.request import ModelSpec as ModelSpec
    from intravisto_core.request import ModuleBlock as ModuleBlock
    from intravisto_core.request import ModuleOutputView as ModuleOutputView
    from intravisto_core.request import ModuleRequest as ModuleRequest
    from intravisto_core.request import ModuleView as ModuleView
    from intravisto_core.request import NeuronsView as NeuronsView
    from intravisto_core.request import NeuronView as NeuronView
    from intravisto_core.request import NextTokensView as NextTokensView
    from intravisto_core.request import Patch as Patch
    from intravisto_core.request import PatchingRequest as PatchingRequest
    from intravisto_core.request import PathPatchingRequest as PathPatchingRequest
    from intravisto_core.request import PatternView as PatternView
    from intravisto_core.request import PromptSet as PromptSet
    from intravisto_core.request import QueryView as QueryView
    from intravisto_core.request import ReadBackView as ReadBackView
    from intravisto_core.request import RemoveDirection as RemoveDirection
    from intravisto_core.request import Replace as Replace
    from intravisto_core.request import ReplaceMain as ReplaceMain
    from intravisto_core.request import ResampleTokens as ResampleTokens
    from intravisto_core.request import RouteView as RouteView
    from intravisto_core.request import SaliencyView as SaliencyView
    from intravisto_core.request import Scale as Scale
    from intravisto_core.request import SetValue as SetValue
    from intravisto_core.request import SharesView as SharesView
    from intravisto_core.request import SinksView as SinksView
    from intravisto_core.request import Span as Span
    from intravisto_core.request import SparseAttentionView as SparseAttentionView
    from intravisto_core.request import Steer as Steer
    from intravisto_core.request import SwapDirection as SwapDirection
    from intravisto_core.request import SwapTokens as SwapTokens
    from intravisto_core.request import SweepRequest as SweepRequest
    from intravisto_core.request import TensorRef as TensorRef
    from intravisto_core.request import TraceBatch as TraceBatch
    from intravisto_core.request import TraceRequest as TraceRequest
    from intravisto_core.request import UpdateView as UpdateView
    from intravisto_core.request import View as View
    from intravisto_core.request import from_json as from_json
    from intravisto_core.request import tensors as tensors
    from intravisto_core.request import to_json as to_json
    from intravisto_core.request import with_tensors as with_tensors
    from intravisto_core.sites import Ablation as Ablation
    from intravisto_core.sites import Alignment as Alignment
    from intravisto_core.sites import AttentionDivision as AttentionDivision
    from intravisto_core.sites import BlockKind as BlockKind
    from intravisto_core.sites import Capability as Capability
    from intravisto_core.sites import Colour as Colour
    from intravisto_core.sites import Component as Component
    from intravisto_core.sites import ControlKind as ControlKind
    from intravisto_core.sites import DataKind as DataKind
    from intravisto_core.sites import Effect as Effect
    from intravisto_core.sites import ExplainTest as ExplainTest
    from intravisto_core.sites import FeatureActivation as FeatureActivation
    from intravisto_core.sites import FeaturePart as FeaturePart
    from intravisto_core.sites import HeadTarget as HeadTarget
    from intravisto_core.sites import InputScaling as InputScaling
    from intravisto_core.sites import JobState as JobState
    from intravisto_core.sites import Lane as Lane
    from intravisto_core.sites import LayerPart as LayerPart
    from intravisto_core.sites import LayerWidth as LayerWidth
    from intravisto_core.sites import Lens as Lens
    from intravisto_core.sites import LinkKind as LinkKind
    from intravisto_core.sites import ModuleSide as ModuleSide
    from intravisto_core.sites import ModuleStatistic as ModuleStatistic
    from intravisto_core.sites import NeuronRanking as NeuronRanking
    from intravisto_core.sites import NodeKind as NodeKind
    from intravisto_core.sites import NormPolicy as NormPolicy
    from intravisto_core.sites import Part as Part
    from intravisto_core.sites import Patching as Patching
    from intravisto_core.sites import PatchMetric as PatchMetric
    from intravisto_core.sites import Ranking as Ranking
    from intravisto_core.sites import RankPalette as RankPalette
    from intravisto_core.sites import Reading as Reading
    from intravisto_core.sites import Refinement as Refinement
    from intravisto_core.sites import SaliencyMethod as SaliencyMethod
    from intravisto_core.sites import SaliencyReference as SaliencyReference
    from intravisto_core.sites import ScoreEnd as ScoreEnd
    from intravisto_core.sites import ShareMeasure as ShareMeasure
    from intravisto_core.sites import SinkHandling as SinkHandling
    from intravisto_core.sites import Site as Site
    from intravisto_core.sites import SteerUnit as SteerUnit
    from intravisto_core.sites import TextMode as TextMode
    from intravisto_core.sites import TokenOrder as TokenOrder
    from intravisto_core.sites import TokenVector as TokenVector
    from intravisto_core.sites import Verdict as Verdict

__version__ = "0.1.0"

__getattr__, __dir__ = load_when_used(
    __name__,
    {
        "figures": "figures",
        "engine": "Engine Job LocalEngine Pool Trace TraceInfo compare_models diagnostics open_trace retest",
        "engine.connecting": "connect",
        "engine.frames": "frame",
        "engine.model_opening": "open_model",
        "engine.remote": "RemoteEngine",
        "errors": (
            "BusyError Cancelled HubError IntravistoError LostTraceError MemoryShortError MissingProgramError "
            "ModelError NotSavedError RequestError ServiceError Superseded TooLargeError TraceError"
        ),
        "inspection.inspector": "Inspector",
        "models.estimates": "estimate_memory",
        "models.offered": "OfferedModel cached_models offer_is_closed offered_models",
        "models.remote.hub_token": "check_token",
        "models.tree_difference": "compare_trees",
        "progress": "Progress",
        "records": (
            "Activation ActiveText ActiveTexts Architecture Attention AttentionCut AttentionScore Attribution "
            "BatchSummary CellShares Check Circuit Comparison ConceptDirection ContributionGraph DecodedGrid "
            "DecodedVectors DictionaryCard Disagreement Evidence Experts Explanation FeatureCard Flow FlowLink "
            "FlowNode Gradient HeadCard HeadComposition HeadPatterns HeadShares HeadTargets HeadTypes LayerFeatures "
            "LayerGraph LinkCheck Logits MeasureTest MemoryEstimate ModelCard ModelDifference ModuleCall ModuleChange "
            "ModuleFlow ModuleNode ModuleOutput ModuleRun ModuleTensor ModuleTree ModuleValue NeuronCard Neurons "
            "NextTokens PatchGrid Pattern ReadBack Record Retest Route Saliency Shares Sinks SparseAttention "
            "PatchedPair SweepGrid Token TokenList TokenQuery TreeComparison UpdateTokens ValueShape Watched row_label"
        ),
        "request": (
            "Ablate ActivationView ActiveTextsRequest Apply ArchitectureView AttentionCutView AttentionScoreView "
            "AttentionView AttributionView CellSharesView CircuitRequest Claim CompareView DecodeRequest "
            "DirectionRequest DisagreementView EmbeddingNoise EvidenceView ExpertsView ExplainView FeatureView "
            "FlowView FreezePattern Generated Generation GradientView GraphView HeadCompositionRequest "
            "HeadPatternsView HeadSharesView HeadTargetsView HeadTypesRequest HeadView HeatmapView KnockOut LayerView "
            "Link LinkCheckView LogitsView MeasureTestRequest ModelSpec ModuleBlock ModuleOutputView ModuleRequest "
            "ModuleView NeuronsView NeuronView NextTokensView Patch PatchingRequest PathPatchingRequest PatternView "
            "PromptSet QueryView ReadBackView RemoveDirection Replace ReplaceMain ResampleTokens RouteView "
            "SaliencyView Scale SetValue SharesView SinksView Span SparseAttentionView Steer SwapDirection SwapTokens "
            "SweepRequest TensorRef TraceBatch TraceRequest UpdateView View from_json tensors to_json with_tensors"
        ),
        "sites": (
            "Ablation Alignment AttentionDivision BlockKind Capability Colour Component ControlKind DataKind Effect "
            "ExplainTest FeatureActivation FeaturePart HeadTarget InputScaling JobState Lane LayerPart LayerWidth "
            "Lens LinkKind ModuleSide ModuleStatistic NeuronRanking NodeKind NormPolicy Part Patching PatchMetric "
            "Ranking RankPalette Reading Refinement SaliencyMethod SaliencyReference ScoreEnd ShareMeasure "
            "SinkHandling Site SteerUnit TextMode TokenOrder TokenVector Verdict"
        ),
    },
)
