"""What quantising or an adapter changed: two models beside each other, held to numbers worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.analysis.model_difference import exact_divergence
from tests import tiny
from tests.loading.gguf_writing import of_folder
from tests.loading.test_adapters import write_adapter
from tests.reference import plain

PROMPT = "ab c!ab d"


@pytest.fixture(scope="module")
def engines(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory):
    """The tiny Llama, its GGUF in Q8_0, and itself with an adapter of one kind of matrix."""
    folder = tmp_path_factory.mktemp("difference")
    adapter = write_adapter(tiny_llama, folder / "tuned", target_modules=["q_proj"])
    sources = (tiny_llama, of_folder(tiny_llama, folder / "tiny.gguf", kind="Q8_0"), adapter)
    opened = [iv.open_model(source) for source in sources]
    yield opened
    for engine in opened:
        engine.close()


def _kl(z: np.ndarray, w: np.ndarray) -> np.ndarray:
    log_p, log_q = (x - np.logaddexp.reduce(x, -1, keepdims=True) for x in (z.astype(np.float64), w.astype(np.float64)))
    return (np.exp(log_p) * (log_p - log_q)).sum(-1)


def test_what_quantising_changed(engines, tiny_llama):
    first, second = engines[:2]
    found = iv.compare_models(first, second, PROMPT)
    assert (found.model, found.other) == (first.model.name, "tiny")
    assert found.kl.shape == (tiny.N_LAYERS + 2, len(found.tokens))
    ids = [t.id for t in found.tokens]
    model = plain.load(tiny_llama)
    quantised = plain.load(tiny_llama)
    quantised.load_state_dict(second.kept_traces.model.network.state_dict())
    with torch.no_grad():
        z, w = (m(torch.tensor([ids]), output_hidden_states=True) for m in (model, quantised))
        lens = [
            [m.lm_head(m.model.norm(out.hidden_states[row][0])).numpy() for row in range(tiny.N_LAYERS)]
            for m, out in ((model, z), (quantised, w))
        ]
    own = z.logits[0].numpy(), w.logits[0].numpy()
    for row in range(tiny.N_LAYERS):
        np.testing.assert_allclose(found.kl[row], _kl(lens[0][row], lens[1][row]), atol=1e-6, rtol=1e-3)
        assert (found.top_ids[row] == lens[0][row].argmax(-1)).all()
        assert (found.other_top_ids[row] == lens[1][row].argmax(-1)).all()
    np.testing.assert_allclose(found.kl[-1], _kl(*own), atol=1e-6, rtol=1e-3)
    np.testing.assert_allclose(found.kl[-2], found.kl[-1], atol=1e-6, rtol=1e-3)
    np.testing.assert_allclose(found.logit_largest, np.abs(own[1] - own[0]).max(-1), atol=1e-5)
    np.testing.assert_allclose(found.logit_rms, (own[1] - own[0]).std(-1), atol=1e-5)
    for said, logits in ((found.log_prob, own[0]), (found.other_log_prob, own[1])):
        log_p = logits - np.logaddexp.reduce(logits, -1, keepdims=True)
        np.testing.assert_allclose(said[:-1], log_p[np.arange(len(ids) - 1), ids[1:]], atol=1e-5)
        assert np.isnan(said[-1])


def test_the_error_of_every_weight(engines):
    first, second = engines[:2]
    found = iv.compare_models(first, second, PROMPT)
    before, after = (e.kept_traces.model.network.state_dict() for e in (first, second))
    assert set(found.weights) == set(before)
    for name, error, layer in zip(found.weights, found.weight_error, found.weight_layer, strict=True):
        expected = (after[name] - before[name]).norm() / before[name].norm()
        assert error == pytest.approx(float(expected), rel=1e-4, abs=1e-12)
        assert layer == (int(name.split(".")[2]) if ".layers." in name else -1)
    norms = [e for n, e in zip(found.weights, found.weight_error, strict=True) if "norm" in n]
    # rows of 48 numbers hold no whole blocks, and stay as they are
    assert max(norms) == 0 < min(e for n, e in zip(found.weights, found.weight_error, strict=True) if "self_attn" in n)


def test_what_an_adapter_changed(engines):
    found = iv.compare_models(engines[0], engines[2], PROMPT, max_new_tokens=3)
    assert len(found.tokens) == found.prompt_length + 3
    moved = {n for n, e in zip(found.weights, found.weight_error, strict=True) if e}
    assert moved == {f"model.layers.{i}.self_attn.q_proj.weight" for i in range(tiny.N_LAYERS)}
    assert (found.kl[0] == 0).all()
    assert found.kl[-1, 1:].max() > 0
    assert found.changed.shape == found.kl.shape


def test_a_model_beside_itself(engines):
    found = iv.compare_models(engines[0], engines[0], PROMPT)
    assert (found.kl == 0).all()
    assert (found.weight_error == 0).all()
    assert not found.changed.any()
    assert (found.logit_largest == 0).all()


def test_one_model_in_two_precisions(engines, tiny_llama):
    halved = iv.open_model(tiny_llama, dtype="bfloat16")
    found = iv.compare_models(engines[0], halved, PROMPT)
    halved.close()
    name = engines[0].model.name
    assert (found.model, found.other) == (f"{name} (float32)", f"{name} (bfloat16)")
    # a number of 8 binary digits is off by at most half of the last, a part in 2^8
    assert 0 < found.weight_error.max() < 2**-8
    assert 0 < found.kl[-1].max() < 0.1


def test_no_trace_is_left(engines, monkeypatch):
    first, second = engines[:2]
    before = [len(e.kept_traces.store) if hasattr(e.kept_traces, "store") else 0 for e in (first, second)]
    made: list[iv.Trace] = []
    original = iv.LocalEngine.trace

    def kept(self, *args, **options):
        made.append(original(self, *args, **options))
        return made[-1]

    monkeypatch.setattr(iv.LocalEngine, "trace", kept)
    iv.compare_models(first, second, PROMPT)
    assert len(made) == 2
    for trace in made:
        with pytest.raises(iv.TraceError):
            trace.logits()
    assert before == [len(e.kept_traces.store) if hasattr(e.kept_traces, "store") else 0 for e in (first, second)]


def test_small_and_large_divergences_are_exact():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, 5000, generator=generator) * 6 + 40
    assert (exact_divergence(z, z) == 0).all()
    for size in (1e-5, 1e-3, 1.0, 300.0):
        w = z + size * torch.randn(z.shape, generator=generator)
        change = (w.double() - z.double()).numpy()
        p = z.double().softmax(-1).numpy()
        if size <= 1e-3:  # to second order it is half the variance of the change
            mean = (p * change).sum(-1, keepdims=True)
            expected = (p * (change - mean) ** 2).sum(-1) / 2
        else:
            expected = _kl(z.numpy(), w.numpy())
        np.testing.assert_allclose(exact_divergence(z, w).numpy(), expected, rtol=2e-2 if size <= 1e-3 else 1e-4)
    z[0, 7] = -1e30
    assert torch.isfinite(exact_divergence(z, w)).all()


def test_models_that_do_not_go_together(engines, tiny_gpt2, tiny_folder, tmp_path):
    first = engines[0]
    with pytest.raises(iv.RequestError, match="other: expected a LocalEngine, as open_model gives; got 'str'"):
        iv.compare_models(first, "demo", PROMPT)
    with pytest.raises(iv.RequestError, match="options of a plain run; got 'interventions'"):
        iv.compare_models(first, first, PROMPT, interventions=())
    demo, gpt2 = iv.open_model("demo"), iv.open_model(tiny_gpt2)
    with pytest.raises(iv.RequestError, match=r"same shape; n_layers is 3 in .* and 6 in demo"):
        iv.compare_models(first, demo, PROMPT)
    with pytest.raises(iv.RequestError, match=r"same weights; .* is in .* alone"):
        iv.compare_models(first, gpt2, PROMPT)
    other = tmp_path / "other"
    tiny.save_model(tiny.build_character_model("llama"), other)
    vocabulary = json.loads((other / "tokenizer.json").read_text())
    pieces = vocabulary["model"]["vocab"]
    pieces["a"], pieces["b"] = pieces["b"], pieces["a"]
    (other / "tokenizer.json").write_text(json.dumps(vocabulary))
    swapped = iv.open_model(other)
    with pytest.raises(iv.RequestError, match=r"same tokenizer; token \d+ is 'a' in .* and 'b' in other \(2 such"):
        iv.compare_models(first, swapped, PROMPT)
    for engine in (demo, gpt2, swapped):
        engine.close()
    with pytest.raises(iv.TraceError, match="closed"):
        iv.compare_models(first, swapped, PROMPT)


def test_pictures_tables_and_files(engines, tmp_path):
    found = iv.compare_models(engines[0], engines[2], PROMPT)
    heatmap, texts = found.figure().data
    assert heatmap.z.shape == found.kl.shape
    assert len(texts.x) == found.changed.sum()
    assert "another top token at" in found.figure().layout.title.text
    weights = found.figure(show="weights", dark=True).data[0]
    assert weights.z.shape[0] == tiny.N_LAYERS + 1
    assert np.nanmax(weights.z) == pytest.approx(found.weight_error.max())
    with pytest.raises(iv.RequestError, match="show: expected one of kl, weights"):
        found.figure(show="other")
    frame = found.frame()
    assert len(frame) == found.kl.size
    assert frame["kl"].max() == pytest.approx(found.kl.max())
    assert "plotly" in found.html()
    saved = json.loads(found.save(tmp_path / "difference.json").read_text())
    assert saved["kind"] == "ModelDifference"
    assert found.save(tmp_path / "difference.csv").stat().st_size > 100
