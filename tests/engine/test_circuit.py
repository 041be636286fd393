"""Circuits: sets of parts against edits of whole runs, edges against finite differences, curves by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.analysis.circuits import compute_areas, count_sizes, resample, weigh_faithfulness
from intravisto_core.cli import main
from intravisto_core.experiments.edges import EdgePlaces, score_edges
from intravisto_core.experiments.link_runs import Metric
from intravisto_core.progress import finish_turns
from intravisto_core.sites import Site
from intravisto_core.traces.edit_batches import run_texts
from intravisto_core.tracing import RunControl
from tests.reference import plain

COUNTRIES = ["Italy", "France", "Spain", "Finland", "Japan", "Egypt"]
CAPITALS = [" Rome", " Paris", " Madrid", " Helsinki", " Tokyo", " Cairo"]
PAIRS = [
    (f"The capital of {a} is", f"The capital of {b} is")
    for a, b in zip(COUNTRIES, COUNTRIES[1:] + COUNTRIES[:1], strict=True)
]
TOKENS = {"target": CAPITALS, "contrast": CAPITALS[1:] + CAPITALS[:1]}
CLEAN, CORRUPT, TARGET, CONTRAST = "ab c!ab d~a", "ab c!bb d~c", 20, 41
FAMILIES = ("Llama", "GPT-2", "GPT-NeoX, parallel", "Gemma-2", "Qwen3-MoE", "Bloom")


@pytest.fixture(scope="module")
def demo():
    engine = iv.open_model("demo")
    yield engine
    engine.close()


def all_parts(card: iv.ModelCard) -> list[tuple[int, int]]:
    return [(layer, head) for layer in range(card.n_layers) for head in (*range(card.n_heads), -1)]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_set_of_parts_is_the_run_with_all_others_patched(family, name):
    """Every other part is put in by edits of one whole run: z of its heads, what its MLPs write."""
    own = family(name)
    corrupt = tuple(5 if i in (3, 7) else token for i, token in enumerate(own.prompt))
    kept = [(0, 1), (0, -1), (1, 0), (1, 2)]
    found = own.engine.circuit(kept, [(own.prompt, corrupt)], target=TARGET, contrast=CONTRAST, by="random", shares=[1])
    donor, trace = own.engine.trace(corrupt), own.engine.trace(own.prompt)
    edits = [
        iv.Patch("mlp_out", la, "all", source=donor) if h < 0 else iv.Patch("z", la, "all", head=h, source=donor)
        for la, h in all_parts(own.engine.model)
        if (la, h) not in kept
    ]
    m = [float(t.logits()[TARGET] - t.logits()[CONTRAST]) for t in (trace, donor, trace.edit(*edits))]
    assert found.own == pytest.approx((m[2] - m[1]) / (m[0] - m[1]), rel=5e-4, abs=2e-4)
    assert found.parts == tuple(sorted(kept, key=lambda part: (part[0], part[1] < 0, part[1])))
    assert found.clean[0] == pytest.approx(m[0], abs=1e-4)
    assert found.corrupt[0] == pytest.approx(m[1], abs=1e-4)


def test_all_parts_are_1_and_none_is_0(demo):
    full = demo.circuit(all_parts(demo.model), PAIRS[:2], target=CAPITALS[:2], contrast=CAPITALS[1:3], by="random")
    assert full.own == pytest.approx(1, abs=1e-5)
    assert full.faithfulness[-1] == pytest.approx(1, abs=1e-5)
    assert full.completeness == pytest.approx(0, abs=1e-6)
    assert full.removed == 0
    empty = demo.circuit([], PAIRS[:2], target=CAPITALS[:2], contrast=CAPITALS[1:3], by="random")
    assert (empty.own, empty.removed) == (0, pytest.approx(1, abs=1e-5))
    assert not empty.kept.any()


def test_rankings_agree_and_beat_chance(demo):
    by = {name: demo.circuit(None, PAIRS, by=name, **TOKENS) for name in iv.Ranking}
    exact = by["activation"].scores
    for name in ("eap_ig", "attribution"):
        assert np.corrcoef(by[name].scores, exact)[0, 1] > 0.9, name
        assert by[name].cpr > by["random"].cpr + 0.2
        assert by[name].cmd < by["random"].cmd - 0.2
    assert by["eap_ig"].own > 0.8
    assert by["eap_ig"].own_interval[0] > by["random"].faithfulness[-2]
    assert "L0 MLP" in by["eap_ig"].edge_frame()["source"].tolist()
    assert int(np.nanargmax(by["eap_ig"].minimality)) == int(exact.argmax()), "what is needed most"
    others = [part for part in all_parts(demo.model) if part not in by["eap_ig"].parts]
    without = demo.circuit(others, PAIRS, by="eap_ig", **TOKENS)
    assert without.own == pytest.approx(by["eap_ig"].removed, abs=1e-5), "all others kept"
    np.testing.assert_array_equal(without.scores, by["eap_ig"].scores)
    with pytest.raises(iv.TraceError, match="eap_ig"):
        by["attribution"].edge_frame()


def test_exact_scores_are_those_of_single_patches(demo):
    found = demo.circuit(None, PAIRS[:1], target=" Rome", contrast=" Paris", by="activation")
    trace, donor = (demo.trace(prompt) for prompt in PAIRS[0])
    for part, edit in (
        (2 * 5 + 1, iv.Patch("z", 2, "all", head=1, source=donor)),
        (4, iv.Patch("mlp_out", 0, "all", source=donor)),
    ):
        compared = trace.compare(trace.edit(edit), " Rome", " Paris")
        change = compared.edited_logit_difference[-1] - compared.logit_difference[-1]
        assert found.scores[part] == pytest.approx(-change, abs=2e-4)


@pytest.fixture(scope="module")
def edges(case):
    """Scores of a tiny Llama at the prompt's own run (one step), and its runs."""
    engine = case("llama").engine
    texts = [tuple(t.id for t in engine.tokenize(text)) for text in (CLEAN, CORRUPT)]
    sites = (Site.RESID_PRE, Site.Z, Site.MLP_OUT)
    model = engine.kept_traces.model
    with torch.no_grad():
        runs = finish_turns(run_texts(engine.kept_traces, texts, sites, RunControl()))
        found = score_edges(model, *runs, Metric(TARGET, CONTRAST, len(texts[0]) - 1), 1)
    return engine, runs, found.numpy()


