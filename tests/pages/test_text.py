"""Words and numbers on the pages: literal text, units always there."""

from __future__ import annotations

import re

import pytest

from intravisto_ui.session import text
from tests.pages.conftest import App


@pytest.mark.parametrize(
    ("raw", "html"),
    [
        ("<br>", "&lt;br&gt;"),
        ("&lt;", "&amp;lt;"),
        ('"%{y}"', "&quot;%{y}&quot;"),
        ("a\x00b\x1b", "a␀b␛"),
        ("\ud800", "\ufffd"),
        ("a\nb", "a\nb"),
    ],
)
def test_escaped_text_shows_exactly_that_text(raw: str, html: str) -> None:
    assert text.escape_html(raw) == html


def test_a_token_keeps_its_space_and_loses_its_markup() -> None:
    assert text.token_html("␣<b>") == '<span class="tk"><span class="sp">␣</span>&lt;b&gt;</span>'


@pytest.mark.parametrize(
    ("n", "said"), [(950, "950"), (1_730_000, "1.73 M"), (7.1e9, "7.1 B"), (12_400, "12.4 k"), (999_700, "1 M")]
)
def test_count(n: float, said: str) -> None:
    assert text.short_count(n) == said


def test_labels_read_as_markdown_show_exactly_that_text() -> None:
    raw = r"*a* _b_ `c` [d](e) \* :red[f] $g$ <i> ~h~ # & |"
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text.escape_markdown(raw)) == raw
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_`\[\]$<>:~]", text.escape_markdown(raw))


def test_plural() -> None:
    assert (text.plural(1, "token"), text.plural(1200, "token")) == ("1 token", "1,200 tokens")


def test_an_error_that_quotes_markup_shows_it_as_text(app: App) -> None:
    app.type_model("/none/<img src=x>")
    assert "&lt;img src=x&gt;" in app.html()
    assert "<img" not in app.html()
