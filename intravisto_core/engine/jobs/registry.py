"""Which work answers which kind of request, and whose turn comes first: the one table of them all."""

from __future__ import annotations

from dataclasses import dataclass

from intravisto_core.engine.dispatcher import Priority
from intravisto_core.engine.jobs.active_texts import run_active_texts
from intravisto_core.engine.jobs.attention_cut import run_attention_cut
from intravisto_core.engine.jobs.check_links import run_link_check
from intravisto_core.engine.jobs.circuit import run_circuit
from intravisto_core.engine.jobs.compare import run_compare
from intravisto_core.engine.jobs.direction import run_direction
from intravisto_core.engine.jobs.evidence import run_evidence
from intravisto_core.engine.jobs.explain import run_explain
from intravisto_core.engine.jobs.gradients import run_gradient, run_saliency
from intravisto_core.engine.jobs.head_types import run_head_composition, run_head_types
from intravisto_core.engine.jobs.kept_records import Work, keep_records
from intravisto_core.engine.jobs.measures import run_measure_test
from intravisto_core.engine.jobs.patching import run_patching, run_path_patching
from intravisto_core.engine.jobs.sweep import run_sweep
from intravisto_core.engine.jobs.trace import run_trace, run_trace_batch
from intravisto_core.engine.jobs.vectors import run_decode, run_module
from intravisto_core.engine.jobs.view import run_view
from intravisto_core.errors import RequestError, expected
from intravisto_core.request import (
    ActiveTextsRequest,
    AttentionCutView,
    CircuitRequest,
    CompareView,
    DecodeRequest,
    DirectionRequest,
    EvidenceView,
    ExplainView,
    GradientView,
    HeadCompositionRequest,
    HeadTypesRequest,
    LinkCheckView,
    MeasureTestRequest,
    ModuleRequest,
    PatchingRequest,
    PathPatchingRequest,
    SaliencyView,
    SweepRequest,
    TraceBatch,
    TraceRequest,
)
from intravisto_core.views.registry import VIEWS


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of request is answered."""

    work: Work
    priority: Priority


JOBS: dict[type, Kind] = {
    TraceRequest: Kind(run_trace, Priority.TRACE),
    DirectionRequest: Kind(run_direction, Priority.TRACE),
    TraceBatch: Kind(run_trace_batch, Priority.TRACE),
    DecodeRequest: Kind(run_decode, Priority.VIEW),
    ModuleRequest: Kind(run_module, Priority.VIEW),
    LinkCheckView: Kind(keep_records(run_link_check), Priority.TRACE),
    GradientView: Kind(keep_records(run_gradient), Priority.TRACE),
    SaliencyView: Kind(keep_records(run_saliency), Priority.TRACE),
    MeasureTestRequest: Kind(run_measure_test, Priority.TRACE),
    CircuitRequest: Kind(run_circuit, Priority.TRACE),
    EvidenceView: Kind(keep_records(run_evidence), Priority.TRACE),
    AttentionCutView: Kind(keep_records(run_attention_cut), Priority.TRACE),
    ActiveTextsRequest: Kind(run_active_texts, Priority.TRACE),
    PatchingRequest: Kind(run_patching, Priority.TRACE),
    PathPatchingRequest: Kind(run_path_patching, Priority.TRACE),
    SweepRequest: Kind(run_sweep, Priority.TRACE),
    HeadTypesRequest: Kind(run_head_types, Priority.TRACE),
    HeadCompositionRequest: Kind(run_head_composition, Priority.VIEW),
    CompareView: Kind(keep_records(run_compare), Priority.VIEW),
    ExplainView: Kind(keep_records(run_explain), Priority.VIEW),
    **{view: Kind(keep_records(run_view), Priority.VIEW) for view in VIEWS},
}
TESTED = Kind(keep_records(run_explain), Priority.TRACE)


def kind_of(request: object) -> Kind:
    """How a request is answered. One that runs the model for its tests waits as a run does.

    Raises:
        RequestError: it is no request at all.
    """
    if isinstance(request, ExplainView) and request.tests:
        return TESTED
    found = JOBS.get(type(request))
    if found is None:
        names = sorted(kind.__name__ for kind in JOBS)
        raise RequestError(expected("request", names, type(request).__name__))
    return found
