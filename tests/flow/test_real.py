"""The sinks and the flow of a real model, as docs/methods.md §5 and §6 define them."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv

pytestmark = pytest.mark.real
# enough words behind the early “the” for its weight to be decided
MARY = "When Mary and John went to the store, John gave a drink to Mary and then they walked home together in the rain."


def test_position_0_is_a_sink_of_most_layers_though_it_is_a_word(eiffel: iv.Trace) -> None:
    found = eiffel.sinks()
    assert found.found == (0,)
    layers = dict(found)
    assert {0, 1, 2, 11}.isdisjoint(layers), "the first layers and layer 11 have none"
    assert len(layers) == 25
    assert 0.5 < found.share < 0.7


def test_an_early_the_is_a_sink_of_layers_3_to_10(real_engine: iv.Engine) -> None:
    trace = real_engine.trace(MARY)
    layers = dict(trace.sinks())
    the = next(t.position for t in trace.tokens if t.shown == "␣the")
    assert {layer for layer, at in layers.items() if the in at} == set(range(3, 11))
    trace.forget()


def test_with_sinks_aside_the_words_that_matter_are_the_widest(eiffel: iv.Trace) -> None:
    last = eiffel.prompt_length - 1
    shown, hidden, anew = (eiffel.flow(position=last, sinks=how, details=False) for how in iv.SinkHandling)
    names = [t.shown for t in eiffel.tokens]
    inner = {names[p]: float(hidden.sources[p]) for p in range(1, last)}
    assert set(sorted(inner, key=inner.get)[-2:]) == {"iffel", "␣city"}
    np.testing.assert_allclose(hidden.sources[1:], shown.sources[1:], atol=1e-9), "no other word changes"
    assert hidden.lost[2] == pytest.approx(shown.sources[0] - hidden.sources[0])
    assert anew.lost[2] < 1e-3, "only what position 0 gives itself, which is all that it has"
    assert max(f.conservation for f in (shown, hidden, anew)) < 1e-9
    assert shown.lost[3] == 0, "nothing is lost where no part brings the sum nearer"
