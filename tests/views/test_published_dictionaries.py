"""Dictionaries as they are published: configs with the fields that real ones have, and without those that they lack."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

import intravisto_core as iv
from intravisto_core.models.dictionaries.opening import choose_files
from intravisto_core.sites import Site
from tests.dictionaries import Arrays, encode, make_arrays, write_transcoders
from tests.inside import context_of

POSITION, LAYER, N = 6, 1, 40
# of jbloom/GPT2-Small-SAEs-Reformatted: fields of training, older names, and no word of how the model was opened
OLD_CONFIG = {
    "hook_point": "blocks.1.hook_resid_pre",
    "hook_point_layer": 1,
    "hook_point_head_index": None,
    "dataset_path": "Skylion007/openwebtext",
    "is_dataset_tokenized": False,
    "context_size": 128,
    "use_cached_activations": False,
    "cached_activations_path": "activations/Skylion007_openwebtext/gpt2-small/blocks.1.hook_resid_pre",
    "d_in": 32,
    "d_sae": N,
    "n_batches_in_buffer": 128,
    "device": "mps",
    "seed": 42,
    "dtype": "torch.float32",
    "b_dec_init_method": "geometric_median",
    "expansion_factor": 32,
    "l1_coefficient": 8e-05,
    "lr_scheduler_name": None,
    "use_ghost_grads": False,
    "resample_batches": 1028,
    "run_name": "24576-L1-8e-05-LR-0.0004-Tokens-3.000e+08",
}


def write_old(folder: Path, arrays: Arrays, model: str, **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "cfg.json").write_text(json.dumps({**OLD_CONFIG, "model_name": model, **config}))
    save_file(arrays, folder / "sae_weights.safetensors")
    return folder


def write_second(folder: Path, arrays: Arrays, config: dict[str, object] | None = None) -> Path:
    """A folder of Gemma Scope 2."""
    folder.mkdir(parents=True)
    save_file({name.replace("W_", "w_"): array for name, array in arrays.items()}, folder / "params.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps({"width": N, "l0": 20, "architecture": "jump_relu", **config}))
    return folder


@pytest.mark.parametrize("published", [True, False])
def test_what_is_known_of_a_repository_and_not_said_by_its_configs(case, added, tmp_path, published):
    """The dictionaries of gpt2-small-res-jb were trained on centred streams; their configs leave it out."""
    engine, trace = case("llama").engine, case("llama").trace
    w = make_arrays(32, N)
    w["scaling_factor"] = np.ones(N, np.float32)
    place = "models--jbloom--GPT2-Small-SAEs-Reformatted/snapshots/1a2b" if published else "mine"
    added(engine, write_old(tmp_path / place / "blocks.1.hook_resid_pre", w, engine.model.name))
    x = trace.activation("resid_pre", LAYER)[POSITION].astype(np.float64)
    acts = encode(w, x - x.mean() if published else x, "standard")
    (found,) = trace.layer(LAYER, POSITION, features=N).dictionaries
    assert found.n_active == (acts > 0).sum()
    rows = found.is_kind("feature")
    np.testing.assert_allclose(found.part_act[rows], acts[found.part_index[rows]], rtol=2e-4, atol=2e-5)


def test_a_scale_that_the_configs_of_a_repository_leave_out(case, added, tmp_path):
    engine, trace = case("llama").engine, case("llama").trace
    w = make_arrays(32, N)
    folder = tmp_path / "Mistral-7B-Residual-Stream-SAEs" / "mistral_7b_layer_8"
    added(engine, write_old(folder, w, engine.model.name, hook_point="blocks.1.hook_resid_post"))
    x = trace.activation("resid_post", LAYER)[POSITION].astype(np.float64)
    acts = encode(w, x * np.sqrt(32) / np.linalg.norm(x), "standard")
    (found,) = trace.layer(LAYER, POSITION, features=N).dictionaries
    rows = found.is_kind("feature")
    np.testing.assert_allclose(found.part_act[rows], acts[found.part_index[rows]], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("kind", ["resid_post_all", "attn_out", "mlp_out_all", "transcoder_all"])
@pytest.mark.parametrize("told", [True, False])
def test_gemma_scope_2_with_and_without_a_config(family, added, tmp_path, kind, told):
    """Folders of all layers have no config on the Hub: their names say the same."""
    engine, trace = family("Gemma-2").engine, family("Gemma-2").trace
    context, d = context_of(engine, trace), engine.model.d_model
    z = context.data.site(Site.Z, LAYER).float().permute(1, 0, 2).flatten(1)
    module = context.model.blueprint.blocks[LAYER].mlp.norm
    mid = context.data.site(Site.RESID_MID, LAYER)[POSITION]
    read, ends = {
        "resid_post_all": (context.data.site(Site.RESID_POST, LAYER)[POSITION], ["output"]),
        "attn_out": (z[POSITION], ["self_attn.o_proj.input"]),
        "mlp_out_all": (context.data.site(Site.MLP_OUT, LAYER)[POSITION], ["post_feedforward_layernorm.output"]),
        "transcoder_all": (module(mid), ["pre_feedforward_layernorm.output", "post_feedforward_layernorm.output"]),
    }[kind]
    x = read.detach().double().numpy()
    skips = kind == "transcoder_all"
    more = {"affine_skip_connection": (d, d)} if skips else {}
    w = make_arrays(len(x), N, d if skips else None, threshold=(N,), **more)
    hooks = {f"hf_hook_point_{at}": f"model.layers.1.{end}" for at, end in zip(("in", "out"), ends, strict=False)}
    config = {**hooks, "type": "transcoder" if skips else "sae", "model_name": "google/gemma-3-1b-pt"}
    if skips:
        config["affine_connection"] = True
    name = f"layer_1_width_16k_l0_small{'_affine' if skips else ''}"
    folder = write_second(tmp_path / "gemma-scope-2-1b-pt" / kind / name, w, config if told else None)
    card = added(engine, folder, model="gemma-3-1b-pt")
    assert (card.kind, card.model, card.transcoder) == ("Gemma Scope 2", "google/gemma-3-1b-pt", skips)
    (found,) = trace.layer(LAYER, POSITION, features=N).dictionaries
    acts = encode(w, x, "jumprelu", bias_from_input=False)
    rows = found.is_kind("feature")
    assert found.n_active == (acts > 0).sum()
    np.testing.assert_allclose(found.part_act[rows], acts[found.part_index[rows]], rtol=1e-3, atol=1e-5)
    if skips:
        error = context.data.site(Site.MLP_OUT, LAYER)[POSITION].double().numpy() - acts @ w["W_dec"] - w["b_dec"]
        error = error - x @ w["affine_skip_connection"]
        np.testing.assert_allclose(found.part_size[found.is_kind("error")], np.linalg.norm(error), rtol=1e-3)


def test_what_of_published_ones_is_refused_says_why(case, tmp_path):
    engine, w = case("llama").engine, make_arrays(32, N, threshold=(N,))
    with pytest.raises(iv.ModelError, match="Keep their names"):
        engine.add_dictionary(write_second(tmp_path / "mine" / "layer_1_width_16k_l0_small", w))
    # the sets that circuit-tracer itself names: lists of files, in two forms
    for listed in (["hf://google/gemma-scope-2b-pt-transcoders/layer_0/params.npz"], [{"id": "x-0", "layer": 0}]):
        folder = tmp_path / f"set{len(listed[0])}"
        folder.mkdir()
        facts = {"model_name": "meta-llama/Llama-3.2-1B", "feature_input_hook": "hook_resid_mid"}
        (folder / "config.yaml").write_text(yaml.safe_dump({**facts, "transcoders": listed}))
        with pytest.raises(iv.ModelError, match="names files of other repositories"):
            engine.add_dictionary(folder)
    path = write_transcoders(
        tmp_path / "topk", {0: make_arrays(32, N)}, engine.model.name, "mlp.hook_in", "hook_mlp_out", activation="topk"
    )
    with pytest.raises(iv.ModelError, match=r"k: expected how many .*Write it into config\.yaml"):
        engine.add_dictionary(path)


def test_the_config_of_a_folder_is_fetched_where_there_is_one():
    folder = "resid_post/layer_17_width_16k_l0_small"
    files = {f"{folder}/config.json", f"{folder}/params.safetensors", f"{folder}/examples.safetensors"}
    assert choose_files(files, folder, None) == [f"{folder}/params.safetensors", f"{folder}/config.json"]
    assert choose_files({f"{folder}/params.safetensors"}, folder, None) == [f"{folder}/params.safetensors"]
