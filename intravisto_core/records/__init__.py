"""What an engine answers with: frozen results in NumPy, each with its shapes and units; each checks itself when built.

R rows and P positions of the view, K listed tokens, L layers, T positions of the trace, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intravisto_core.lazy_names import load_when_used

if TYPE_CHECKING:
    from intravisto_core.records.active_texts import ActiveText as ActiveText
    from intravisto_core.records.active_texts import ActiveTexts as ActiveTexts
    from intravisto_core.records.architecture import Architecture as Architecture
    from intravisto_core.records.arrays import Activation as Activation
    from intravisto_core.records.arrays import DecodedVectors as DecodedVectors
    from intravisto_core.records.arrays import Logits as Logits
    from intravisto_core.records.arrays import ModuleValue as ModuleValue
    from intravisto_core.records.arrays import Pattern as Pattern
    from intravisto_core.records.arrays import Shares as Shares
    from intravisto_core.records.attention import Attention as Attention
    from intravisto_core.records.attention import SparseAttention as SparseAttention
    from intravisto_core.records.attention_score import AttentionCut as AttentionCut
    from intravisto_core.records.attention_score import AttentionScore as AttentionScore
    from intravisto_core.records.attribution import Attribution as Attribution
    from intravisto_core.records.base import Record as Record
    from intravisto_core.records.batch import BatchSummary as BatchSummary
    from intravisto_core.records.cell import CellShares as CellShares
    from intravisto_core.records.cell import NextTokens as NextTokens
    from intravisto_core.records.cell import TokenQuery as TokenQuery
    from intravisto_core.records.cell import UpdateTokens as UpdateTokens
    from intravisto_core.records.circuits import Circuit as Circuit
    from intravisto_core.records.dictionary import DictionaryCard as DictionaryCard
    from intravisto_core.records.dictionary import FeatureCard as FeatureCard
    from intravisto_core.records.dictionary import LayerFeatures as LayerFeatures
    from intravisto_core.records.effects import Comparison as Comparison
    from intravisto_core.records.effects import ConceptDirection as ConceptDirection
    from intravisto_core.records.effects import LinkCheck as LinkCheck
    from intravisto_core.records.evidence import Evidence as Evidence
    from intravisto_core.records.experts import Experts as Experts
    from intravisto_core.records.explanation import Explanation as Explanation
    from intravisto_core.records.flow import Disagreement as Disagreement
    from intravisto_core.records.flow import Flow as Flow
    from intravisto_core.records.flow import HeadShares as HeadShares
    from intravisto_core.records.graph import ContributionGraph as ContributionGraph
    from intravisto_core.records.grid import DecodedGrid as DecodedGrid
    from intravisto_core.records.grid import Watched as Watched
    from intravisto_core.records.grid import row_label as row_label
    from intravisto_core.records.heads import HeadComposition as HeadComposition
    from intravisto_core.records.heads import HeadPatterns as HeadPatterns
    from intravisto_core.records.heads import HeadTargets as HeadTargets
    from intravisto_core.records.heads import HeadTypes as HeadTypes
    from intravisto_core.records.layer import LayerGraph as LayerGraph
    from intravisto_core.records.layer_cards import HeadCard as HeadCard
    from intravisto_core.records.layer_cards import NeuronCard as NeuronCard
    from intravisto_core.records.layer_cards import Neurons as Neurons
    from intravisto_core.records.layer_cards import TokenList as TokenList
    from intravisto_core.records.measure_test import MeasureTest as MeasureTest
    from intravisto_core.records.memory import MemoryEstimate as MemoryEstimate
    from intravisto_core.records.model import Check as Check
    from intravisto_core.records.model import ModelCard as ModelCard
    from intravisto_core.records.model import Token as Token
    from intravisto_core.records.model_difference import ModelDifference as ModelDifference
    from intravisto_core.records.module_run import FlowLink as FlowLink
    from intravisto_core.records.module_run import FlowNode as FlowNode
    from intravisto_core.records.module_run import ModuleCall as ModuleCall
    from intravisto_core.records.module_run import ModuleFlow as ModuleFlow
    from intravisto_core.records.module_run import ModuleOutput as ModuleOutput
    from intravisto_core.records.module_run import ModuleRun as ModuleRun
    from intravisto_core.records.module_run import ValueShape as ValueShape
    from intravisto_core.records.module_tree import ModuleChange as ModuleChange
    from intravisto_core.records.module_tree import ModuleNode as ModuleNode
    from intravisto_core.records.module_tree import ModuleTensor as ModuleTensor
    from intravisto_core.records.module_tree import ModuleTree as ModuleTree
    from intravisto_core.records.module_tree import TreeComparison as TreeComparison
    from intravisto_core.records.patching import PatchedPair as PatchedPair
    from intravisto_core.records.patching import PatchGrid as PatchGrid
    from intravisto_core.records.read_back import ReadBack as ReadBack
    from intravisto_core.records.retest import Retest as Retest
    from intravisto_core.records.route import Route as Route
    from intravisto_core.records.saliency import Gradient as Gradient
    from intravisto_core.records.saliency import Saliency as Saliency
    from intravisto_core.records.sinks import Sinks as Sinks
    from intravisto_core.records.sweep import SweepGrid as SweepGrid

__getattr__, __dir__ = load_when_used(
    __name__,
    {
        "active_texts": "ActiveText ActiveTexts",
        "architecture": "Architecture",
        "arrays": "Activation DecodedVectors Logits ModuleValue Pattern Shares",
        "attention": "Attention SparseAttention",
        "attention_score": "AttentionCut AttentionScore",
        "attribution": "Attribution",
        "base": "Record",
        "batch": "BatchSummary",
        "cell": "CellShares NextTokens TokenQuery UpdateTokens",
        "circuits": "Circuit",
        "dictionary": "DictionaryCard FeatureCard LayerFeatures",
        "effects": "Comparison ConceptDirection LinkCheck",
        "evidence": "Evidence",
        "experts": "Experts",
        "explanation": "Explanation",
        "flow": "Disagreement Flow HeadShares",
        "graph": "ContributionGraph",
        "grid": "DecodedGrid Watched row_label",
        "heads": "HeadComposition HeadPatterns HeadTargets HeadTypes",
        "layer": "LayerGraph",
        "layer_cards": "HeadCard NeuronCard Neurons TokenList",
        "measure_test": "MeasureTest",
        "memory": "MemoryEstimate",
        "model": "Check ModelCard Token",
        "model_difference": "ModelDifference",
        "module_run": "FlowLink FlowNode ModuleCall ModuleFlow ModuleOutput ModuleRun ValueShape",
        "module_tree": "ModuleChange ModuleNode ModuleTensor ModuleTree TreeComparison",
        "patching": "PatchedPair PatchGrid",
        "read_back": "ReadBack",
        "retest": "Retest",
        "route": "Route",
        "saliency": "Gradient Saliency",
        "sinks": "Sinks",
        "sweep": "SweepGrid",
    },
)
