"""A chat with a real model: what its template wrote is folded, its own system prompt named; one can unfold it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.browser.conftest import NARROW, WIDE, Visit, server, visit, windows  # noqa: F401  (fixtures)

OWN = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def test_the_tokens_say_what_the_template_wrote(real_engine: Any) -> None:
    trace = real_engine.trace("What is the capital of France?", max_new_tokens=60, chat=True)
    typed = "".join(t.text for t in trace.tokens[: trace.prompt_length] if not t.template)
    assert typed == "What is the capital of France?"
    assert "".join(t.text for t in trace.tokens if t.template == "system") == OWN
    assert not any(t.template for t in trace.tokens[trace.prompt_length :])
    trace.forget()


def test_a_chat_is_folded_and_unfolded(visit: Callable[..., Visit], real_model: Path) -> None:  # noqa: F811
    seen = visit().ready()
    page = seen.page
    seen.open_model(real_model)
    expect(page.locator(".headline .model")).to_contain_text("still")
    page.locator(".st-key-example").get_by_text("Question", exact=True).click()
    page.wait_for_selector(".status.done", timeout=120_000)
    seen.ready()
    expect(page.locator(".headline .model")).to_have_text(real_model.stem)
    fold = page.locator(".st-key-strip .iv-fold")
    expect(fold).to_have_count(2)
    expect(fold.first).to_have_text("⋯ 24")
    assert OWN in fold.first.get_attribute("title")
    expect(page.locator(".st-key-template_line")).to_contain_text(OWN)
    footer = page.locator(".iv-frame .iv-foot, .iv-frame").filter(has_text="rows ×").first
    expect(footer).to_contain_text("32 rows × 16 positions")
    assert page.locator('.st-key-strip .iv-chip[data-position="3"]').count() == 0
    page.get_by_role("link", name="Attention", exact=True).first.click()
    folded = page.locator(".iv-attention .iv-fold")
    for size, dark in ((WIDE, False), (NARROW, True)):
        seen.resize(size).wear(dark)
        expect(folded.first).to_have_text(re.compile("⋯ 24"))
        expect(page.locator('.iv-token[data-position="3"]')).to_be_hidden()
        expect(page.locator('.iv-token[data-position="27"]')).to_be_visible()
    page.get_by_role("link", name="Heatmap", exact=True).first.click()
    seen.ready()
    page.locator(".st-key-template_tokens label").first.click()
    expect(page.locator('.st-key-strip .iv-chip[data-position="3"]')).to_have_count(1)
    expect(fold).to_have_count(0)
    seen.idle()
    expect(footer).to_contain_text("32 rows × 45 positions")
    assert seen.said == []
    assert seen.outside == []
