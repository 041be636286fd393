"""Saliency under the heatmap: of the question that was asked, and of the edited run where that is shown."""

from __future__ import annotations

import numpy as np

from intravisto_core.records import Saliency
from intravisto_core.request import SaliencyView
from tests.pages.conftest import App


def read_saliency(app: App) -> tuple[SaliencyView, Saliency]:
    """What was asked for last, and its record."""
    found = [(key, value) for key, value in app.workspace.kept.items() if isinstance(key, SaliencyView)]
    return found[-1]


def test_the_text_is_shaded_by_what_the_prediction_depends_on(app: App) -> None:
    assert 'class="saliency"' not in app.html(), "off until it is asked for"
    app.set("segmented_control", "saliency", "gradient_input")
    trace = app.workspace.base.trace
    view, found = read_saliency(app)
    assert (view.trace, view.position, view.contrast) == (trace.id, trace.prompt_length - 1, None)
    np.testing.assert_array_equal(found.scores, trace.saliency().scores)
    assert app.html().count('title="position ') == len(trace.tokens)
    # a click on a cell moves the selection, not the question
    app.workspace.select({"row": 3, "position": 2, "rev": trace.id, "n": 60})
    app.tester.run()
    assert read_saliency(app)[0] == view
    app.assert_calm()
