"""What every predictor says of the tokens of one prompt, and what edits of these tokens do (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.effects import compute_rank_correlation
from intravisto_core.engine.jobs.explain import run_explain
from intravisto_core.engine.jobs.gradients import draw_other_tokens, run_saliency
from intravisto_core.engine.jobs.trace import run_trace
from intravisto_core.engine.jobs.view import run_view
from intravisto_core.errors import RequestError, expected
from intravisto_core.experiments.passage import Passage
from intravisto_core.experiments.saliency import occlude
from intravisto_core.progress import Progress
from intravisto_core.records import Flow
from intravisto_core.request import (
    Ablate,
    AttributionView,
    ExplainView,
    FlowView,
    KnockOut,
    MeasureTestRequest,
    SaliencyView,
    TraceRequest,
)
from intravisto_core.request.interventions import Written
from intravisto_core.sites import AttentionDivision, Refinement, SaliencyMethod, ShareMeasure, SinkHandling, Site
from intravisto_core.traces.edit_batches import bind_text, run_edited_rows
from intravisto_core.traces.plain_runs import read_plain_data
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData

LEAST_TOKENS = 4
# hiding sinks changes nothing of the other tokens
SINKS = (SinkHandling.SHOW, SinkHandling.RENORMALISE)


@dataclass(frozen=True, slots=True)
class PromptNumbers:
    """Predictors and truths of one prompt: a number a token, position 0 aside. heads: Spearman's, over all heads, of
    direct logit attribution with the drop without the head."""

    predictors: Mapping[str, np.ndarray]
    truths: Mapping[str, np.ndarray]
    heads: float


@dataclass(slots=True)
class PromptMeasures:
    """One prompt, whose run is remembered as long as it takes. target: what the model says at its end."""

    traces: Traces
    request: MeasureTestRequest
    prompt: str
    session: str
    control: RunControl
    trace: str = ""
    n: int = 0
    target: int = 0

    def measure(self) -> Generator[Progress, None, PromptNumbers]:
        """All predictors and truths.

        Raises:
            RequestError: the prompt has fewer than four tokens.
        """
        entry = yield from run_trace(self.traces, TraceRequest(self.prompt), self.session, self.control)
        self.trace, self.n = entry.id, entry.length
        try:
            if self.n < LEAST_TOKENS:
                raise RequestError(expected("prompts", f"texts of at least {LEAST_TOKENS} tokens", self.prompt))
            data = yield from read_plain_data(self.traces, entry)
            self.target = int(self.traces.model.logits(data.final[-1:])[0].argmax())
            predictors = yield from self._predict()
            resampled = yield from self._resample(data)
            hidden, without = yield from self._edit(data)
            heads = compute_rank_correlation((yield from self._attribute()), without)
        finally:
            self.traces.forget(self.trace, self.session)
        truths = {"resample": resampled[1:], "knock_out": hidden[1:]}
        return PromptNumbers({name: values[1:] for name, values in predictors.items()}, truths, heads)

    def _predict(self) -> Generator[Progress, None, dict[str, np.ndarray]]:
        found = {"position": np.arange(self.n, dtype=float)}
        asked = ExplainView(self.trace, self.target, tests=False)
        card = yield from run_explain(self.traces, asked, self.session, self.control)
        found["contribution"] = card.source.astype(float)
        found["gradient_input"] = yield from self._find_saliency(SaliencyMethod.GRADIENT_INPUT)
        if self.request.integrated:
            found["integrated_gradients"] = yield from self._find_saliency(SaliencyMethod.INTEGRATED_GRADIENTS)
        # of two parts KL pair gives the numbers of KL, and of three it does not exist
        measures = [ShareMeasure.NORM, ShareMeasure.PROJECTION, ShareMeasure.L1, *([ShareMeasure.KL] * self.request.kl)]
        for measure, division, sinks in product(measures, AttentionDivision, SINKS):
            options = {"rows": (0, 1), "min_mass": 0.0, "sinks": sinks, "details": False}
            view = FlowView(self.trace, None, -1, measure, division, **options)  # type: ignore[arg-type]
            flow = yield from run_view(self.traces, view, self.session, self.control)
            found[f"flow: {measure}, {division}, sinks {sinks}"] = _read_bottom(flow, self.n)
        return found

    def _find_saliency(self, method: SaliencyMethod) -> Generator[Progress, None, np.ndarray]:
        view = SaliencyView(self.trace, self.target, method=method)
        found = yield from run_saliency(self.traces, view, self.session, self.control)
        return np.asarray(found.scores, float)

    def _resample(self, data: TraceData) -> Generator[Progress, None, np.ndarray]:
        """How far log p falls with other tokens in each place, a mean over draws; 0 of special tokens."""
        model, request = self.traces.model, self.request
        held = np.array([token.is_special for token in model.reader.tokens(data.ids, self.n)])
        drawn = draw_other_tokens(model, data.ids, held, request.draws, request.seed)
        passage = Passage.of(model, data.ids, self.n - 1, None, self.n)
        scores, _ = yield from occlude(passage, data, self._log_prob, torch.from_numpy(drawn))
        return np.asarray(scores.numpy(), float)

    def _log_prob(self, logits: Tensor) -> Tensor:
        """The target's log-probability, (n,), of logits (n, V)."""
        return logits.double().log_softmax(-1)[:, self.target]

    def _attribute(self) -> Generator[Progress, None, np.ndarray]:
        view = AttributionView(self.trace, self.target, None, -1, Refinement.HEADS)
        found = yield from run_view(self.traces, view, self.session, self.control)
        return np.asarray(found.head_values, float).reshape(-1)

    def _edit(self, data: TraceData) -> Generator[Progress, None, tuple[np.ndarray, np.ndarray]]:
        """How far log p falls with each token hidden from the last position, and without each head there."""
        size = self.traces.model.dimensions
        edits: list[tuple[Written, ...]] = [
            tuple(KnockOut(layer, (-1,), (p,)) for layer in range(size.n_layers)) for p in range(self.n)
        ]
        for layer, head in product(range(size.n_layers), range(size.n_heads)):
            edits.append((Ablate(Site.Z, layer, (-1,), head=head),))
        bound = []
        for edit in edits:
            bound.append((yield from bind_text(self.traces, edit, data, self.session, self.control)))
        final = yield from run_edited_rows(self.traces.model, data, bound, self.n - 1, self.control)
        found = self._log_prob(self.traces.model.logits(torch.cat([data.final[-1:], final]))).cpu().numpy()
        fallen = found[0] - found[1:]
        return fallen[: self.n], fallen[self.n :]


def _read_bottom(flow: Flow, n: int) -> np.ndarray:
    """The mass at row 0 by position, in absolute size."""
    out = np.zeros(n)
    at = (flow.node_row == 0) & (flow.node_kind == "block")
    out[flow.node_position[at]] = np.abs(flow.node_mass[at])
    return out
