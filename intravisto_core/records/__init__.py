"""What an engine answers with: frozen results in NumPy, each with its shapes and units; each checks itself when built.

R rows and P positions of the view, K listed tokens, L layers, T positions of the trace, V vocabulary.
"""

from intravisto_core.records.arrays import Activation as Activation
from intravisto_core.records.arrays import AttentionSink as AttentionSink
from intravisto_core.records.arrays import Logits as Logits
from intravisto_core.records.arrays import Pattern as Pattern
from intravisto_core.records.arrays import Shares as Shares
from intravisto_core.records.attribution import Attribution as Attribution
from intravisto_core.records.base import Record as Record
from intravisto_core.records.cell import CellShares as CellShares
from intravisto_core.records.cell import NextTokens as NextTokens
from intravisto_core.records.cell import TokenQuery as TokenQuery
from intravisto_core.records.cell import UpdateTokens as UpdateTokens
from intravisto_core.records.effects import Comparison as Comparison
from intravisto_core.records.effects import ConceptDirection as ConceptDirection
from intravisto_core.records.effects import LinkCheck as LinkCheck
from intravisto_core.records.experts import Experts as Experts
from intravisto_core.records.flow import Disagreement as Disagreement
from intravisto_core.records.flow import Flow as Flow
from intravisto_core.records.flow import HeadShares as HeadShares
from intravisto_core.records.graph import ContributionGraph as ContributionGraph
from intravisto_core.records.grid import DecodedGrid as DecodedGrid
from intravisto_core.records.grid import Watched as Watched
from intravisto_core.records.grid import row_label as row_label
from intravisto_core.records.memory import MemoryEstimate as MemoryEstimate
from intravisto_core.records.model import Check as Check
from intravisto_core.records.model import ModelCard as ModelCard
from intravisto_core.records.model import Token as Token
from intravisto_core.records.model_difference import ModelDifference as ModelDifference
from intravisto_core.records.route import Route as Route
