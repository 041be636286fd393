"""The architecture's payload, and its page in Chromium, opened from a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

import intravisto_core as iv
from intravisto_core.figures.web.architecture_flow import label_of
from intravisto_core.figures.web.architecture_payload import architecture_data
from intravisto_core.records import FlowNode
from tests.inspection.models import build

Opener = Callable[..., Any]
# boxes that lie on each other, or outside of the one that holds them
FIND_WRONG = """() => {
  const wrong = [];
  const name = ({ box }) => box.name ?? box.label;
  const apart = (a, b) => a.x >= b.x + b.box.w || b.x >= a.x + a.box.w || a.y >= b.y + b.box.h || b.y >= a.y + a.box.h;
  const within = (a, box) => a.x > -0.5 && a.y >= 0 && a.x + a.box.w < box.w + 0.5 && a.y + a.box.h < box.h + 0.5;
  const walk = (box) => {
    const items = (box.items ?? []).filter((item) => !item.dummy);
    for (const a of items) {
      if (!within(a, box)) wrong.push([name(a), "outside"]);
      for (const b of items) if (a !== b && !apart(a, b)) wrong.push([name(a), name(b)]);
      walk(a.box);
    }
  };
  walk(document.querySelector('.iv-architecture').intravisto.box);
  return wrong;
}"""
SHOWN = "document.querySelector('.iv-architecture').intravisto"


@cache
def drawn(name: str) -> iv.Architecture:
    module, args, kwargs = build(name)
    inspector = iv.Inspector(module)
    try:
        with torch.no_grad():
            inspector.forward(*args, **kwargs)
    except iv.TraceError:
        assert name == "failing"
    return inspector.architecture


def find(node: dict[str, Any], path: str) -> dict[str, Any]:
    """A node of the payload, or the fold that holds the path's children."""
    if node.get("path") == path:
        return node
    for child in node.get("children", []):
        for each in child.get("body", [child]):
            if path.startswith(each["path"]):
                return find(each, path)
    raise KeyError(path)


def folds(node: dict[str, Any]) -> list[dict[str, Any]]:
    found = [child for child in node.get("children", []) if "repeat" in child]
    below = [each for child in node.get("children", []) for each in child.get("body", [child])]
    return found + [fold for each in below for fold in folds(each)]


def test_equal_layers_fold_and_the_table_holds_every_inner_path() -> None:
    found = drawn("llama")
    data = architecture_data(found)
    json.dumps(data, allow_nan=False)
    (fold,) = folds(data["tree"])
    assert (fold["repeat"], fold["period"], fold["names"]) == (3, 1, ["0", "1", "2"])
    (table,) = fold["table"]
    inside = {path.removeprefix("model.layers.1").removeprefix(".") for path in found.tree.by_path if ".1" in path}
    assert set(table) == inside
    assert found.run is not None
    for inner, row in table.items():
        calls = [found.run.by_path[f"model.layers.{i}.{inner}".rstrip(".")] for i in range(3)]
        assert row["us"] == [round(1e6 * call.seconds) for call in calls]
        orders = [row["order"]["first"] + i * row["order"]["step"] for i in range(3)]
        assert orders == [call.order for call in calls]


def test_links_to_folded_siblings_are_links_to_the_one_that_is_drawn() -> None:
    flow = find(architecture_data(drawn("llama"))["tree"], "model")["flow"]
    names = [node[0] for node in flow["nodes"]]
    links = {(names[a], names[b], kind) for a, b, kind in flow["links"]}
    assert links == {
        ("input", "model.embed_tokens", "m"),
        ("model.embed_tokens", "model.rotary_emb", "m"),
        ("model.embed_tokens", "model.layers.0", "m"),
        ("model.rotary_emb", "model.layers.0", "s"),
        ("model.layers.0", "model.norm", "m"),
        ("model.norm", "output", "m"),
    }


def test_what_differs_is_not_folded_and_a_period_is_found() -> None:
    class Layer(nn.Module):
        def __init__(self, skips: bool) -> None:
            super().__init__()
            self.fc, self.skips = nn.Linear(4, 4), skips

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.fc(x) if self.skips else self.fc(x)

    def shape(*skips: bool, run: bool = True) -> list[tuple[int, int]]:
        inspector = iv.Inspector(nn.Sequential(*(Layer(s) for s in skips)))
        if run:
            inspector.forward(torch.randn(2, 4))
        return [(f["repeat"], f["period"]) for f in folds(architecture_data(inspector.architecture)["tree"])]

    assert shape(True, True, True, True) == [(4, 1)]
    assert shape(True, True) == []
    # of one class and one size, but not of one flow
    assert shape(True, True, True, False) == [(3, 1)]
    assert shape(*[True, True, False] * 3) == [(3, 3)]
    assert shape(True, False, True, False, run=False) == [(4, 1)]


