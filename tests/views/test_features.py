"""Features from dictionaries: every number against NumPy, parts that add up, edits, what is refused (methods §7)."""

from __future__ import annotations

import json

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.cli import main
from tests.dictionaries import encode, known, make_arrays, write_sae, write_transcoders
from tests.inside import context_of

TARGET, CONTRAST, POSITION, LAYER, N = 20, 41, 6, 1, 40
NEAR = {"rtol": 2e-4, "atol": 2e-5}
HOOKS = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
}
GATED = {"b_gate": (N,), "b_mag": (N,), "r_mag": (N,)}


def make(kind: str, d: int) -> dict[str, np.ndarray]:
    if kind == "gated":
        arrays = make_arrays(d, N, **GATED)
        del arrays["b_enc"]
        return arrays
    more = {"threshold": (N,)} if kind == "jumprelu" else {}
    return make_arrays(d, N, **more)


def check_parts(graph, trace, number: int = 0) -> None:
    """The parts of a dictionary add up to its place: pulls, and through the pulls of any target the vectors."""
    features = graph.dictionaries[number]
    scale = 1 + np.abs(features.part_pull).max()
    assert features.part_pull.sum() == pytest.approx(features.pull, abs=1e-5 * scale)
    assert features.part_versus.sum() == pytest.approx(features.versus, abs=1e-5 * scale)
    assert (features.part_kind == "error").sum() == 1


@pytest.mark.parametrize("site", HOOKS)
@pytest.mark.parametrize("kind", ["standard", "jumprelu", "topk", "gated"])
def test_features_are_those_of_numpy(case, added, tmp_path, kind, site):
    engine, trace = case("llama").engine, case("llama").trace
    w = make(kind, 32)
    options = {"k": 7} if kind == "topk" else {}
    path = write_sae(tmp_path / "sae", w, engine.model.name, f"blocks.1.{HOOKS[site]}", architecture=kind, **options)
    card = added(engine, path)
    assert (card.layers, card.n_features, card.site, card.transcoder) == ((1,), N, site, False)
    x = trace.activation(site, LAYER)[POSITION].astype(np.float64)
    acts = encode(w, x, kind, 7)
    graph = trace.layer(LAYER, POSITION, TARGET, CONTRAST, features=4)
    (found,) = graph.dictionaries
    assert found.n_active == (acts != 0).sum()
    sizes = acts * np.linalg.norm(w["W_dec"], axis=1)
    best = np.argsort(-np.abs(sizes))[:4]
    rows = found.is_kind("feature")
    np.testing.assert_array_equal(found.part_index[rows], best)
    np.testing.assert_allclose(found.part_act[rows], acts[best], **NEAR)
    np.testing.assert_allclose(found.part_size[rows], np.abs(sizes[best]), **NEAR)
    rest = acts.copy()
    rest[best] = 0
    others = found.part_size[found.is_kind("others")]
    np.testing.assert_allclose(others, np.linalg.norm(rest @ w["W_dec"]), **NEAR)
    assert found.part_count[found.is_kind("others")] == (rest != 0).sum()
    np.testing.assert_allclose(found.part_size[found.is_kind("bias")], np.linalg.norm(w["b_dec"]), **NEAR)
    error = x - acts @ w["W_dec"] - w["b_dec"]
    np.testing.assert_allclose(found.part_size[found.is_kind("error")], np.linalg.norm(error), **NEAR)
    assert found.error == pytest.approx(np.linalg.norm(error) / np.linalg.norm(x), rel=1e-4)
    assert found.size == pytest.approx(np.linalg.norm(x), rel=1e-5)
    check_parts(graph, trace)
    table = graph.features
    assert list(table["dictionary"].unique()) == ["sae"]
    for row in table[table["kind"] == "feature"].itertuples():
        one = trace.feature(LAYER, row.index, position=POSITION, target=TARGET, contrast=CONTRAST)
        for name in ("size", "pull", "versus", "rank", "kl"):
            assert getattr(one, name) == pytest.approx(getattr(row, name), rel=1e-3, abs=1e-7), name
        whole = trace.activation(site, LAYER).astype(np.float64)
        np.testing.assert_allclose(one.activation, [encode(w, v, kind, 7)[row.index] for v in whole], **NEAR)
        assert one.n_active == found.n_active


