"""`intravisto flow` and `intravisto attribute`, and the static pictures of the flow's records."""

from __future__ import annotations

import json

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.cli import flow as flow_command
from intravisto_core.cli import main
from intravisto_core.figures.attribution import attribution_data
from intravisto_core.figures.numbers import change
from intravisto_core.figures.sankey_places import _apart, sankey_places
from tests.tiny import PROMPT


@pytest.fixture
def llama(case, monkeypatch):
    engine = case("llama").engine
    monkeypatch.setattr(flow_command, "open_engine", lambda _: engine)
    return engine


FLOWS = [
    ([], {}),
    (["--position", "4", "--row", "2"], {"position": 4, "row": 2}),
    (["--position", "generated", "--max-new-tokens", "3"], {"position": "generated"}),
    (["--measure", "l1", "--attention", "projection"], {"measure": "l1", "attention": "projection"}),
    (["--rows", "1:3", "--attention-links", "2"], {"rows": iv.Span(1, 3), "top_k": 2}),
    (["--min-weight", "0.2", "--min-mass", "0.01"], {"min_weight": 0.2, "min_mass": 0.01}),
    (["--sinks", "renormalise"], {"sinks": "renormalise"}),
]


@pytest.mark.parametrize(("words", "options"), FLOWS, ids=[" ".join(words) or "plain" for words, _ in FLOWS])
def test_flow_asks_what_the_library_is_asked(llama, capsys, tmp_path, words, options):
    file, new = tmp_path / "x.json", 3 if "--max-new-tokens" in words else 0
    assert main(["flow", PROMPT, *words, "--out", str(file)]) == 0
    assert str(file) in capsys.readouterr().out
    wanted = llama.trace(PROMPT, max_new_tokens=new).flow(**options).save(tmp_path / "y.json")
    told, asked = (json.loads(p.read_text("utf-8")) for p in (file, wanted))
    assert told.pop("trace") != asked.pop("trace")
    assert told == asked


def test_flow_tells_the_sources_and_writes_a_page_that_works_offline(llama, capsys, tmp_path):
    assert main(["flow", PROMPT]) == 0
    out = capsys.readouterr().out
    flow = llama.trace(PROMPT).flow()
    best = flow.nodes[(flow.nodes["row"] == 0) & (flow.nodes["kind"] == "block")].nlargest(1, "mass").iloc[0]
    lines = [line.split() for line in out.splitlines() if "%" in line][1:]
    assert int(lines[0][2]) == best["position"]
    assert float(lines[0][0]) == pytest.approx(100 * best["mass"], abs=0.1)
    page = tmp_path / "x.html"
    assert main(["flow", PROMPT, "--out", str(page)]) == 0
    html = page.read_text("utf-8")
    assert html.startswith("<!doctype html>")
    for outside in ('src="http', 'href="http', 'import("http', "@import"):
        assert outside not in html


def test_attribute_tells_the_parts(llama, capsys, tmp_path):
    assert main(["attribute", PROMPT, "--target", "c", "--contrast", "d", "--by", "heads", "--layer", "1"]) == 0
    out = capsys.readouterr().out
    found = llama.trace(PROMPT).attribution("c", "d", by="heads", layer=1)
    assert "lead of c over d (logits)" in out
    assert f"{found.logit:+.3g}".replace("-", "−") in out
    assert "layer 1, head 3" in out
    assert "remainder" in out
    assert main(["attribute", PROMPT, "--by", "heads", "--layer", "-1"]) == 0
    out = capsys.readouterr().out
    assert "layer 2, head 0" in out
    assert "2 attentions that are not cut into heads" in out
    assert main(["attribute", PROMPT, "--by", "heads"]) == 0
    heads = [line.split() for line in capsys.readouterr().out.splitlines() if ", head " in line]
    sizes = [abs(float(words[0].replace("−", "-"))) for words in heads]
    assert len(sizes) == 12
    assert sizes == sorted(sizes, reverse=True), "the heads of all layers in one list, the largest first"
    assert main(["attribute", PROMPT, "--n", "4", "--by", "neurons", "--out", str(tmp_path / "x.csv")]) == 0
    table = (tmp_path / "x.csv").read_text("utf-8-sig")
    assert table.count(", neuron ") == 4
    assert main(["attribute", PROMPT, "--target", "c", "--contrast", "c"]) == 2
    assert "same" in capsys.readouterr().err