def test_only_numbered_siblings_fold() -> None:
    data = architecture_data(drawn("vit"))
    attention = find(data["tree"], "vit.layers.0.attention")
    assert [child["path"].rpartition(".")[2] for child in attention["children"]] == [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    ]


def test_payloads_of_large_models_are_small() -> None:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(4, 128)
            self.experts = nn.ModuleList(nn.Sequential(nn.Linear(4, 2), nn.GELU(), nn.Linear(2, 4)) for _ in range(128))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.zeros_like(x)
            for i in self.router(x).argmax(-1).unique().tolist():
                y = y + self.experts[i](x)
            return y

    inspector = iv.Inspector(nn.Sequential(*(Mixture() for _ in range(24))))
    with torch.no_grad():
        inspector.forward(torch.randn(5, 4))
    text = json.dumps(architecture_data(inspector.architecture), separators=(",", ":"))
    assert len(text) < 100_000
    layers, experts = folds(json.loads(text)["tree"])
    assert (layers["repeat"], experts["repeat"]) == (24, 128)


def test_signs_stand_for_operations() -> None:
    node = lambda name, *operations: FlowNode("", name, "operation", operations, 1)  # noqa: E731
    assert label_of(node("add_1", "add")) == "+"
    assert label_of(node("attention", "matmul", "softmax")) == "attention"
    assert label_of(node("mul add_2", "mul", "pow", "add")) == "× +"


@pytest.mark.browser
def test_outline_picture_and_detail_are_one(open_page: Opener) -> None:
    page = open_page(drawn("llama"))
    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator(".iv-module", has_text="lm_head").click()
    assert page.locator(".iv-detail h3").inner_text() == "lm_head"
    assert "shared with model.embed_tokens.weight" in page.locator(".iv-detail").inner_text()
    assert page.locator(".iv-node.iv-on").get_attribute("data-path") == "lm_head"
    page.locator('.iv-node[data-path="model.embed_tokens"] .iv-name').click()
    assert page.locator(".iv-detail h3").inner_text() == "model.embed_tokens"
    assert "1 × 5 × 16" in page.locator(".iv-detail").inner_text()
    assert page.locator(".iv-detail .iv-tokens").all_inner_texts() == ["5", "5"]


@pytest.mark.browser
def test_a_click_in_the_strip_chooses_the_layer_that_all_is_of(open_page: Opener) -> None:
    page = open_page(drawn("llama"))
    page.locator('.iv-line[data-k="2"] rect').nth(1).click()
    assert page.locator(".iv-detail h3").inner_text() == "model.layers.2"
    assert 'hook.post("model.layers.2", seen)' in page.locator(".iv-detail pre").inner_text()
    assert page.locator(".iv-line.iv-chosen").get_attribute("data-k") == "2"
    page.locator('.iv-node[data-path="model.layers.0.input_layernorm"] .iv-name').click()
    assert page.locator(".iv-detail h3").inner_text() == "model.layers.2.input_layernorm"
    call = drawn("llama").run.by_path["model.layers.2.input_layernorm"]
    assert f"call {call.order + 1} of" in page.locator(".iv-detail").inner_text()


@pytest.mark.browser
def test_what_is_measured_at_all_layers_stands_beside_them(open_page: Opener) -> None:
    module, args, kwargs = build("llama")
    inspector = iv.Inspector(module)
    inspector.attach("model.layers", "summary")
    for i in range(3):
        inspector.attach(f"model.layers.{i}.mlp", "histogram", "input")
    inspector.forward(*args, **kwargs)
    found = {(out.path, out.statistic): out.values for out in inspector.outputs}
    page = open_page(inspector.visualize())
    kinds = page.locator(".iv-choice button")
    assert kinds.all_inner_texts() == ["size of output", "time", "histogram of the input of mlp", "statistics of each"]
    kinds.nth(3).click()
    told = page.locator('.iv-line[data-k="1"] g title').all_text_contents()
    assert [text.split(": ")[1].split()[0] for text in told] == ["mean", "spread", "least", "largest", "zeros"]
    for text, value in zip(told[:4], found["model.layers.1", "summary"], strict=False):
        assert text.startswith("model.layers.1, statistics of each: ")
        assert float(text.split()[-1].replace("\u2212", "-")) == pytest.approx(float(value), rel=6e-3)
    kinds.nth(2).click()
    counts = [int(t.split(": ")[1]) for t in page.locator('.iv-line[data-k="2"] title').all_text_contents()]
    assert counts == found["model.layers.2.mlp", "histogram"].astype(int).tolist()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "path"), [("llama", "model.layers.2"), ("detector", "bbox_predictor.layers.1"), ("diffusion", "down")]
)
def test_the_code_that_hooks_a_module_runs(open_page: Opener, name: str, path: str) -> None:
    page = open_page(drawn(name))
    page.evaluate(f"{SHOWN}.go({json.dumps(path)})")
    code = page.locator(".iv-detail pre").inner_text()
    assert f'hook.post("{path}", seen)' in code
    inspector = iv.Inspector(build(name)[0])
    exec(
        code.replace("    ...  # output", "    shapes.append(output)  # output"),
        {"inspector": inspector, "shapes": (seen := [])},
    )
    assert len(seen) == 1