def test_pull_rank_and_kl_of_a_part_are_those_of_a_head_that_writes_the_same(case, added, tmp_path):
    """Feature i of attention's output is what head i writes: every number of its row is that of the head."""
    engine, trace = case("llama").engine, case("llama").trace
    graph = trace.layer(LAYER, POSITION, TARGET, CONTRAST)
    cards = [trace.head(LAYER, h, POSITION, target=TARGET, contrast=CONTRAST) for h in range(4)]
    out = trace.activation("head_out", LAYER)[:, POSITION]
    w = make_arrays(32, 4)
    w["W_enc"][:], w["b_enc"][:], w["b_dec"][:], w["W_dec"][:] = 0, 1, 0, out
    path = write_sae(tmp_path / "heads", w, engine.model.name, "blocks.1.hook_attn_out")
    added(engine, path)
    (found,) = trace.layer(LAYER, POSITION, TARGET, CONTRAST).dictionaries
    for head, card in enumerate(cards):
        (row,) = np.flatnonzero(found.part_index == head)
        for name, own in (("size", "size"), ("pull", "pull"), ("versus", "versus"), ("rank", "rank"), ("kl", "kl")):
            assert getattr(found, f"part_{name}")[row] == pytest.approx(getattr(card, own), rel=1e-4, abs=1e-7), name
        assert found.part_entropy[row] == pytest.approx(card.entropy_change, abs=1e-5)
    assert found.error == pytest.approx(0, abs=1e-5)
    assert list(graph.dictionaries) == []


def test_known_features_come_out_as_they_were_made(case, added, tmp_path):
    engine, trace = case("llama").engine, case("llama").trace
    axes = np.linalg.qr(np.random.default_rng(3).standard_normal((32, 32)))[0][:12].astype(np.float32)
    stream = trace.activation("resid_post", LAYER)
    least = 0.25
    path = write_sae(
        tmp_path / "known",
        known(axes, least),
        engine.model.name,
        "blocks.1.hook_resid_post",
        architecture="jumprelu",
        apply_b_dec_to_input=False,
    )
    added(engine, path)
    for feature in (0, 5, 11):
        along = stream @ axes[feature]
        card = trace.feature(LAYER, feature, position=POSITION)
        np.testing.assert_allclose(card.activation, np.where(along > least, along, 0), atol=1e-5)
        np.testing.assert_allclose(card.vector, axes[feature], atol=1e-6)
    active = [f for f in range(12) if stream[POSITION] @ axes[f] > least]
    assert active
    edit = trace.feature_edit(LAYER, active[0], position=POSITION)
    edited = trace.edit(edit)
    wanted = stream[POSITION] - (stream[POSITION] @ axes[active[0]]) * axes[active[0]]
    np.testing.assert_allclose(edited.activation("resid_post", LAYER)[POSITION], wanted, atol=1e-5)
    card = edited.feature(LAYER, active[0], position=POSITION)
    assert card.size == card.place == card.kl == 0
    assert "not active" in card.notes[-1]
    assert not card.promoted.before.any()
    double = trace.edit(trace.feature_edit(LAYER, active[0], position=POSITION, factor=2.0))
    wanted = stream[POSITION] + (stream[POSITION] @ axes[active[0]]) * axes[active[0]]
    np.testing.assert_allclose(double.activation("resid_post", LAYER)[POSITION], wanted, atol=1e-5)
    with pytest.raises(iv.RequestError, match="Steer by it"):
        edited.feature_edit(LAYER, active[0], position=POSITION)
    steered = trace.edit(iv.Steer("resid_post", LAYER, (POSITION,), direction=card, strength=3.0, unit="absolute"))
    moved = steered.activation("resid_post", LAYER)[POSITION] - stream[POSITION]
    np.testing.assert_allclose(moved, 3 * axes[active[0]], atol=1e-5)