READERS = [
    ("L1H2 q", "q_proj", 2),
    ("L1H1 k", "k_proj", 1),
    ("L2H0 v", "v_proj", 0),
    ("L2 MLP", "", 0),
    ("logits", "", 0),
]


@pytest.mark.parametrize(("reader", "projection", "head"), READERS, ids=[reader for reader, _, _ in READERS])
def test_an_edge_is_what_its_reader_does_with_the_change(case, edges, reader, projection, head):
    """By central differences in float64: the reader alone reads the stream with a little of the source's change."""
    engine, (clean, corrupt), found = edges
    places, trace = EdgePlaces(3, 4, 2), engine.trace(clean.ids)
    other = engine.trace(corrupt.ids)
    network = plain.load(case("llama").folder).double()
    layers = network.model.layers
    sources = {"embedding": ("resid_pre", 0, None), "L0H3": ("head_out", 0, 3), "L0 MLP": ("mlp_out", 0, None)}
    for name, (site, layer, part) in sources.items():
        change = torch.from_numpy(
            other.activation(site, layer, head=part) - trace.activation(site, layer, head=part)
        ).double()
        values = []
        for little in (0.01 * change, -0.01 * change):
            module = network.model.norm if reader == "logits" else layers[2].post_attention_layernorm
            if projection:
                handle = change_projection(layers[int(reader[1])], projection, head, little)
            else:
                handle = module.register_forward_pre_hook(lambda _, args, little=little: (args[0] + little,))
            with torch.no_grad():
                z = network(torch.tensor([clean.ids])).logits[0, -1]
            values.append(float(z[TARGET] - z[CONTRAST]))
            handle.remove()
        slope = (values[0] - values[1]) / 0.02
        score = found[places.sources.index(name), places.readers.index(reader)]
        assert score == pytest.approx(-slope, rel=2e-3, abs=3e-4), name


def change_projection(layer, name: str, head: int, change: torch.Tensor):
    """A head's queries, keys or values are made of the stream with a change; the others are not."""
    stream: list[torch.Tensor] = []
    keep = layer.register_forward_pre_hook(lambda _, args: stream.append(args[0]))

    def replace(module, _, output):
        keep.remove()
        new = torch.nn.functional.linear(layer.input_layernorm(stream[-1] + change), module.weight, module.bias)
        columns = slice(head * 8, (head + 1) * 8)
        return torch.cat([output[..., : columns.start], new[..., columns], output[..., columns.stop :]], -1)

    return getattr(layer.self_attn, name).register_forward_hook(replace)