@pytest.mark.browser
def test_boxes_open_and_close_and_the_search_opens_the_way(open_page: Opener) -> None:
    page = open_page(drawn("llama"))
    box = page.locator('.iv-node[data-path="model.layers.0.mlp"]')
    inner = page.locator('.iv-node[data-path="model.layers.0.mlp.gate_proj"]')
    before = inner.count()
    box.locator(".iv-name").first.dblclick()
    assert inner.count() == 1 - before
    page.locator('.iv-node[data-path="model"] .iv-name').first.dblclick()
    assert box.count() == 0
    page.locator(".iv-search").fill("layers.1.self_attn.q")
    assert page.locator(".iv-hits button").all_text_contents() == ["model.layers.1.self_attn.q_projLinear"]
    page.locator(".iv-stage").focus()
    assert page.locator(".iv-hits").is_hidden()
    page.locator(".iv-search").focus()
    page.keyboard.press("Enter")
    assert page.locator(".iv-detail h3").inner_text() == "model.layers.1.self_attn.q_proj"
    page.locator(".iv-search").fill("model.layers.1.self_attn.q_proj")
    page.locator(".iv-hits button").first.click()
    assert page.locator(".iv-detail h3").inner_text() == "model.layers.1.self_attn.q_proj"
    assert page.locator(".iv-node.iv-on").get_attribute("data-path") == "model.layers.0.self_attn.q_proj"


@pytest.mark.browser
def test_keys_go_from_box_to_box_and_zoom(open_page: Opener) -> None:
    page = open_page(drawn("llama"))
    page.locator(".iv-stage").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".iv-detail h3").inner_text() == "model"
    page.keyboard.press("Enter")
    assert page.locator('.iv-node[data-path="model.norm"]').count() == 0
    outline = page.locator(".iv-module").count()
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")  # the whole has nothing to close
    assert page.locator(".iv-module").count() == outline
    before = page.evaluate(f"{SHOWN}.view.place.s")
    page.keyboard.press("+")
    assert page.evaluate(f"{SHOWN}.view.place.s") > before
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.className") == "iv-search"


@pytest.mark.browser
def test_a_failed_run_is_drawn_as_far_as_it_came(open_page: Opener) -> None:
    page = open_page(drawn("failing"))
    assert "failed in layers.1" in page.locator(".iv-options .iv-error").inner_text()
    assert page.locator('.iv-node.iv-failed[data-path="layers.1"]').count() == 1
    assert page.locator('.iv-node.iv-idle[data-path="layers.2"]').count() == 1


@pytest.mark.browser
@pytest.mark.parametrize("name", ["qwen3_moe", "resnet", "vit", "hidden", "named", "in_place", "twice"])
def test_no_two_boxes_lie_on_each_other_and_all_is_inside(open_page: Opener, name: str) -> None:
    page = open_page(drawn(name))
    page.evaluate(
        f"(() => {{ const p = {SHOWN}; for (const n of p.model.nodes) p.open.add(n.path); p.relayout(); }})()"
    )
    assert page.evaluate(FIND_WRONG) == []


@pytest.mark.browser
def test_names_are_text_and_the_picture_is_saved(open_page: Opener) -> None:
    inspector = iv.Inspector(nn.ModuleDict({"<b>x</b>": nn.Linear(2, 2), "&lt;": nn.ReLU()}), name="</script><i>")
    page = open_page(inspector.visualize())
    assert page.locator(".iv-picture .iv-name").all_text_contents() == ["<b>x</b>", "&lt;"]
    with page.expect_download() as got:
        page.locator(".iv-zoom button", has_text="SVG").click()
    text = got.value.path().read_text("utf-8")
    assert "&lt;b&gt;x" in text
    assert "var(" not in text


@pytest.mark.browser
def test_on_the_meta_device_no_time_is_told(open_page: Opener) -> None:
    with torch.device("meta"):
        module = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    inspector = iv.Inspector(module)
    inspector.forward(torch.empty(2, 4, device="meta"))
    page = open_page(inspector.visualize())
    page.locator('.iv-line[data-k="2"] rect').first.click()
    assert page.locator(".iv-detail h3").inner_text() == "2"
    assert "time" not in page.locator(".iv-detail").inner_text()
    assert page.locator("rect.iv-time").count() == 0
