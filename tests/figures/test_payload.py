"""What the browser's grid is given, read back byte by byte."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intravisto_core.errors import RequestError
from intravisto_core.figures.text import printable
from intravisto_core.figures.web import Mark, component_source, grid_payload, panel_data
from intravisto_core.figures.web.bundle import COMPONENTS
from intravisto_core.figures.web.payload import decimals
from intravisto_core.sites import Colour, Component, Lens, Reading, ShareMeasure
from tests.figures import made

TYPES = {"uint8": "u1", "uint16": "<u2", "uint32": "<u4", "float32": "<f4"}


def read(payload: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """The header and the arrays of a payload, as grid.js reads them."""
    (length,) = struct.unpack_from("<I", payload)
    header = json.loads(payload[4 : 4 + length].decode())
    at, arrays = 4 + length, {}
    for listed in header["arrays"]:
        at += -at % 4
        arrays[listed["name"]] = np.frombuffer(payload, TYPES[listed["type"]], listed["size"], at)
        at += arrays[listed["name"]].nbytes
    assert at + -at % 4 == len(payload)
    return header, arrays


def number(code: int) -> float:
    """A 16-bit decimal as grid.js reads it."""
    if code == 0xFFFF:
        return float("nan")
    size = float(f"{code & 1023}e{((code >> 10) & 31) - 22}")
    return -size if code & 0x8000 else size


def test_every_cell_comes_back_with_the_top_row_first() -> None:
    grid = made.grid()
    header, arrays = read(grid_payload(grid, rev="r1"))
    assert header["rev"] == "r1"
    assert [row["row"] for row in header["rows"]] == [5, 4, 3, 2, 1, 0]
    assert [row["label"] for row in header["rows"]][::5] == ["final norm", "embeddings"]
    n_rows, n_positions, _ = grid.token_ids.shape
    ids = arrays["ids"].reshape(n_rows, n_positions, header["listed"])
    for r in range(n_rows):
        for p in range(n_positions):
            texts = [header["vocabulary"][i] for i in ids[n_rows - 1 - r, p]]
            assert texts == [printable(made.shown(i)) for i in grid.token_ids[r, p, :5]]
    assert np.array_equal(arrays["value"].reshape(n_rows, n_positions)[::-1], grid.p_max)
    written = np.array([number(int(c)) for c in arrays["numbers"]]).reshape(ids.shape)[::-1]
    np.testing.assert_allclose(written, grid.probabilities[:, :, :5], rtol=0.00501)


def test_strange_texts_are_made_printable_and_stay_apart() -> None:
    header, _ = read(grid_payload(made.grid()))
    texts = header["vocabulary"] + [c["reads"] for c in header["columns"]]
    assert all(c >= " " and not "\x7f" <= c <= "\x9f" and not "\ud800" <= c <= "\udfff" for t in texts for c in t)
    assert {"<s>", "<br>", "%{y}", "$x$", "&lt;", "\u2400\u241b"} <= set(texts)


def test_blank_cells_have_no_token_and_their_reason() -> None:
    header, arrays = read(grid_payload(made.grid(component=Component.MLP)))
    ids = arrays["ids"].reshape(6, 24, -1)
    assert not ids[0].any()
    assert not ids[5].any()
    assert ids[1:5].all()
    assert header["vocabulary"][0] == ""
    assert header["rows"][0]["blank"] == "MLP is nothing at this row"
    assert np.isnan(arrays["value"].reshape(6, 24)[0]).all()


def test_columns_say_what_is_read_and_said_and_where_generation_begins() -> None:
    grid = made.grid(prompt_length=18)
    says = grid.says.copy()
    says[20] = grid.tokens[21].id
    header, _ = read(grid_payload(replace(grid, says=says)))
    assert header["firstGenerated"] == 18
    columns = header["columns"]
    assert columns[20]["made"]
    assert columns[20]["next"] == columns[21]["reads"]
    assert columns[0]["special"]
    assert columns[23]["next"] is None
    assert not columns[23]["made"]
    assert not any(c["made"] for c in columns[:17])


def test_colours() -> None:
    grid, shares = made.grid(), made.shares()
    assert read(grid_payload(grid, Colour.ENTROPY))[0]["scale"] == "entropy"
    assert read(grid_payload(grid, "entropy"))[0]["high"] == pytest.approx(np.log(made.D_VOCAB))
    assert read(grid_payload(grid, scale="viridis"))[0]["scale"] == "viridis"
    header, arrays = read(grid_payload(grid, Colour.ATTENTION, shares))
    values = arrays["value"].reshape(6, 24)
    assert header["scale"] == "attention"
    np.testing.assert_allclose(values[1:5], shares.attention[::-1], rtol=1e-6)
    assert np.isnan(values[[0, 5]]).all()
    assert "the stream after it (norm)" in header["shareOf"]["attention"]
    signed = read(grid_payload(grid, Colour.MLP, made.shares(measure=ShareMeasure.PROJECTION)))[0]
    assert signed["scale"] == "diverging"
    assert signed["low"] == -signed["high"]


def test_updates_are_coloured_by_the_change_of_logit_with_what_is_suppressed() -> None:
    grid = made.update()
    header, arrays = read(grid_payload(grid))
    assert header["listing"] == "logit"
    assert header["line"] == "change"
    assert header["scale"] == "attention"
    assert "entropy" not in arrays
    lowered = np.array([number(int(c)) for c in arrays["suppressed_numbers"]]).reshape(6, 24, 3)[::-1]
    np.testing.assert_allclose(lowered[1:5], grid.suppressed_logits[1:5, :, :3], rtol=0.00501)
    ids = arrays["suppressed_ids"].reshape(6, 24, 3)[::-1]
    texts = [header["vocabulary"][i] for i in ids[1, 0]]
    assert texts == [printable(made.shown(int(i))) for i in grid.suppressed_ids[1, 0, :3]]
    below = replace(grid, logits=-grid.logits)
    assert read(grid_payload(below))[0]["scale"] == "diverging"


def test_second_readings_and_the_winner() -> None:
    grid = made.grid()
    header, arrays = read(grid_payload(replace(grid, reading=Reading.ITERATIVE, coefficients=grid.logits)))
    assert (header["listing"], header["line"]) == ("coefficient", "tokens")
    np.testing.assert_allclose(arrays["value"].reshape(6, 24)[::-1], grid.logits[:, :, 0] / grid.norms, rtol=1e-6)
    written = np.array([number(int(c)) for c in arrays["numbers"]]).reshape(6, 24, 5)[::-1]
    np.testing.assert_allclose(written, grid.logits[:, :, :5], rtol=0.00501, atol=1e-20)
    won = np.where(grid.p_max > 0.5, "input", "output")
    arrays = read(grid_payload(replace(grid, lens=Lens.MAX, winner=won)))[1]
    assert np.array_equal(arrays["winner"].reshape(6, 24)[::-1] == 1, grid.p_max > 0.5)


@pytest.mark.parametrize(
    ("colour", "scale", "words"),
    [("attention", "component", "shares"), ("logit", "component", "stream"), ("p_max", "rainbow", "viridis")],
)
def test_what_cannot_be_drawn_is_refused(colour: str, scale: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        grid_payload(made.grid(), colour, scale=scale)


def test_shares_of_another_trace_are_refused() -> None:
    with pytest.raises(RequestError, match="4 layers"):
        grid_payload(made.grid(), "mlp", made.shares(n_layers=5))


def test_sizes() -> None:
    assert len(grid_payload(made.grid(32, 200, nasty=False))) < 300_000
    assert len(grid_payload(made.grid(78, 200, nasty=False))) < 550_000


def test_the_key_tells_contents_apart() -> None:
    grid = made.grid()
    found = (Mark(1, 2, "found"),)
    asked = [("p_max", "a", ()), ("p_max", "a", ()), ("p_max", "b", ()), ("entropy", "a", ()), ("p_max", "a", found)]
    keys = [read(grid_payload(grid, colour, rev=rev, marks=marks))[0]["key"] for colour, rev, marks in asked]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_decimals_keep_three_digits(value: float) -> None:
    back = number(int(decimals(np.array([value]))[0]))
    if abs(value) < 1e-20:
        assert abs(back) <= 1.1e-20
    elif abs(value) < 9.99e11:
        assert back == float(f"{value:.2e}")


def test_decimals_of_no_number() -> None:
    assert np.isnan(number(int(decimals(np.array([np.nan]))[0])))
    assert number(int(decimals(np.array([0.9996]))[0])) == 1.0


ROOTS = {
    "attention_packet": "attention",
    "heads_map": "heads",
    "flow_links": "lines",
    "flow_route": "route",
    "flow_graph": "ring",
    "layer_cards": "layer-cards",
    # it draws nothing of its own, and has the theme's style alone
    "architecture_now": "space",
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_is_one_script_with_one_default_export(name: str) -> None:
    script, style = component_source(name)
    lines = script.splitlines()
    assert sum(line.startswith("export default function") for line in lines) == 1
    assert not any(line.startswith(("import ", "export const", "export class", "export function")) for line in lines)
    assert "</script" not in script
    assert f".iv-{ROOTS.get(name, name)}" in style
    assert "http" not in script.replace("http://www.w3.org/2000/svg", "")


def test_an_unknown_component() -> None:
    with pytest.raises(RequestError, match="grid, saver, strip, flow"):
        component_source("sankey")


def test_panel_of_a_cell() -> None:
    grid, shares = made.grid(nasty=False), made.shares()
    attention = made.update(nasty=False)
    data = panel_data(
        grid, 3, 7, listed=4, pins={int(grid.token_ids[3, 7, 1]): "#abc"}, shares=shares, writes=[attention]
    )
    json.dumps(data, allow_nan=False)
    entries = data["lists"][0]["entries"]
    assert [e["id"] for e in entries] == grid.token_ids[3, 7, :4].tolist()
    assert [e["colour"] for e in entries].count("#abc") >= 1
    assert [j["parts"][1]["share"] for j in data["junctions"]] == [shares.attention[2, 7], shares.mlp[2, 7]]
    streams = [j["parts"][0]["share"] for j in data["junctions"]]
    assert streams == [shares.residual_attention[2, 7], shares.residual_mlp[2, 7]]
    assert data["writes"][0]["kind"] == "attention"
    whole = panel_data(grid, 3, 7, writes=[attention, replace(grid, component=Component.MLP)])["writes"]
    assert [w["name"] for w in whole] == ["attention promotes", "MLP reads as"]
    assert {"entropy", "KL from final"} <= {f["name"] for f in data["facts"]}


def test_panel_of_an_update_and_of_a_blank_cell() -> None:
    grid = made.update()
    data = panel_data(grid, 2, 3)
    assert [(part["kind"], part["down"]) for part in data["lists"]] == [("logit", False), ("logit", True)]
    assert [len(part["entries"]) for part in panel_data(grid, 2, 3, listed=4)["lists"]] == [2, 2]
    json.dumps(data, allow_nan=False)
    assert panel_data(grid, 0, 3)["reason"] == "attention is nothing at this row"
    with pytest.raises(RequestError, match="row and a position"):
        panel_data(grid, 99, 0)
