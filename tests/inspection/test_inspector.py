"""Any module opened: its tree, its runs, hooks, what is measured, failures; against torch itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from torch import nn

import intravisto_core as iv
from intravisto_core.figures.web.architecture_payload import architecture_data
from intravisto_core.inspection.module_tree import read_tree
from tests import tiny
from tests.inspection.models import IDS, Failing, build

TEXT = ("llama", "gpt2", "neox", "qwen3_moe", "t5")
ALL = (*TEXT, "vit", "resnet", "detector", "diffusion", "sequential", "twice", "named", "in_place")


def n_hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


@pytest.mark.parametrize("name", ALL)
def test_the_tree_is_what_torch_says(name: str) -> None:
    module, _, _ = build(name)
    tree = iv.Inspector(module).tree()
    modules = dict(module.named_modules(remove_duplicate=False))
    assert set(tree.by_path) == set(modules)
    for node in tree.nodes:
        held = modules[node.path]
        assert node.cls == type(held).__name__
        assert node.n_parameters == sum(p.numel() for p in held.parameters())
        assert node.n_bytes == sum({id(t): t.nbytes for t in (*held.parameters(), *held.buffers())}.values())
        own = {**dict(held.named_parameters(recurse=False)), **dict(held.named_buffers(recurse=False))}
        assert {t.name: (t.shape, t.dtype) for t in node.tensors} == {
            n: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in own.items()
        }


def test_tied_weights_and_modules_at_two_places_are_told() -> None:
    module, _, _ = build("llama")
    (weight,) = iv.Inspector(module).tree().node("lm_head").tensors
    assert weight.shared_with == ("model.embed_tokens.weight",)
    layer = nn.Linear(3, 3)
    tree = read_tree(nn.ModuleDict({"a": layer, "b": nn.Sequential(layer)}))
    assert tree.node("b.0").same_as == "a"
    assert tree.root.n_parameters == 12
    one, two = nn.Linear(3, 3), nn.Linear(3, 3)
    two.weight = nn.Parameter(one.weight.detach())  # the same numbers in another object
    tree = read_tree(nn.Sequential(one, two))
    assert tree.node("1").tensors[0].shared_with == ("0.weight",)
    assert tree.root.n_parameters == 9 + 3 + 3


@pytest.mark.parametrize("name", ALL)
def test_a_run_gives_what_the_module_gives_and_leaves_no_hook(name: str) -> None:
    module, args, kwargs = build(name)
    with torch.no_grad():
        plain = module(*args, **kwargs)
        inspector = iv.Inspector(module)
        before = n_hooks(module)
        found = inspector.forward(*args, **kwargs)
        again = inspector.forward(*args, **kwargs)
    assert n_hooks(module) == before
    first: Any = lambda out: next(iter(out.values())) if isinstance(out, dict) else getattr(out, "scores", out)  # noqa: E731
    assert torch.equal(first(found), first(plain))
    assert torch.equal(first(again), first(plain))


def test_calls_are_in_order_with_shapes_and_marked_tokens() -> None:
    module, _, _ = build("llama")
    inspector = iv.Inspector(module)
    inspector.forward(IDS)
    run = inspector.run
    assert [call.path for call in run.calls][:3] == ["", "model", "model.embed_tokens"]
    assert run.n_tokens == 5
    layer = run.by_path["model.layers.1"]
    assert layer.inputs[0] == ("0", iv.ValueShape("tensor", (1, 5, 16), "float32", 1))
    assert [name for name, _ in layer.inputs] == ["0", "position_embeddings", "position_ids"]
    assert str(layer.inputs[1][1]) == "tuple(0: 1 × 5 × 8, 1: 1 × 5 × 8)"
    root = run.by_path[""].output
    assert root is not None
    assert root.kind == "CausalLMOutputWithPast"
    assert dict(root.items)["logits"].shape == (1, 5, 50)
    assert all(call.seconds >= 0 for call in run.calls)
    assert run.by_path["model"].seconds >= run.by_path["model.norm"].seconds


def test_of_experts_in_one_tensor_the_choices_are_counted() -> None:
    module, _, kwargs = build("qwen3_moe")
    chosen: list[torch.Tensor] = []
    gate = module.model.layers[1].mlp.gate
    handle = gate.register_forward_hook(lambda _m, _a, out: chosen.append(out[-1]))
    inspector = iv.Inspector(module)
    inspector.forward(**kwargs)
    handle.remove()
    routed = inspector.run.by_path["model.layers.1.mlp.experts"].routed
    assert list(routed) == torch.bincount(chosen[0].flatten(), minlength=8).tolist()
    assert sum(routed) == 10


def test_a_failure_is_told_with_its_place_and_no_hook_stays() -> None:
    module = Failing()
    inspector = iv.Inspector(module)
    with pytest.raises(iv.TraceError, match=r"failed in layers\.1: RuntimeError"):
        inspector.forward(torch.randn(2, 4))
    assert n_hooks(module) == 0
    assert inspector.run.failed_at == "layers.1"
    assert "layers.2" not in inspector.run.by_path
    nodes = {(n.scope, n.name): n for n in inspector.flow.nodes}
    assert nodes["layers.1", "matmul"].failed
    assert not nodes["layers.0", "add"].failed
    assert ("layers.1.fc", "matmul") in {(link.source, link.target) for link in inspector.flow.links}
    assert "layers.1" in inspector.visualize().html()
    module.layers[1].fails = False
    inspector.forward(torch.randn(2, 4))
    assert inspector.run.failed_at is None
    assert not any(n.failed for n in inspector.flow.nodes)


def test_an_error_that_the_code_catches_is_none() -> None:
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                return self.first(x)
            except RuntimeError:
                return self.second(x) * 2

    inspector = iv.Inspector(Careful())
    inspector.forward(torch.ones(2, 4))
    assert inspector.run.failed_at is None
    links = {(link.source, link.target) for link in inspector.flow.links}
    assert {("input", "second"), ("second", "mul"), ("mul", "output")} <= links


def test_hooks_see_replace_and_go_away() -> None:
    module, args, _ = build("sequential")
    inspector = iv.Inspector(module)
    shapes = []
    with inspector.hook() as hook:
        hook.pre("2", lambda module, input: shapes.append(input[0].shape))
        hook.post("0", lambda module, input, output: output * 0)
        found = inspector.forward(*args)
        hook.post("1", lambda module, input, output: 1 / 0)
        with pytest.raises(iv.TraceError, match="ZeroDivisionError"):
            inspector.forward(*args)
    assert shapes == [(2, 3, 8)]
    assert torch.equal(found, module[2].bias.expand_as(found))
    assert n_hooks(module) == 0
    with pytest.raises(iv.RequestError, match="inside its `with` block"):
        hook.pre("0", print)


def test_a_keyword_alone_is_the_input_of_a_hook() -> None:
    module, args, _ = build("named")
    inspector = iv.Inspector(module)
    with inspector.hook() as hook:
        hook.pre("part", lambda module, input: input[0] * 0)
        found = inspector.forward(*args)
    part = module.part
    assert torch.allclose(found.scores[0, 0], module.head(part.left.bias * part.right.bias))


def test_paths_are_found_or_the_nearest_is_named() -> None:
    module, _, _ = build("llama")
    inspector = iv.Inspector(module)
    assert inspector.node("model.layers.-1.mlp") is module.model.layers[2].mlp
    assert inspector.node("") is module
    with pytest.raises(iv.RequestError, match=r"The nearest: .*model\.layers\.\d\.mlp"):
        inspector.node("model.layers.0.mpl")
    with pytest.raises(iv.RequestError, match=r"expected a torch\.nn\.Module"):
        iv.Inspector("model")
    for before in (lambda: inspector.run, lambda: inspector.flow):
        with pytest.raises(iv.TraceError, match="there was none"):
            before()


def test_what_is_attached_is_measured_as_numpy_would() -> None:
    module, args, _ = build("sequential")
    kept = {}
    module[0].register_forward_hook(lambda _m, _a, out: kept.update(x=out.detach().numpy()))
    inspector = iv.Inspector(module)
    for statistic in ("summary", "size", "histogram", "matrix"):
        assert inspector.attach("0", statistic) == ("0",)
    inspector.forward(*args)
    found = {out.statistic: out for out in inspector.outputs}
    x = kept["x"]
    expected = [x.mean(), x.std(), x.min(), x.max(), (x == 0).mean(), 0]
    assert np.allclose(found["summary"].values, expected, rtol=1e-5)
    assert np.allclose(found["size"].values, np.linalg.norm(x, axis=-1), rtol=1e-5)
    counts, edges = np.histogram(x, 40)
    assert np.array_equal(found["histogram"].values, counts)
    assert np.allclose(found["histogram"].edges, edges)
    assert np.allclose(found["matrix"].values, x.mean(0, keepdims=True), rtol=1e-5)
    assert found["matrix"].axes == (2, 1, None)
    inspector.detach("0")
    inspector.forward(*args)
    assert inspector.outputs == ()


def test_a_matrix_has_the_dimensions_that_are_chosen() -> None:
    module, args, _ = build("sequential")
    inspector = iv.Inspector(module)
    inspector.attach("0", "matrix", "input", x=1, y=2, spread=0)
    inspector.forward(*args)
    (found,) = inspector.outputs
    assert np.allclose(found.values, args[0].numpy().transpose(0, 2, 1))
    inspector.attach("0", "matrix", "input", x=1, y=1)
    with pytest.raises(iv.RequestError, match="different dimensions"):
        inspector.forward(*args)


def test_attention_is_what_a_module_gives_beside_its_output() -> None:
    heads = nn.MultiheadAttention(8, 2, batch_first=True)
    inspector, x = iv.Inspector(heads), torch.randn(1, 5, 8)
    inspector.attach("", "attention")
    inspector.forward(x, x, x, average_attn_weights=False)
    (found,) = inspector.outputs
    assert np.allclose(found.values, heads(x, x, x, average_attn_weights=False)[1][0].detach().numpy(), atol=1e-6)
    assert (found.shape, found.axes) == ((1, 2, 5, 5), (3, 2, 1))
    with pytest.raises(iv.RequestError, match="gives its attention weights"):
        inspector.forward(x, x, x, need_weights=False)
    inspector.detach("")
    inspector.attach("", "tokens")
    with pytest.raises(iv.RequestError, match="open_model"):
        inspector.forward(x, x, x)


def test_a_list_stands_for_all_of_its_modules_and_the_numbers_follow_each_run() -> None:
    module, _, _ = build("llama")
    inspector = iv.Inspector(module)
    assert inspector.attach("model.layers", "size") == tuple(f"model.layers.{i}" for i in range(3))
    inspector.forward(IDS)
    first = [out.values for out in inspector.outputs]
    inspector.forward(IDS.flip(1))
    assert [out.path for out in inspector.outputs] == [f"model.layers.{i}" for i in range(3)]
    assert all(not np.allclose(a, out.values) for a, out in zip(first, inspector.outputs, strict=True))
    with pytest.raises(iv.RequestError, match="statistic"):
        inspector.attach("model", "median")


def test_a_text_goes_in_by_the_tokenizer() -> None:
    inspector = iv.Inspector(tiny.build_character_model("llama"), tiny.tokenizer())
    inspector.forward_text("ab c")
    assert inspector.run.tokens == ("<bos>", "a", "b", "␣", "c")
    assert inspector.run.text == "ab c"
    with pytest.raises(iv.RequestError, match="expected a tokenizer"):
        iv.Inspector(inspector.module).forward_text("ab")


def test_meta_models_of_ten_thousand_modules_are_read_and_run() -> None:
    with torch.device("meta"):
        module = nn.Sequential(
            *(nn.Sequential(nn.Linear(4, 4), *(nn.Identity() for _ in range(98))) for _ in range(100))
        )
    inspector = iv.Inspector(module)
    tree = inspector.tree()
    assert len(tree.nodes) == 1 + 100 + 9_900
    out = inspector.forward(torch.empty(2, 4, device="meta"))
    assert out.device.type == "meta"
    assert len(inspector.run.calls) == len(tree.nodes)
    # between children one less than there are, and input and output, in the whole and in each of the 100
    assert len(inspector.flow.links) == 101 + 100 * 100
    assert len(architecture_data(inspector.architecture)["tree"]["children"]) == 1


def test_a_model_of_a_config_runs_on_the_meta_device() -> None:
    with torch.device("meta"):
        module, _, _ = build("llama")
    inspector = iv.Inspector(module)
    inspector.attach("model.layers", "summary")
    inspector.forward(IDS.to("meta"))
    assert inspector.tree().node("model.norm").tensors[0].device == "meta"
    assert inspector.outputs == ()
    assert len(inspector.flow.scopes["model.layers.0"][1]) == 11


def test_an_offloaded_model_is_read_and_run_as_it_is() -> None:
    module, _, kwargs = build("llama")
    with torch.no_grad():
        plain = iv.Inspector(module)
        logits = plain.forward(**kwargs).logits
        cpu_offload(module)
        inspector = iv.Inspector(module)
        found = inspector.forward(**kwargs).logits
    assert torch.allclose(found, logits)
    assert inspector.tree().node("model.layers.0.mlp.up_proj").tensors[0].device == "offloaded"
    assert inspector.tree().root.n_parameters == plain.tree().root.n_parameters
    assert inspector.flow.links == plain.flow.links


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_quantised_layer_says_how() -> None:
    layer = nn.Linear(8, 8)
    quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {nn.Linear}, torch.qint8)
    tree = iv.Inspector(quantised).tree()
    assert "Linear" in tree.node("0").cls
    assert "qint8" in tree.node("0").built_with
