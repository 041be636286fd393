"""The page of a layer in Chromium: rows and cards, keys, widths, both themes, a narrow window, a page by itself."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

import intravisto_core as iv
from tests import tiny
from tests.browser.conftest import NARROW, WIDE
from tests.dictionaries import make_arrays, write_sae

pytestmark = pytest.mark.browser


def open_layer(visit, **how):
    seen = visit(**how).ready()
    seen.page.get_by_role("link", name="Layer", exact=True).first.click()
    seen.page.wait_for_selector(".iv-layer-frame .iv-row")
    seen.page.wait_for_selector(".iv-one-card")
    return seen.idle()


def rows(seen, kind):
    return seen.page.locator(f'button.iv-row[data-row^="{kind}."]')


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)])
def test_the_layer_of_the_demo_model(visit, size, dark):
    seen = open_layer(visit, size=size, dark=dark)
    expect(rows(seen, "head")).to_have_count(4)
    expect(rows(seen, "neuron")).to_have_count(10)
    expect(seen.page.locator(".iv-row", has_text="342 others")).to_be_visible()
    expect(seen.page.locator(".iv-state")).to_have_count(3)
    overlap = seen.page.locator("button.iv-row").evaluate_all(
        """(rows) => rows.map((r) => r.getBoundingClientRect()).some((a, i, all) => all.slice(i + 1).some(
            (b) => a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1))"""
    )
    assert not overlap
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert seen.said == []
    assert seen.outside == []


def test_clicks_keys_and_widths(visit):
    seen = open_layer(visit)
    page = seen.page
    second = rows(seen, "head").nth(1)
    name = second.locator("b").inner_text()
    second.click()
    expect(second).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".iv-one-card h3").first).to_have_text(f"Head {name[1:]}")
    third = rows(seen, "neuron").nth(2)
    name = third.locator("b").inner_text()
    third.click()
    expect(page.locator(".iv-one-card h3").nth(1)).to_have_text(f"Neuron {name[1:]}")
    page.locator(".iv-layer-frame").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".iv-layers-now")).to_contain_text("layer 1:")
    page.locator(".iv-layer-bar").nth(4).click()
    expect(page.locator(".iv-layers-now")).to_contain_text("layer 4:")
    page.locator(".st-key-layer_width_box button", has_text=re.compile("^pull")).click()
    expect(page.locator(".iv-foot")).to_contain_text("pulls add up")
    page.locator(".iv-layer-frame").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".headline .where")).to_contain_text("position 10")
    assert seen.said == []


def test_a_layer_leads_to_an_edit_and_to_the_attention_page(visit):
    seen = open_layer(visit)
    seen.page.locator(".iv-do", has_text="Attention").click()
    seen.page.wait_for_selector(".iv-attention")
    seen = open_layer(visit)
    seen.page.locator(".iv-do", has_text="Ablate").first.click()
    expect(seen.page.locator(".page", has_text="Injection")).to_be_visible()


def trace_a_thousand_tokens(folder):
    config = tiny.CONFIGS["Llama"]()
    config.max_position_embeddings = 1024
    tiny.write(config, folder)
    return iv.open_model(folder).trace(tuple(5 + i % 20 for i in range(1000)))


@pytest.mark.parametrize("kind", ["llama", "gptj", "long"])
def test_a_page_by_itself(windows, family, case, tmp_path, kind):
    if kind == "long":
        trace = trace_a_thousand_tokens(tmp_path / "model")
    else:
        trace = family("GPT-J").trace if kind == "gptj" else case("llama").trace
    path = tmp_path / "layer.html"
    at = 999 if kind == "long" else 6
    iv.records.base.Record.save(trace.layer(1, at), path)
    page = windows.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector(".iv-layer-frame svg")
    assert page.get_by_text("parallel block").count() == (kind == "gptj")
    if kind == "long":
        expect(page.locator(".iv-source")).to_have_count(25)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        trace.engine.close()
    page.locator(".iv-width", has_text="pull").click()
    expect(page.locator(".iv-foot")).to_contain_text("pulls add up")
    page.locator("button.iv-row").first.click()
    expect(page.locator("button.iv-row").first).to_have_attribute("aria-pressed", "true")
    assert said == []
    page.close()


def test_features_of_a_dictionary(visit, tmp_path):
    engine = iv.open_model("demo")
    arrays = make_arrays(engine.model.d_model, 40)
    path = write_sae(tmp_path / "made", arrays, engine.model.name, "blocks.4.hook_resid_post")
    engine.close()
    seen = open_layer(visit, size=NARROW, dark=True)
    page = seen.page
    page.locator(".iv-layer-bar").nth(4).click()
    expect(page.locator(".iv-layers-now")).to_contain_text("layer 4:")
    page.locator(".st-key-layer_dictionaries button").first.click()
    page.locator(".st-key-layer_dictionaries_path input").fill(str(path))
    page.locator(".st-key-layer_dictionaries_path input").press("Tab")
    seen.idle()
    page.locator(".st-key-layer_dictionaries_add button").click()
    expect(page.locator("button.iv-feature")).to_have_count(10)
    page.keyboard.press("Escape")
    third = page.locator("button.iv-feature").nth(2)
    name = third.locator("b").inner_text()
    third.click()
    expect(third).to_have_attribute("aria-pressed", "true")
    card = page.locator(".iv-one-card").nth(2)
    expect(card.locator("h3")).to_have_text(f"Feature {name[1:]}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert seen.said == []
    card.locator(".iv-do", has_text="Ablate").click()
    expect(page.get_by_role("heading", name="What follows when something inside is changed?")).to_be_visible()
