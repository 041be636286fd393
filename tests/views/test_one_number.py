"""One value is one number, whichever page shows it; also where the model itself rounds its logits to 8 bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import intravisto_core as iv

CLOSE = 2e-6


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def trace(request: pytest.FixtureRequest) -> Iterator[iv.Trace]:
    engine = iv.open_model("demo", dtype=request.param)
    yield engine.trace("When Mary and John went to the store, John gave a drink to", max_new_tokens=1)
    engine.close()


def test_a_probability_is_the_same_on_all_pages(trace: iv.Trace) -> None:
    position = trace.prompt_length - 1
    grid = trace.heatmap(positions=[position], watch=[" Mary"])
    said, shown = int(grid.token_ids[-1, 0, 0]), float(grid.probabilities[-1, 0, 0])
    assert said == grid.says[0]
    following = trace.next_tokens(position=position)
    assert int(following.token_ids[0]) == said
    assert following.model[0] == pytest.approx(shown, rel=CLOSE)
    explained = trace.explain(target=said, tests=False)
    assert explained.probability == pytest.approx(shown, rel=CLOSE)
    assert explained.stream_probability[-1] == pytest.approx(shown, rel=CLOSE)
    sought = trace.query(" Mary", positions=[position]).probability
    assert sought[-1, 0] == pytest.approx(float(grid.watch[0].probability[-1, 0]), rel=CLOSE)


def test_a_page_of_updates_is_headed_by_the_same_tokens(trace: iv.Trace) -> None:
    assert np.array_equal(trace.heatmap(component="mlp").says, trace.heatmap().token_ids[-1, :, 0])


def test_the_tests_of_an_explanation_start_from_what_its_card_says(trace: iv.Trace) -> None:
    found = trace.explain(tests=True)
    assert np.allclose(found.tests["metric_before"], found.probability, rtol=CLOSE)


def test_the_sampler_without_options_keeps_the_models_numbers(trace: iv.Trace) -> None:
    found = trace.next_tokens(position=-1)
    assert np.allclose(found.sampled, found.model, rtol=CLOSE)