@pytest.mark.parametrize("jump", [False, True])
def test_transcoders_of_circuit_tracer(case, added, tmp_path, jump):
    engine, trace = case("llama").engine, case("llama").trace
    more = {"activation_function.threshold": (N,), "W_skip": (32, 32)} if jump else {}
    layers = {layer: make_arrays(32, N, seed=layer, **more) for layer in range(3)}
    path = write_transcoders(tmp_path / "set", layers, engine.model.name, "hook_resid_mid", "hook_mlp_out")
    card = added(engine, path)
    assert card.layers == (0, 1, 2)
    assert card.transcoder
    for layer, w in layers.items():
        x = trace.activation("resid_mid", layer)[POSITION].astype(np.float64)
        pre = x @ w["W_enc"] + w["b_enc"]
        acts = pre * (pre > w["activation_function.threshold"]) if jump else np.maximum(pre, 0)
        made = acts @ w["W_dec"] + w["b_dec"] + (w["W_skip"] @ x if jump else 0)
        graph = trace.layer(layer, POSITION, TARGET, features=5)
        (found,) = graph.dictionaries
        assert found.site == "mlp_out"
        assert found.n_active == (acts != 0).sum()
        error = trace.activation("mlp_out", layer)[POSITION] - made
        np.testing.assert_allclose(found.part_size[found.is_kind("error")], np.linalg.norm(error), **NEAR)
        assert found.is_kind("skip").any() == jump
        check_parts(graph, trace)
    assert added(engine, path, layers=[2]).layers == (2,)


@pytest.mark.parametrize("name", ["Gemma-2", "GPT-2", "Llama"])
@pytest.mark.parametrize("hook", ["attn.hook_z", "ln2.hook_normalized", "mlp.hook_in", "hook_mlp_out"])
def test_places_of_other_families(family, added, tmp_path, name, hook):
    """The heads before W_O, and what the MLP reads, with post-norms, with LayerNorm and its centring."""
    engine, trace = family(name).engine, family(name).trace
    context = context_of(engine, trace)
    model, data = context.model, context.data
    z = data.site("z", LAYER).float().permute(1, 0, 2).flatten(1)
    width = z.shape[1] if hook == "attn.hook_z" else engine.model.d_model
    out = None if hook in ("attn.hook_z", "hook_mlp_out") else engine.model.d_model
    w = make_arrays(width, N, out)
    place = f"blocks.{LAYER}.{hook}"
    writes = {"hook_name_out": f"blocks.{LAYER}.hook_mlp_out", "architecture": "transcoder"} if out else {}
    added(engine, write_sae(tmp_path / "sae", w, "elsewhere", place, **writes), model="elsewhere")
    stream = data.site("resid_mid", LAYER)[POSITION].double().numpy()
    module = model.blueprint.blocks[LAYER].mlp.norm
    read = {"hook_mlp_out": data.site("mlp_out", LAYER)[POSITION].numpy(), "attn.hook_z": z[POSITION].numpy()}
    read["mlp.hook_in"] = module(data.site("resid_mid", LAYER)[POSITION]).numpy()
    moved = stream - stream.mean() if name == "GPT-2" else stream
    eps = getattr(module, "eps", None) or getattr(module, "variance_epsilon", None)
    read["ln2.hook_normalized"] = moved / np.sqrt((moved**2).mean() + eps)
    acts = encode(w, read[hook], "standard", bias_from_input=out is None)
    graph = trace.layer(LAYER, POSITION, TARGET, features=6)
    (found,) = graph.dictionaries
    rows = found.is_kind("feature")
    assert found.n_active == (acts > 0).sum()
    np.testing.assert_allclose(found.part_act[rows], acts[found.part_index[rows]], rtol=1e-3, atol=1e-5)
    check_parts(graph, trace)
    if hook == "attn.hook_z":
        heads = graph.parts[graph.part_kind == "head"]
        assert found.pull == pytest.approx(heads["pull"].sum(), abs=1e-4), "it is what the heads write"
        assert found.site == "attn_out"
    elif hook == "hook_mlp_out":
        assert found.pull == pytest.approx(graph.lane_pull[1], abs=1e-4)


