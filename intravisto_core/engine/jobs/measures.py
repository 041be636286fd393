"""Which picture foretells what edits do (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np

from intravisto_core.analysis.agreement import compute_partial_correlation, share_top
from intravisto_core.analysis.bootstrap import bootstrap_mean
from intravisto_core.analysis.effects import compute_rank_correlation
from intravisto_core.engine.jobs.measures_prompt import PromptMeasures, PromptNumbers
from intravisto_core.progress import Progress, relay_turns
from intravisto_core.records import MeasureTest
from intravisto_core.request import MeasureTestRequest
from intravisto_core.sites import Capability
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl

TEXT = "measuring"
# of what a predictor says of each token, and how far log p falls
Statistic = Callable[[np.ndarray, np.ndarray], float]


def run_measure_test(
    traces: Traces, request: MeasureTestRequest, session: str, control: RunControl
) -> Generator[Progress, None, MeasureTest]:
    """The record of all prompts. Every number is of the last position, and of the token that the model says there.

    Raises:
        RequestError: a prompt with fewer than four tokens. ModelError: the model lacks an identity that views rest on.
    """
    for capability in (Capability.HEADS, Capability.PATTERN):
        traces.card.require(capability)
    found: list[PromptNumbers] = []
    n = len(request.prompts)
    for number, prompt in enumerate(request.prompts):
        yield Progress(number, n, TEXT)
        turns = PromptMeasures(traces, request, prompt, session, control).measure()
        found.append((yield from relay_turns(turns, _telling(number, n))))
    return MeasureTest(
        model=traces.model.name,
        prompts=request.prompts,
        predictors=tuple(found[0].predictors),
        truths=tuple(found[0].truths),
        agreement=(agreement := _compare(found, compute_rank_correlation)),
        interval=_find_intervals(agreement),
        inner=_compare(found, lambda a, b: compute_rank_correlation(a[:-1], b[:-1])),
        partial=_compare(found, lambda a, b: compute_partial_correlation(a, b, np.arange(len(a), dtype=float))),
        top=_compare(found, lambda a, b: share_top(a[:-1], b[:-1])),
        heads=np.array([each.heads for each in found]),
        draws=request.draws,
        seed=request.seed,
    )


def _telling(number: int, total: int) -> Callable[[Progress], Progress]:
    return lambda _: Progress(number, total, TEXT)


def _compare(found: list[PromptNumbers], statistic: Statistic) -> np.ndarray:
    """(P, N, K) of a statistic of every predictor and truth."""
    return np.array(
        [[[statistic(a, b) for b in each.truths.values()] for a in each.predictors.values()] for each in found]
    )


def _find_intervals(values: np.ndarray) -> np.ndarray:
    """95 % intervals (2, N, K) of means over the prompts (P, N, K) that have a number."""
    out = np.full((2, *values.shape[1:]), np.nan)
    for place in np.ndindex(*values.shape[1:]):
        own = values[(slice(None), *place)]
        own = own[~np.isnan(own)]
        if len(own) > 1:
            out[(slice(None), *place)] = bootstrap_mean(own[:, None])[:, 0]
    return out
