"""Plotly figures, tables and files of every kind of record."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from intravisto_core.errors import MissingProgramError, RequestError, TraceError
from intravisto_core.figures.page import inline_json
from intravisto_core.figures.text import plotly_text
from intravisto_core.records import Activation, Logits, Pattern, Record
from intravisto_core.sites import ShareMeasure, Site
from tests.figures import made, made_flow


def records() -> dict[str, Record]:
    draw = np.random.default_rng(1)
    scores = np.tril(draw.uniform(0, 1, (24, 24)))
    values = draw.normal(size=(24, 16)).astype(np.float32)
    return {
        "grid": made.grid(),
        "update": made.update(),
        "shares": made.shares(),
        "signed": made.shares(measure=ShareMeasure.PROJECTION),
        "pattern": Pattern("t", 1, 2, scores / scores.sum(1, keepdims=True), made.tokens(24, 24)),
        "activation": Activation("t", Site.RESID_POST, 1, None, values),
        "heads": Activation("t", Site.Q, 1, None, np.stack([values, values])),
        "logits": Logits("t", 3, draw.normal(size=500).astype(np.float32)),
    }


KINDS = list(records())


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_is_drawn_tabled_and_saved(kind: str, tmp_path: Path) -> None:
    record = records()[kind]
    assert record.figure(dark=True).data
    assert len(record.frame()) > 0
    for suffix in (".html", ".csv", ".json"):
        target = record.save(tmp_path / f"x{suffix}")
        assert target.stat().st_size > 100
    json.loads((tmp_path / "x.json").read_text("utf-8"), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert (tmp_path / "x.csv").read_bytes().startswith(b"\xef\xbb\xbf"), "so that spreadsheets know the encoding"
    table = pd.read_csv(tmp_path / "x.csv", keep_default_na=False)
    assert len(table) == len(record.frame())
    if getattr(record, "model", ""):
        assert set(table["model"]) == {record.model}, "a table says on each line whose numbers they are"


def test_words_and_data_of_a_page_are_no_markup() -> None:
    text = "</script><b>note</b>\x00"
    page = replace(made.grid(), notes=(text,), model=text).html(heading=text)
    assert page.count("&lt;/script&gt;&lt;b&gt;note&lt;/b&gt;␀") == 4, "title, heading, about, footer"
    assert "<b>" not in page
    assert page.count("</script") == page.count("<script") == 2
    assert json.loads(inline_json(text)) == text
    assert not set("<>") & set(inline_json(text))


def test_a_grid_comes_back_from_json(tmp_path: Path) -> None:
    grid = made.update()
    body = json.loads(grid.save(tmp_path / "x.json").read_text("utf-8"))
    assert body["kind"] == "DecodedGrid"
    back = np.array(body["logits"], dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(back, grid.logits)
    assert body["p_max"][0][0] is None
    assert body["norm"] == "stream"
    assert body["tokens"][1]["shown"] == "<br>"


def test_grid_frame_is_tidy() -> None:
    grid = made.update()
    table = grid.frame()
    assert {"row", "position", "k", "token_id", "token", "probability", "logit", "p_max", "entropy"} <= set(table)
    assert set(table["list"]) == {"top", "suppressed"}
    assert set(table["row"]) == {1, 2, 3, 4}
    line = table[(table["row"] == 2) & (table["position"] == 5) & (table["list"] == "top") & (table["k"] == 3)].iloc[0]
    assert line["token_id"] == grid.token_ids[2, 5, 2]
    assert line["logit"] == grid.logits[2, 5, 2]
    assert line["reads"] == grid.tokens[5].shown


@pytest.mark.parametrize("text", made.NASTY)
def test_plotly_shows_token_text_as_it_is(text: str) -> None:
    written = plotly_text(text)
    assert not re.search(r"[<>$]|%\{|&(?!(amp|lt|gt|#\d+);)", written)


def test_a_figure_has_no_markup_of_tokens() -> None:
    drawn = made.grid().figure().to_json()
    for bad in ("<s>", "$x$", "%{y}", "</script>"):
        assert bad not in drawn.replace("%{text}", "").replace("%{customdata}", "")


def test_unknown_suffix_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"\.html, \.csv, \.json, \.png, \.svg, \.pdf"):
        made.grid().save(tmp_path / "x.docx")
    with pytest.raises(RequestError, match="can be written"):
        made.grid().save(tmp_path / "none" / "x.csv")


@pytest.mark.parametrize(
    ("ask", "listed"),
    [
        (lambda record, path: record.figure(foo=1), "DecodedGrid.figure.*colour, .*clip; got 'foo'"),
        (lambda record, path: record.html(foo=1), "DecodedGrid.html.*colour, .*text_size; got 'foo'"),
        (lambda record, path: record.save(path / "x.html", foo=1), "DecodedGrid.html.*heading.*got 'foo'"),
        (lambda record, path: record.save(path / "x.svg", foo=1), "DecodedGrid.figure.*dark.*got 'foo'"),
        (lambda record, path: record.save(path / "x.csv", foo=1), "csv file.*none; got 'foo'"),
        (lambda record, path: record.render("json", foo=1), "json file.*none; got 'foo'"),
        (lambda record, path: record.render("docx"), "html, csv, json, png, svg, pdf; got 'docx'"),
        (lambda record, path: made_flow.flow().html(foo=1), "Flow.html.*labels, canvas, scale.*got 'foo'"),
        (lambda record, path: made.shares().html(foo=1), "Shares.html.*dark; got 'foo'"),
    ],
)
def test_an_option_that_there_is_not_is_refused_with_the_list(
    ask: Callable[[Record, Path], object], listed: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=listed):
        ask(made.grid(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["html", "csv", "json"])
def test_what_is_saved_is_what_is_rendered(kind: str, tmp_path: Path) -> None:
    grid = made.grid()
    options = {"colour": "entropy"} if kind == "html" else {}
    assert grid.save(tmp_path / f"x.{kind.upper()}", **options).read_bytes() == grid.render(kind, **options)


def test_a_table_with_the_models_own_numbers_names_the_model_too(case, tmp_path: Path) -> None:
    trace = case("llama").trace
    table = pd.read_csv(trace.next_tokens(n=3).save(tmp_path / "x.csv"))
    assert list(table["model_name"]) == [trace.engine.model.name] * 3
    assert table["model"].dtype.kind == "f"


def test_a_record_that_nothing_draws_says_so() -> None:
    class Other(Record):
        pass

    with pytest.raises(TraceError, match=r"Other.*no function has @draws"):
        Other().figure()


def test_without_chromium_the_error_names_it_and_offers_html(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kaleido = pytest.importorskip("kaleido")
    from kaleido.errors import ChromeNotFoundError

    def refuse(*_: object, **__: object) -> None:
        raise ChromeNotFoundError

    monkeypatch.setattr(kaleido, "calc_fig_sync", refuse)
    with pytest.raises(MissingProgramError, match=r"Chromium.*\.html"):
        made.grid().save(tmp_path / "x.png")


def test_without_kaleido_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(MissingProgramError, match="kaleido"):
        made.grid().save(tmp_path / "x.svg")


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium is not installed: no pictures by kaleido")
def test_pictures_are_drawn(tmp_path: Path) -> None:
    starts = {".png": b"\x89PNG", ".svg": b"<svg", ".pdf": b"%PDF"}
    for suffix, start in starts.items():
        assert made.grid().save(tmp_path / f"x{suffix}").read_bytes().startswith(start)