def test_attribution_and_route_are_pages_of_our_own(llama, capsys, tmp_path):
    page = tmp_path / "x.html"
    assert main(["attribute", PROMPT, "--target", "c", "--out", str(page)]) == 0
    trace = llama.trace(PROMPT, max_new_tokens=2)
    route = trace.route().save(tmp_path / "y.html")
    for file, place in ((page, "attribution"), (route, "flow_route")):
        html = file.read_text("utf-8")
        assert f'<div id="{place}"></div>' in html
        assert "lotly" not in html
        assert len(html) < 100_000
        for outside in ('src="http', 'href="http', 'import("http', "@import"):
            assert outside not in html
        assert "<bos>" not in html
    found = trace.attribution("c", by="neurons", n=None)
    data = attribution_data(found, most=50)
    (table,) = data["tables"]
    assert len(table["lines"]) == 50 + 2 < len(found.value)
    kept = [line["size"] * np.abs(found.value).max() for line in table["lines"]]
    assert sum(kept) == pytest.approx(found.logit, abs=1e-4)
    assert [s["value"] for s in data["sums"]][2] == change(found.logit)
    sizes = [abs(line["size"]) for line in attribution_data(found, "size")["tables"][0]["lines"][:-1]]
    assert sizes == sorted(sizes, reverse=True)


def test_what_stands_in_one_column_does_not_overlap():
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 30):
        height, wanted = rng.random(n), rng.random(n)
        height *= 0.8 / height.sum()
        y = _apart(wanted, height, pad=0.1 / n)
        order = np.argsort(y)
        assert (np.diff(y[order]) >= (height[order][1:] + height[order][:-1]) / 2 + 0.1 / n - 1e-12).all()
        assert (y - height / 2 >= -1e-12).all()
        assert (y + height / 2 <= 1 + 1e-12).all()
        np.testing.assert_array_equal(np.argsort(wanted), order)


def test_nodes_of_a_sankey_stand_at_their_row(case):
    flow = case("gpt2").trace.flow(position="generated", sinks="hide", min_mass=1e-3, details=False)
    x, y = sankey_places(flow, 0.004)
    assert ((x > 0) & (x < 1) & (y > 0) & (y < 1)).all()
    blocks = flow.node_kind == "block"
    by_row = [np.unique(x[blocks & (flow.node_row == r)]) for r in np.unique(flow.node_row[blocks])]
    assert all(len(places) == 1 for places in by_row)
    assert (np.diff(np.concatenate(by_row)) > 0).all()


def test_token_text_in_figures_is_literal(case):
    trace = case("llama").trace
    records = (trace.flow(min_mass=1e-3), trace.route(), trace.graph(threshold=0.0), trace.head_shares(2, 5))
    for record in records:
        text = record.figure().to_json()
        assert "<bos>" not in text.replace("\\u003c", "<").replace("\\u003e", ">")
        assert "&lt;bos&gt;" in text.replace("\\u0026", "&")


def test_negative_links_have_a_colour_of_their_own(case):
    flow = case("gpt2").trace.flow(measure="projection", attention="projection", min_mass=1e-3)
    sankey = flow.figure().data[0]
    colours = np.array(sankey.link.color)
    negative = flow.link_mass < 0
    assert negative.any()
    assert set(colours[negative]).isdisjoint(colours[~negative])
    assert (np.array(sankey.link.value) > 0).all()
