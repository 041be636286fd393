"""What can be asked of an engine: frozen, hashable, JSON-able; each checks itself when built."""

from typing import Any

from intravisto_core.request.base import View as View
from intravisto_core.request.checks import Selection as Selection
from intravisto_core.request.checks import Span as Span
from intravisto_core.request.checks import Turn as Turn
from intravisto_core.request.codec import from_json as from_json
from intravisto_core.request.codec import to_json as to_json
from intravisto_core.request.effects import CompareView as CompareView
from intravisto_core.request.effects import DirectionRequest as DirectionRequest
from intravisto_core.request.effects import EffectView as EffectView
from intravisto_core.request.effects import Link as Link
from intravisto_core.request.effects import LinkCheckView as LinkCheckView
from intravisto_core.request.flow import GENERATED as GENERATED
from intravisto_core.request.flow import MOST_LINKS as MOST_LINKS
from intravisto_core.request.flow import MOST_NODES as MOST_NODES
from intravisto_core.request.flow import AttributionView as AttributionView
from intravisto_core.request.flow import DisagreementView as DisagreementView
from intravisto_core.request.flow import FlowView as FlowView
from intravisto_core.request.flow import GraphView as GraphView
from intravisto_core.request.flow import HeadSharesView as HeadSharesView
from intravisto_core.request.flow import RouteView as RouteView
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
from intravisto_core.request.model import DEVICES as DEVICES
from intravisto_core.request.model import DTYPES as DTYPES
from intravisto_core.request.model import GGUF as GGUF
from intravisto_core.request.model import QUANTISATIONS as QUANTISATIONS
from intravisto_core.request.model import ModelSpec as ModelSpec
from intravisto_core.request.positions import Generated as Generated
from intravisto_core.request.run import MAX_NEW_TOKENS as MAX_NEW_TOKENS
from intravisto_core.request.run import Generation as Generation
from intravisto_core.request.run import TraceRequest as TraceRequest
from intravisto_core.request.tensors import TensorRef as TensorRef
from intravisto_core.request.tensors import tensors as tensors
from intravisto_core.request.tensors import with_tensors as with_tensors
from intravisto_core.request.views import TOP_K_KEPT as TOP_K_KEPT
from intravisto_core.request.views import ActivationView as ActivationView
from intravisto_core.request.views import AttentionSinkView as AttentionSinkView
from intravisto_core.request.views import CellSharesView as CellSharesView
from intravisto_core.request.views import ExpertsView as ExpertsView
from intravisto_core.request.views import HeatmapView as HeatmapView
from intravisto_core.request.views import LogitsView as LogitsView
from intravisto_core.request.views import NextTokensView as NextTokensView
from intravisto_core.request.views import PatternView as PatternView
from intravisto_core.request.views import QueryView as QueryView
from intravisto_core.request.views import SharesView as SharesView
from intravisto_core.request.views import UpdateView as UpdateView
from intravisto_core.request.views import ViewRequest as ViewRequest

Request = TraceRequest | View[Any]
