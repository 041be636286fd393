"""Where two tokens of the real model come from: what is known of them by other means."""

from __future__ import annotations

import intravisto_core as iv


def test_paris_comes_from_iffel_by_heads_of_layers_22_and_23(eiffel):
    found = eiffel.explain()
    assert (found.target, found.position) == ("␣Paris", 8)
    assert found.sources["token"][0] == "iffel"
    top = found.heads.iloc[0]
    assert eiffel.tokens[int(top["looks_at"])].shown == "iffel"
    assert int(top["layer"]) in (22, 23)
    moments = found.moments.set_index("what")
    assert moments.loc["first", "layer"] == 28
    assert moments.loc["jump", "layer"] == 23
    hidden = found.tests[found.tests["kind"] == "word"].set_index("index")["metric_after"]
    assert hidden.drop(0).nsmallest(2).index.tolist() == [7, 2], "␣city and iffel, when they are hidden"
    assert "it looks at ‘iffel’ and writes ␣Paris" in found.sentence


def test_mary_leads_by_a_head_that_pushes_john_down(real_engine):
    trace = real_engine.trace("When Mary and John went to the store, John gave a drink to")
    found = trace.explain(" Mary", " John")
    top = found.heads.iloc[0]
    assert (int(top["layer"]), int(top["head"])) == (23, 3)
    assert 2.7 < top["value"] < 3.0
    assert 6.0 < found.lead < 6.3
    without = found.parts.query("kind == 'head' and layer == 23 and index == 3", engine="python")["without"].item()
    edited = trace.edit(iv.Ablate("z", 23, (13,), head=3))
    z = edited.logits(13)
    assert abs(without - float(z[found.target_id] - z[found.contrast_id])) < 1e-3
    assert 3.1 < without < 3.3
    assert "L23H3" in found.sentence
    assert "pushes ␣John down" in found.sentence
    edited.forget()
    trace.forget()
