"""What an engine answers with: frozen results in NumPy, each with its shapes and units; each checks itself when built.

R rows and P positions of the view, K listed tokens, L layers, T positions of the trace, V vocabulary.
"""

from intravisto_core.records.arrays import Activation, AttentionSink, Logits, Pattern, Shares
from intravisto_core.records.attribution import Attribution
from intravisto_core.records.base import Drawer, Record, register_drawer
from intravisto_core.records.cell import CellShares, NextTokens, TokenQuery, UpdateTokens
from intravisto_core.records.effects import Comparison, ConceptDirection, LinkCheck
from intravisto_core.records.experts import Experts
from intravisto_core.records.flow import Disagreement, Flow, HeadShares
from intravisto_core.records.graph import ContributionGraph
from intravisto_core.records.grid import DecodedGrid, Watched, row_label
from intravisto_core.records.memory import MemoryEstimate
from intravisto_core.records.model import Check, ModelCard, Token
from intravisto_core.records.model_difference import ModelDifference
from intravisto_core.records.route import Route

__all__ = [
    "Activation",
    "AttentionSink",
    "Attribution",
    "CellShares",
    "Check",
    "Comparison",
    "ConceptDirection",
    "ContributionGraph",
    "DecodedGrid",
    "Disagreement",
    "Drawer",
    "Experts",
    "Flow",
    "HeadShares",
    "LinkCheck",
    "Logits",
    "MemoryEstimate",
    "ModelCard",
    "ModelDifference",
    "NextTokens",
    "Pattern",
    "Record",
    "Route",
    "Shares",
    "Token",
    "TokenQuery",
    "UpdateTokens",
    "Watched",
    "register_drawer",
    "row_label",
]
