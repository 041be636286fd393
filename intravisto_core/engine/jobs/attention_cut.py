"""The weight of a key without one part of the stream; *total* runs the model with the part ablated for all readers."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import replace

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.progress import Progress
from intravisto_core.records import AttentionCut, AttentionScore
from intravisto_core.request import Ablate, AttentionCutView, AttentionScoreView, Intervention
from intravisto_core.sites import ScoreEnd, Site, TextMode
from intravisto_core.traces.edited_runs import compute_edit
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.trace_data import read_data
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl
from intravisto_core.views.attention_score import compute_attention_score
from intravisto_core.views.context import ViewContext

PART = re.compile(r"L(\d+)(?:H(\d+)| MLP)")
NOT_ALONE = "No edit can take this part away for all that read it, so that there is no total"


def run_attention_cut(
    traces: Traces, view: AttentionCutView, session: str, control: RunControl
) -> Generator[Progress, None, AttentionCut]:
    """The three numbers; one run of the model from the part's place on, where an edit can take it away.

    Raises:
        RequestError: no such part, or what a split of the score refuses.
        ModelError: see `compute_attention_score`.
    """
    entry = traces.entry(view.trace, session)
    data = yield from read_data(traces, entry)
    wanted = AttentionScoreView(view.trace, view.layer, view.head, view.query, view.key, against=None)
    score = yield from compute_attention_score(ViewContext.of(traces, entry, data), wanted, keep=view.part)
    at_key = view.end is ScoreEnd.KEY
    names = score.key_parts if at_key else score.query_parts
    if view.part not in names:
        listed = [*names[:6], "…", *names[-6:]] if len(names) > 12 else names
        raise RequestError(expected("part", f"one at the {view.end.label} ({', '.join(listed)})", view.part))
    place = names.index(view.part)
    predicted, measured = (
        (score.key_predicted, score.key_measured) if at_key else (score.query_predicted, score.query_measured)
    )
    total = yield from _measure_total(traces, entry, view, score, session, control)
    known = np.isfinite(measured[place])
    return AttentionCut(
        trace=entry.id,
        model=traces.model.name,
        layer=score.layer,
        head=score.head,
        query=score.query,
        key=score.key,
        part=view.part,
        end=view.end,
        weight=score.weight,
        predicted=float(predicted[place]),
        measured=float(measured[place]) if known else None,
        total=total,
        notes=(*score.notes, *((NOT_ALONE,) if total is None else ())),
    )


def find_ablation(part: str, position: int) -> Intervention | None:
    """The edit that takes a part away at a position; None where there is none."""
    found = PART.fullmatch(part)
    if found is None:
        return None
    layer, head = int(found[1]), found[2]
    if head is None:
        return Ablate(Site.MLP_OUT, layer, (position,))
    return Ablate(Site.Z, layer, (position,), head=int(head))


def _measure_total(
    traces: Traces, entry: TraceEntry, view: AttentionCutView, score: AttentionScore, session: str, control: RunControl
) -> Generator[Progress, None, float | None]:
    """The weight in a run without the part; of an edited trace, on top of its edits."""
    ablation = find_ablation(view.part, score.key if view.end is ScoreEnd.KEY else score.query)
    if ablation is None:
        return None
    own = entry.request
    base = traces.entry(entry.baseline, session) if own.interventions else entry
    mode = own.text if own.interventions else TextMode.HELD
    request = replace(
        own, interventions=(*own.interventions, ablation), baseline=base.id, text=mode, sites=(Site.Q, Site.K)
    )
    stop, again = score.query + 1, None if mode is TextMode.HELD else entry
    data, _ = yield from compute_edit(traces, request, base, session, control, again, stop)
    row = data.pattern(score.layer, slice(score.head, score.head + 1), slice(score.query, stop))
    return float(row[0, 0, score.key])