def test_scaled_centred_and_older_configs(case, family, added, tmp_path):
    engine, trace = case("llama").engine, case("llama").trace
    x, w = trace.activation("resid_post", LAYER)[POSITION].astype(np.float64), make_arrays(32, N)
    place = "blocks.1.hook_resid_post"
    for said in ("layer_norm", "constant_norm_rescale"):
        added(engine, write_sae(tmp_path / said, w, engine.model.name, place, normalize_activations=said))
    centred, name = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}, engine.model.name
    added(engine, write_sae(tmp_path / "centred", w, name, place, **centred))
    found = {f.dictionary: f for f in trace.layer(LAYER, POSITION, TARGET, features=N).dictionaries}
    spread = x.std(ddof=1)
    inputs = {
        "layer_norm": ((x - x.mean()) / (spread + 1e-5), spread, x.mean()),
        "constant_norm_rescale": (x * np.sqrt(32) / np.linalg.norm(x), np.linalg.norm(x) / np.sqrt(32), 0),
        "centred": (x - x.mean(), 1, 0),
    }
    for said, (given, scale, offset) in inputs.items():
        acts = encode(w, given, "standard")
        made = (acts @ w["W_dec"] + w["b_dec"]) * scale + offset
        error = found[said].part_size[found[said].is_kind("error")]
        np.testing.assert_allclose(error, np.linalg.norm(x - made), **NEAR)
    rescaled = make_arrays(32, N, seed=4)
    path = write_sae(
        tmp_path / "by", rescaled, name, place, architecture="topk", k=5, rescale_acts_by_decoder_norm=True
    )
    added(engine, path)
    lengths = np.linalg.norm(rescaled["W_dec"], axis=1)
    pre = ((x - rescaled["b_dec"]) @ rescaled["W_enc"] + rescaled["b_enc"]) * lengths
    best = np.argsort(-pre)[:5]
    made = np.maximum(pre[best], 0) @ (rescaled["W_dec"] / lengths[:, None])[best] + rescaled["b_dec"]
    (one,) = [f for f in trace.layer(LAYER, POSITION, TARGET).dictionaries if f.dictionary == "by"]
    np.testing.assert_allclose(one.part_size[one.is_kind("error")], np.linalg.norm(x - made), **NEAR)
    old = tmp_path / "old"
    write_sae(old, w, name, place)
    facts = {"d_in": 32, "d_sae": N, "model_name": name, "hook_point": place, "hook_point_layer": 1}
    facts |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}}
    (old / "cfg.json").write_text(json.dumps(facts))
    assert added(engine, old).activation == "topk"


def test_gemma_scope_is_named_by_its_folders(family, added, tmp_path):
    engine, trace = family("Gemma-2").engine, family("Gemma-2").trace
    d = engine.model.d_model
    w = make_arrays(d, N, threshold=(N,))
    folder = tmp_path / "gemma-scope-2b-pt-res" / "layer_1" / "width_16k" / "average_l0_71"
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **w)
    card = added(engine, folder, model="gemma-2-2b")
    assert (card.kind, card.site, card.layers, card.name) == (
        "Gemma Scope",
        "resid_post",
        (1,),
        "resid_post-1-width_16k-average_l0_71",
    )
    (found,) = trace.layer(1, POSITION, TARGET).dictionaries
    acts = encode(w, trace.activation("resid_post", 1)[POSITION], "jumprelu", bias_from_input=False)
    assert found.n_active == (acts > 0).sum()
    with pytest.raises(iv.ModelError, match=r"trained on gemma-2-2b.*model="):
        engine.add_dictionary(folder)
    elsewhere = tmp_path / "mine"
    elsewhere.mkdir()
    np.savez(elsewhere / "params.npz", **w)
    with pytest.raises(iv.ModelError, match="Keep their names"):
        engine.add_dictionary(elsewhere, model="gemma-2-2b")


