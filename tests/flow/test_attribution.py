"""Direct logit attribution: a partition of the logit, for every family (docs/methods.md §6)."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.figures.head_list import rank_heads, sum_heads, sum_others
from intravisto_core.request import AttributionView
from intravisto_core.views.registry import VIEWS
from tests.tiny import CONFIGS

TARGET, CONTRAST, POSITION = 20, 41, 9
ALLOWED = 1e-4


@pytest.mark.parametrize("name", CONFIGS)
def test_parts_add_up_to_the_models_own_logit(family, name):
    tiny = family(name)
    trace, card = tiny.trace, tiny.engine.model
    logits = trace.logits(POSITION).astype(np.float64)
    for contrast in (CONTRAST, None):
        found = trace.attribution(TARGET, contrast, POSITION)
        other = logits[CONTRAST] if contrast else logits.mean()
        assert found.capped == pytest.approx(logits[TARGET] - other, abs=1e-4), "the logit is the model's own"
        if not found.soft_cap:
            assert found.logit == found.capped
        kinds = ["components", *(["heads"] if card.capabilities["heads"].ok else [])]
        kinds += ["neurons"] if card.capabilities["neurons"].ok else []
        for by in kinds:
            found = trace.attribution(TARGET, contrast, POSITION, by, n=None)
            size = max(abs(found.logit), 1.0)
            assert abs(found.remainder) <= ALLOWED * size, (by, contrast)
            assert found.value.sum() + found.remainder == pytest.approx(found.logit)
            assert found.accumulated[-1] == found.logit
    assert len(kinds) == 1 + card.capabilities["heads"].ok + card.capabilities["neurons"].ok


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "OPT", "Gemma-2", "Granite", "Phi", "Bloom", "GPT-NeoX, serial"])
def test_refined_parts_are_what_their_component_adds(family, name):
    tiny = family(name)
    trace, n_layers = tiny.trace, tiny.engine.model.n_layers
    whole = trace.attribution(TARGET, CONTRAST, POSITION)
    fine = trace.attribution(TARGET, CONTRAST, POSITION, "neurons", n=None)
    for layer in range(n_layers):
        for component, parts in (
            ("attention", ("head", "attention_bias")),
            ("mlp", ("neuron", "mlp_bias")),
        ):
            own = whole.value[(whole.kind == component) & (whole.layer == layer)]
            pieces = fine.value[np.isin(fine.kind, parts) & (fine.layer == layer)]
            assert pieces.sum() == pytest.approx(own.sum(), abs=2e-4), (layer, component)
    assert ("position" in whole.kind) == (name in ("GPT-2", "OPT"))
    few = trace.attribution(TARGET, CONTRAST, POSITION, "neurons", n=5)
    assert (few.kind == "neuron").sum() == 5
    assert few.value.sum() == pytest.approx(fine.value.sum())
    sizes = np.abs(fine.value[fine.kind == "neuron"])
    assert np.abs(few.value[few.kind == "neuron"]).min() == pytest.approx(np.sort(sizes)[-5])
    others = few.index[few.kind == "other_neurons"].sum()
    assert others + 5 == len(sizes)
    one = trace.attribution(TARGET, CONTRAST, POSITION, "heads", layer=1)
    assert set(one.layer[one.kind == "head"].tolist()) == {1}
    assert (one.kind == "attention").sum() == n_layers - 1


@pytest.mark.parametrize("name", ["llama", "gpt2", "granite", "gemma2"])
def test_a_part_is_its_length_along_the_direction(case, name):
    tiny, position = case(name), 6
    d = tiny.decoder
    final = tiny.run.sites["resid_post"][-1][position].astype(np.float64)
    direction = d.unembed[TARGET] - d.unembed[CONTRAST]

    def adds(part: np.ndarray) -> float:
        """⟨N_lin(part), D⟩ times the logit scale, literally."""
        return float(d.gamma * d.mean_off(part.astype(np.float64)) / d.sigma(final) @ direction) * d.scale

    found = tiny.trace.attribution(TARGET, CONTRAST, position, "heads")
    for layer in range(d.n_layers):
        heads = tiny.trace.activation("head_out", layer=layer)[:, position]
        of = (found.kind == "head") & (found.layer == layer)
        np.testing.assert_array_equal(found.index[of], np.arange(len(heads)))
        np.testing.assert_allclose(found.value[of], [adds(h) for h in heads], atol=1e-4)
        mlp = found.value[(found.kind == "mlp") & (found.layer == layer)]
        assert mlp == pytest.approx(adds(tiny.run.sites["mlp_out"][layer][position]), abs=1e-4)
    for row in range(d.n_layers + 1):
        assert found.accumulated[row] == pytest.approx(adds(tiny.cells.stream(row, position)), abs=1e-4)
    if name == "gpt2":
        table = tiny.model.transformer.wte.weight.detach().numpy()
        assert found.value[found.kind == "embedding"] == pytest.approx(adds(table[tiny.ids[position]]), abs=1e-4)
        beta = found.value[found.kind == "norm_bias"]
        assert beta == pytest.approx(float(d.beta @ direction), abs=1e-4)


def test_targets_by_text_by_id_and_by_default(case):
    trace = case("llama").trace
    by_text, by_id = trace.attribution("c", "d"), trace.attribution(trace.engine.tokenize("c", False)[0].id, "d")
    np.testing.assert_array_equal(by_text.value, by_id.value)
    assert (by_text.target, by_text.contrast) == ("c", "d")
    own = trace.attribution(position=4)
    assert own.target_id == int(trace.logits(4).argmax())
    assert own.contrast_id == -1
    assert "mean" in own.contrast
    several = trace.attribution("cd", "x")
    assert several.target == "c"
    assert any("2 tokens" in note for note in several.notes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "c", "contrast": "c"}, "same"),
        ({"target": 10**6}, "token id"),
        ({"target": ""}, "token"),
        ({"position": 99}, "position"),
        ({"by": "atoms"}, "neurons"),
        ({"layer": 9, "by": "heads"}, "layer"),
        ({"n": -1}, "n"),
        ({"target": 1.5}, "target"),
    ],
)
def test_what_cannot_be_asked_is_refused(case, options, said):
    with pytest.raises(iv.RequestError, match=said):
        case("llama").trace.attribution(**options)


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Gemma-2", "Bloom"])
def test_heads_and_mlps_are_read_by_layer(family, name):
    tiny = family(name)
    card, trace = tiny.engine.model, tiny.trace
    found = trace.attribution(TARGET, CONTRAST, POSITION, "heads")
    assert found.head_values.shape == (card.n_layers, card.n_heads)
    for i in np.flatnonzero(found.kind == "head"):
        assert found.head_values[found.layer[i], found.index[i]] == found.value[i]
    assert found.mlp_values.tolist() == found.value[found.kind == "mlp"].tolist()
    fine = trace.attribution(TARGET, CONTRAST, POSITION, "neurons", n=3)
    np.testing.assert_allclose(fine.mlp_values, found.mlp_values, atol=2e-4)
    assert trace.attribution(TARGET, CONTRAST, POSITION).head_values.shape == (card.n_layers, 0)
    one = trace.attribution(TARGET, CONTRAST, POSITION, "heads", layer=1)
    assert np.isnan(one.head_values[0]).all()
    assert not np.isnan(one.head_values[1]).any()


def test_the_list_of_heads_leaves_nothing_out(family):
    found = family("GPT-2").trace.attribution(TARGET, CONTRAST, POSITION, "heads")
    ranked = rank_heads(found)
    assert sorted(ranked) == np.flatnonzero(found.kind == "head").tolist()
    sizes = np.abs(found.value[ranked])
    assert (np.diff(sizes) <= 0).all()
    assert (np.diff(found.value[rank_heads(found, "raises")]) <= 0).all()
    assert (np.diff(found.value[rank_heads(found, "lowers")]) >= 0).all()
    assert rank_heads(found, "layer") == sorted(ranked)
    groups = [sum_heads(found, ranked[2:]), *sum_others(found)]
    assert groups[0].name == f"{len(ranked) - 2} other heads"
    together = found.value[ranked[:2]].sum() + sum(group.value for group in groups)
    assert together + found.remainder == pytest.approx(found.logit)
    told = sorted([*ranked[:2], *(i for group in groups for i in group.members)])
    assert told == list(range(len(found.value)))


def test_an_attribution_that_is_asked_for_again_is_not_computed_again(case, monkeypatch):
    trace, made = case("llama").trace, []
    compute = VIEWS[AttributionView]
    monkeypatch.setitem(VIEWS, AttributionView, lambda *asked: made.append(asked) or compute(*asked))
    asked = {"target": "a", "contrast": "d", "position": 3, "by": "heads"}
    first = trace.attribution(**asked)
    again = trace.attribution(**asked)
    assert len(made) == 1
    np.testing.assert_array_equal(again.value, first.value)
    trace.attribution(**{**asked, "position": 4})
    assert len(made) == 2
