"""Where a token comes from, with tests: the model is run without the largest parts, and with words hidden.

A test is an edit like any other (docs/methods.md §8), of which nothing is remembered: it runs the one position, on the
layers that it can change, and gives the number that the same edit gives on its own.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.effects import compute_two_steps
from intravisto_core.analysis.lenses import compute_output_logits
from intravisto_core.progress import Progress, relay_turns
from intravisto_core.records import Explanation
from intravisto_core.request import Ablate, ExplainView, Intervention, KnockOut
from intravisto_core.sites import ExplainTest, Site, TextMode
from intravisto_core.traces.edited_runs import compute_edit, run_no_op
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.plain_runs import read_plain_data
from intravisto_core.traces.trace_data import read_data
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl
from intravisto_core.tracing.reuse import Reused, find_obstacle
from intravisto_core.views.context import ViewContext
from intravisto_core.views.explain import compute_explanation

MOST_WORDS = 16
TEXT = "testing"


@dataclass(frozen=True, slots=True)
class _Test:
    """One thing to take away. layer: −1 for a word. index: the head, −1 for an MLP, or the word's position."""

    kind: ExplainTest
    layer: int
    index: int

    def interventions(self, position: int, n_layers: int) -> tuple[Intervention, ...]:
        """The edit that it is."""
        if self.kind is ExplainTest.HEAD:
            return (Ablate(Site.Z, self.layer, (position,), head=self.index),)
        if self.kind is ExplainTest.MLP:
            return (Ablate(Site.MLP_OUT, self.layer, (position,)),)
        return tuple(KnockOut(layer, (position,), (self.index,)) for layer in range(n_layers))


def run_explain(
    traces: Traces, view: ExplainView, session: str, control: RunControl
) -> Generator[Progress, None, Explanation]:
    """The record of an explanation; with tests, every turn brings what is known by then.

    Raises:
        RequestError: no such position or token.
        ModelError: this model fails an identity that the heads or their patterns rest on.
    """
    entry = traces.entry(view.trace, session)
    data = yield from read_data(traces, entry)
    found = yield from compute_explanation(ViewContext.of(traces, entry, data), view)
    if not view.tests:
        return found
    tests = list_tests(found)
    after = np.full(len(tests), np.nan)
    found = _with_tests(found, tests, after)
    yield Progress(0, len(tests), TEXT, found)
    found = replace(found, noise=(yield from _measure_noise(traces, entry, found)))
    for number, test in enumerate(tests):
        work = _run_test(traces, entry, test, found, session, control)
        logits = yield from relay_turns(work, lambda _: None)
        after[number] = _measure(found, logits)
        found = _with_tests(found, tests, after)
        yield Progress(number + 1, len(tests), TEXT, found)
    return found


def list_tests(found: Explanation) -> list[_Test]:
    """The parts whose words are listed, then the words by what heads bring from them, position 0 last."""
    parts = [
        _Test(ExplainTest(str(found.part_kind[i])), int(found.part_layer[i]), int(found.part_index[i]))
        for i in found.word_part.tolist()
    ]
    words = [int(p) for p in found.sources["position"][:MOST_WORDS]]
    return parts + [_Test(ExplainTest.WORD, -1, p) for p in (*words, *([0] if found.position else []))]


def _with_tests(found: Explanation, tests: list[_Test], after: np.ndarray) -> Explanation:
    return replace(
        found,
        test_kind=np.array([str(test.kind) for test in tests]),
        test_layer=np.array([test.layer for test in tests], np.int32),
        test_index=np.array([test.index for test in tests], np.int32),
        test_before=np.full(len(tests), found.metric),
        test_after=after.copy(),
    )


def _measure(found: Explanation, logits: Tensor) -> float:
    """The lead, or the target's probability, of given logits (V,)."""
    z = logits.double()
    return float(z[found.target_id] - z[found.contrast_id] if found.has_contrast else z.softmax(-1)[found.target_id])


def _run_test(
    traces: Traces, entry: TraceEntry, test: _Test, found: Explanation, session: str, control: RunControl
) -> Generator[Progress, None, Tensor]:
    """The logits at the position in a run without what the test takes away; of an edited trace, on top of its edits."""
    model, own = traces.model, entry.request
    base = traces.entry(entry.baseline, session) if own.interventions else entry
    new = test.interventions(found.position, model.dimensions.n_layers)
    mode = own.text if own.interventions else TextMode.HELD
    request = replace(own, interventions=(*own.interventions, *new), baseline=base.id, text=mode, sites=())
    stop, again = found.position + 1, None if mode is TextMode.HELD else entry
    data, _ = yield from compute_edit(traces, request, base, session, control, again, stop)
    return compute_output_logits(model, data.final[found.position : stop])[0]


def _measure_noise(traces: Traces, entry: TraceEntry, found: Explanation) -> Generator[Progress, None, float]:
    """What a change must exceed: the move where nothing is taken away, on the path of the tests, or two steps of the
    model's dtype at the size of the logits.
    """
    base = traces.entry(entry.baseline, entry.session) if entry.request.interventions else entry
    plain = yield from read_plain_data(traces, base)
    model, position = traces.model, found.position
    row = slice(position, position + 1)
    if position >= base.length:
        return _two_steps(
            found, compute_output_logits(model, (yield from read_data(traces, entry)).final[row])[0], model.dtype
        )
    own = compute_output_logits(model, plain.final[row])[0]
    steps = _two_steps(found, own, model.dtype)
    if not position or find_obstacle(model, plain):
        return steps
    data = yield from run_no_op(traces, base, Reused(0, position, base.length), position + 1)
    return max(steps, abs(_measure(found, compute_output_logits(model, data.final[row])[0]) - _measure(found, own)))


def _two_steps(found: Explanation, logits: Tensor, dtype: torch.dtype) -> float:
    """Two steps of the dtype, as the metric moves by them."""
    tokens = [found.target_id, *([found.contrast_id] if found.has_contrast else [])]
    steps, p = compute_two_steps(logits[tokens], dtype), found.probability
    return steps if found.has_contrast else p * (1 - p) * steps