def test_what_is_refused(case, tmp_path):
    engine, name = case("llama").engine, case("llama").engine.model.name
    place, w = "blocks.1.hook_resid_post", make_arrays(32, N)

    def refused(match: str, hook: str = place, model: str = name, arrays=None, error=iv.ModelError, **config) -> None:
        path = write_sae(tmp_path / "bad", w if arrays is None else arrays, model, hook, **config)
        with pytest.raises(error, match=match):
            engine.add_dictionary(path)

    refused("trained on gpt2-small", model="gpt2-small")
    refused(r"d_sae|shape", d_sae=N + 1)
    refused("expected 32 numbers .* it has 24", arrays=make_arrays(24, N))
    refused(r"layer: expected 0 to 2", hook="blocks.7.hook_resid_post")
    refused("architecture: expected one of standard", architecture="matching_pursuit")
    refused("fold the factor", normalize_activations="expected_average_only_in")
    refused("cannot be told", hook="blocks.1.hook_mlp_in")
    refused("hook: expected a place", hook="blocks.1.attn.hook_q")
    refused("threshold is missing", architecture="jumprelu")
    refused("W_skip is not known", arrays={**w, "W_skip": np.zeros((32, 32), np.float32)})
    refused("k: expected how many", architecture="topk", k=0)
    refused("does not join the stream", hook="blocks.1.ln2.hook_normalized")
    refused("finite", arrays={**w, "W_dec": np.where(w["W_dec"] > 0.3, np.nan, w["W_dec"]).astype(np.float32)})
    refused("shape", arrays={**w, "b_enc": w["b_enc"][:-1]})
    (tmp_path / "bad" / "sae_weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(iv.ModelError, match="damaged"):
        engine.add_dictionary(tmp_path / "bad")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "sae.pt").write_bytes(b"\x80\x04")
    with pytest.raises(iv.ModelError, match="pickle file, which is never opened"):
        engine.add_dictionary(pickled)
    objects = tmp_path / "gemma-scope-2b-pt-res" / "layer_1"
    objects.mkdir(parents=True)
    np.savez(objects / "params.npz", W_enc=np.array([{"a": 1}], dtype=object))
    with pytest.raises(iv.ModelError, match="damaged, or holds something else"):
        engine.add_dictionary(objects, model="gemma-2-2b")
    path = write_transcoders(tmp_path / "clt", {0: w}, name, "hook_resid_mid", "hook_mlp_out", model_kind="x")
    with pytest.raises(iv.ModelError, match="Cross-layer"):
        engine.add_dictionary(path)
    with pytest.raises(iv.RequestError, match="owner/name/folder"):
        engine.add_dictionary(tmp_path / "nowhere")
    with pytest.raises(iv.RequestError, match="none was added"):
        case("llama").trace.feature(LAYER, 0)
    with pytest.raises(iv.RequestError, match="one that was added"):
        engine.remove_dictionary("it")
    assert engine.dictionaries == ()


def test_a_layer_is_counted_from_the_last_and_hidden_behind_a_name(case, added, tmp_path):
    engine, trace = case("llama").engine, case("llama").trace
    for name in ("one", "two"):
        added(engine, write_sae(tmp_path / name, make_arrays(32, N), engine.model.name, "blocks.1.hook_mlp_out"))
    assert trace.feature(-2, 3, "two").layer == 1
    with pytest.raises(iv.RequestError, match=r"dictionary: expected one of one, two"):
        trace.feature(1, 3)
    with pytest.raises(iv.RequestError, match=r"layer: expected -3 to 2; got 3"):
        trace.feature(3, 3)
    with pytest.raises(iv.RequestError, match=r"feature: expected 0 to 39"):
        trace.feature(1, N, "one")
    assert [card.name for card in engine.dictionaries] == ["one", "two"]
    assert len(trace.layer(1, features=0).dictionaries) == 0
    before = trace.layer(1)
    engine.remove_dictionary("one")
    assert [f.dictionary for f in before.dictionaries] == ["one", "two"]
    assert [f.dictionary for f in trace.layer(1).dictionaries] == ["two"], "a kept record of others is none"
    kept = trace.save(tmp_path / "run.intravisto", views="layer")
    stored = iv.open_trace(kept).layer(1)
    np.testing.assert_array_equal(stored.dictionaries[0].part_pull, trace.layer(1).dictionaries[0].part_pull)
    assert stored.features.equals(trace.layer(1).features)
    with pytest.raises(iv.TraceError, match="features of another dictionary"):
        iv.open_trace(kept).engine.add_dictionary("x")


