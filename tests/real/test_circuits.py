"""Name movers of the real model: the exact scores of heads against single edits, and the estimates beside them."""

from __future__ import annotations

import pytest

import intravisto_core as iv

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPT = "When Mary and John went to the store, Mary gave a drink to"


def test_the_heads_of_indirect_objects_are_those_of_single_edits(real_engine):
    asked = {"target": " Mary", "contrast": " John", "shares": [1], "parts": [], "prompts": [(CLEAN, CORRUPT)]}
    found = {by: real_engine.circuit(by=by, draws=1, **asked) for by in ("activation", "eap_ig", "attribution")}
    tops = {}
    for by, each in found.items():
        heads = each.frame().query("head >= 0")
        tops[by] = [(int(row.layer), int(row.head)) for row in heads.head(5).itertuples()]
    best = [(23, 3), (29, 1), (20, 0)]
    assert tops["activation"][:3] == best
    assert set(best) <= set(tops["eap_ig"])
    assert tops["eap_ig"][0] == tops["attribution"][0] == best[0]
    assert best[1] in tops["attribution"]
    trace, donor = real_engine.trace(CLEAN), real_engine.trace(CORRUPT)
    scores = found["activation"].frame().set_index(["layer", "head"])["score"]
    for layer, head in (*best, (24, 4), (5, 5)):
        edited = trace.edit(iv.Patch("z", layer, "all", head=head, source=donor))
        compared = trace.compare(edited, " Mary", " John")
        fallen = compared.logit_difference[-1] - compared.edited_logit_difference[-1]
        assert scores[layer, head] == pytest.approx(fallen, abs=2e-3), (layer, head)
        edited.forget()
    trace.forget()
    donor.forget()