def test_edges_lead_upwards_only(edges):
    *_, found = edges
    places = EdgePlaces(3, 4, 2)
    sources, readers = places.sources, places.readers
    assert found.shape == (len(sources), len(readers)) == (16, 3 * (4 + 2 + 2 + 1) + 1)
    for source, row in zip(sources, found, strict=True):
        for reader, score in zip(readers, row, strict=True):
            if source == "embedding" or reader == "logits":
                allowed = True
            elif reader.endswith("MLP"):
                allowed = int(source[1]) < int(reader[1]) or (source[1] == reader[1] and "H" in source)
            else:
                allowed = int(source[1]) < int(reader[1])
            assert allowed or score == 0, (source, reader)
            assert not allowed or score != 0, (source, reader)


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Gemma-2", "GPT-NeoX, parallel", "Qwen3-MoE"])
def test_edges_of_the_embedding_add_up_to_the_whole_change(family, name):
    """Integrated gradients are complete: along the way from one text's words to the other's nothing is lost."""
    own = family(name)
    corrupt = tuple(5 if i in (3, 7) else token for i, token in enumerate(own.prompt))
    asked = {"target": TARGET, "contrast": CONTRAST, "shares": [1]}
    found = own.engine.circuit([], [(own.prompt, corrupt)], steps=100, **asked)
    whole = found.clean[0] - found.corrupt[0]
    assert found.edges[0].sum() == pytest.approx(whole, rel=0.03, abs=2e-3)
    np.testing.assert_allclose(found.scores, found.edges[1:].sum(1), rtol=1e-4, atol=1e-6)


def test_areas_by_hand():
    shares = np.array([0.5, 1.0])
    cpr, cmd = compute_areas(shares, np.array([0.8, 1.0]), np.array([1.2, 1.0]))
    assert cpr == pytest.approx(0.5 * 0.4 + 0.5 * 0.9)
    assert cmd == pytest.approx(0.5 * 0.6 + 0.5 * 0.1)
    assert count_sizes((0.001, 0.02, 0.5, 1.0), 30).tolist() == [1, 1, 15, 30]


def test_intervals_come_from_resampled_pairs():
    m, clean, corrupt = np.array([[1.0], [3.0]]), np.array([2.0, 4.0]), np.array([0.0, 0.0])
    low, high = resample(lambda w: weigh_faithfulness(w, m, clean, corrupt)[:, 0], 2, 0)
    assert (low, high) == (0.5, 0.75), "one pair, both, or the other: 1/2, 4/6, 3/4"
    assert np.isnan(resample(lambda w: weigh_faithfulness(w, m[:1], clean[:1], corrupt[:1])[:, 0], 1, 0)).all()


REFUSED = [
    ({"prompts": []}, "1 to 200 pairs"),
    ({"prompts": [("The capital of Italy is", "Italy is")]}, "as many tokens"),
    ({"prompts": [(PAIRS[0][0], PAIRS[0][0])]}, "the same tokens"),
    ({"parts": ["L9H0"]}, "layer"),
    ({"parts": ["L1H9"]}, "head"),
    ({"parts": ["attention"]}, "L3H2"),
    ({"shares": [0.5]}, "the last one 1"),
    ({"target": [" Rome", " Paris"]}, "one for each pair"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_is_no_circuit_is_refused(demo, options, words):
    with pytest.raises(iv.RequestError, match=words):
        demo.circuit(**({"prompts": PAIRS[:1], "by": "random"} | options))


def test_edges_need_attention_that_is_open(family):
    own = family("Bloom")
    corrupt = (*own.prompt[:-2], 5, own.prompt[-1])
    with pytest.raises(iv.ModelError, match="attention or activation patching"):
        own.engine.circuit(None, [(own.prompt, corrupt)], target=TARGET, contrast=CONTRAST)


def test_the_command_writes_a_circuit(capsys, tmp_path):
    pairs, page = tmp_path / "pairs.tsv", tmp_path / "circuit.html"
    rows = zip(PAIRS, CAPITALS, CAPITALS[1:], strict=False)
    pairs.write_text("\n".join("\t".join((*pair, target, contrast)) for pair, target, contrast in rows))
    assert main(["circuit", str(pairs), "--by", "attribution", "--out", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "of 30 heads and MLPs keep" in printed
    assert "The other way round, with these" in printed
    assert "L0 MLP" in printed
    assert page.read_text().startswith("<!doctype html>")
    pairs.write_text("one prompt")
    assert main(["circuit", str(pairs)]) == 2
    assert "2 or 4 columns" in capsys.readouterr().err