def test_the_command_and_the_page_by_itself(capsys, tmp_path, tiny_llama):
    name = tiny_llama.name
    path = write_sae(tmp_path / "sae", make_arrays(32, N), name, "blocks.1.hook_mlp_out")
    run = ["layer", "ab c", "--model", str(tiny_llama), "--layers", "1", "--dictionary", str(path), "--features", "3"]
    assert main(run) == 0
    said = capsys.readouterr().out
    assert "sae, MLP output: " in said
    assert said.count("  F") == 3
    assert "reconstruction error: " in said
    assert main([*run, "--out", str(tmp_path / "x.html")]) == 0
    assert '"features": [{"name": "sae"' in (tmp_path / "x.html").read_text()
    assert main([*run[:-3], str(tmp_path / "nowhere")]) == 2
    assert "owner/name/folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Llama", "Qwen3-MoE"])
def test_a_neuron_over_texts_is_that_of_each_text_alone(family, name):
    engine = family(name).engine
    texts = ["w1 w2 w3 w4", "w9 w8", "w5 w6 w7 w8 w9 w10", "w3"]
    mixed = name == "Qwen3-MoE"
    found = engine.active_texts(texts, -1, 3, expert=1 if mixed else None)
    layer = engine.model.n_layers - 1
    assert found.part == f"layer {layer}, {'expert 1, ' if mixed else ''}neuron 3"
    assert sorted(each.number for each in found.texts) == [0, 1, 2, 3]
    sizes = [abs(each.largest) for each in found.texts]
    assert sizes == sorted(sizes, reverse=True)
    for each in found.texts:
        trace = engine.trace(texts[each.number])
        assert each.tokens == trace.tokens
        if mixed:
            chosen = trace.experts(layer, 1)
            own = np.full(len(trace.tokens), np.nan)
            own[chosen.positions] = chosen.act[:, 3]
        else:
            own = trace.activation("act", layer)[:, 3]
        np.testing.assert_allclose(each.activation, own, rtol=1e-4, atol=1e-6)
        after = np.abs(own[1:] if len(own) > 1 else own)
        if np.isfinite(after).any():
            assert abs(each.largest) == pytest.approx(np.nanmax(after), rel=1e-4)
            assert each.activation[each.position] == np.float32(each.largest)
        else:
            assert (each.largest, each.position) == (0, -1)
    assert "shaded-text" in found.html()
    assert len(found.frame()) == sum(map(len, found.texts))


def test_a_feature_over_texts(case, added, tmp_path):
    engine = case("llama").engine
    name, places = engine.model.name, ("mlp.hook_in", "hook_mlp_out")
    added(engine, write_transcoders(tmp_path / "set", {1: make_arrays(32, N)}, name, *places))
    found = engine.active_texts(["ab c", "<b> d", "a"], 1, feature=2)
    assert found.part == "layer 1, feature 2 of set"
    for each in found.texts:
        card = engine.trace(["ab c", "<b> d", "a"][each.number]).feature(1, 2)
        np.testing.assert_allclose(each.activation, card.activation, **NEAR)
    assert "&lt;" in found.html()
    for bad in ({"neuron": 1, "feature": 1}, {}, {"feature": 1, "expert": 0}):
        with pytest.raises(iv.RequestError):
            engine.active_texts(["a"], 1, **bad)
    with pytest.raises(iv.RequestError, match="texts"):
        engine.active_texts([], 1, 3)
    with pytest.raises(iv.RequestError, match="expert"):
        engine.active_texts(["a"], 1, 3, expert=0)
