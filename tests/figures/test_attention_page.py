"""The attention page: weights as codes, packets as they are read back, pages that hold all heads or lead to them."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from intravisto_core.engine import Trace
from intravisto_core.figures import attention_page
from intravisto_core.figures.attention_page import INDEX, open_book, write_attention_pages
from intravisto_core.figures.web.attention_codes import CODES, DECADES, SMALLEST, UNKNOWN, encode_rises, encode_sizes
from intravisto_core.figures.web.attention_payload import (
    PageParts,
    attention_payload,
    count_compared,
    cube_packet,
    fits_cube,
    query_packet,
    rows_packet,
)
from intravisto_core.figures.web.attention_why_payload import times
from intravisto_core.records import HeadTargets
from intravisto_core.sites import SinkHandling
from tests.case import Case

KINDS = {"int16": "<i2", "uint8": "u1", "uint16": "<u2", "uint32": "<u4", "float32": "<f4"}


def unpack(packet: bytes) -> dict[str, Any]:
    """As the script reads a packet: the header's fields, and the arrays by name."""
    (size,) = struct.unpack("<I", packet[:4])
    header = json.loads(packet[4 : 4 + size])
    at, header["data"] = 4 + size, {}
    for array in header["arrays"]:
        at += -at % 4
        header["data"][array["name"]] = np.frombuffer(packet, KINDS[array["type"]], array["size"], at)
        at += header["data"][array["name"]].nbytes
    return header


def decode(codes: np.ndarray) -> np.ndarray:
    size = SMALLEST * 10.0 ** (DECADES * (np.abs(codes.astype(float)) - 1) / CODES)
    return np.where(codes == 0, 0, np.sign(codes) * size)


def read_rises(counts: np.ndarray, rises: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rows begin, and their keys, as the script reads them."""
    keys, at = [], 0
    for count in counts.tolist():
        key = 0
        for _ in range(count):
            shift, more = 0, True
            while more:
                byte, at = int(rises[at]), at + 1
                key, shift, more = key + ((byte & 127) << shift), shift + 7, byte > 127
            keys.append(key)
    return np.cumsum([0, *counts.tolist()]), np.array(keys, int)


@pytest.fixture(scope="module")
def trace(case: Callable[[str], Case]) -> Trace:
    return case("llama").engine.trace("abab cab ca")


def test_a_weight_comes_back_from_its_code_to_three_digits() -> None:
    values = np.array([0.0, 1.0, 0.5, 0.123456, 1e-6, 9e-7, -0.25, 42.0, 1000.0])
    back = decode(encode_sizes(values))
    assert list(back[[0, 5]]) == [0, 0]
    np.testing.assert_allclose(back[[1, 2, 3, 4, 6, 7]], values[[1, 2, 3, 4, 6, 7]], rtol=3e-4)
    assert back[8] == pytest.approx(100, rel=1e-3)
    assert encode_sizes(np.array([np.nan, 0.5]))[0] == UNKNOWN


@pytest.mark.parametrize("length", [1, 7, 300, 40_000])
def test_keys_come_back_from_their_rises(length: int) -> None:
    random = np.random.default_rng(length)
    rows = [np.unique(random.integers(0, length, n)) for n in (0, 3, 1, 0, 40, 0)]
    rows[4] = np.array([0, length - 1]) if length > 1 else rows[4]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    made = encode_rises(starts, np.concatenate(rows).astype(np.int32))
    assert made.dtype == np.uint8
    found_starts, found = read_rises(np.diff(starts), made)
    assert (found_starts == starts).all()
    assert (found == np.concatenate(rows)).all()
    assert len(encode_rises(np.zeros(3, int), np.zeros(0, np.int32))) == 0


def test_the_cube_holds_every_head_row_by_row(trace: Trace) -> None:
    found = trace.attention()
    cube = unpack(cube_packet(found, trace.engine.model.n_heads))
    n, length = len(found.heads), len(found.tokens)
    back = decode(cube["data"]["codes"]).reshape(n, -1)
    head, query, key = n - 1, 6, 2
    assert back[head, query * (query + 1) // 2 + key] == pytest.approx(float(found.weights[head, query, key]), rel=3e-4)
    assert back.shape[1] == length * (length + 1) // 2
    np.testing.assert_allclose(back[:, 1:3].sum(1), 1, rtol=1e-3)


def test_rows_say_what_sinks_have_although_they_hold_them(trace: Trace) -> None:
    shown = trace.sparse_attention(1, 0, least=0.05, mark_sinks=True)
    hidden = trace.sparse_attention(1, 0, least=0.05, sinks=SinkHandling.HIDE)
    rows = unpack(rows_packet("rows L1H0 weights", shown))
    assert rows["name"] == f"{trace.id} rows L1H0 weights"
    assert (rows["layer"], rows["whole"]) == (1, True)
    np.testing.assert_allclose(rows["data"]["hidden"], hidden.hidden, atol=1e-6)
    starts, keys = read_rises(rows["data"]["counts"], rows["data"]["rises"])
    at = slice(starts[4], starts[5])
    rest, of_sinks = decode(rows["data"]["rest"]), decode(rows["data"]["sinkRest"])
    np.testing.assert_allclose(decode(rows["data"]["codes"][at]).sum() + rest[4] + of_sinks[4], 1, rtol=1e-3)
    np.testing.assert_allclose(rest, hidden.rest, atol=1e-5)
    assert list(keys[at]) == list(shown.row(4)[0])


def test_one_query_in_all_heads_is_what_the_cube_says(trace: Trace) -> None:
    found = trace.attention(queries=[7])
    packet = unpack(query_packet(found))
    whole = trace.attention().weights[:, 7]
    starts, keys = read_rises(packet["data"]["counts"], packet["data"]["rises"])
    codes = packet["data"]["codes"]
    for head in range(len(whole)):
        at = slice(starts[head], starts[head + 1])
        np.testing.assert_allclose(decode(codes[at]), whole[head, keys[at]], rtol=3e-4)


def test_the_page_knows_prompt_sinks_and_kinds(trace: Trace) -> None:
    targets, sinks = trace.head_targets(), trace.sinks()
    page = unpack(attention_payload(targets, PageParts(sinks=sinks)))
    assert page["prompt"] == trace.prompt_length
    assert page["found"] == [list(p) for p in sinks.positions]
    assert page["coded"] == {"scores": 1000, "targets": 1}
    shares = decode(page["data"]["targets"]).reshape(targets.shares.shape)
    np.testing.assert_allclose(shares, targets.shares, rtol=3e-4, atol=1e-6)
    scores = 1000 * decode(page["data"]["scores"]).reshape(2, *shares.shape[:2])
    np.testing.assert_allclose(scores, [targets.entropy, targets.distance], rtol=3e-4)
    assert sum(page["data"][n].nbytes for n in ("scores", "targets")) == 18 * shares[..., 0].size
    assert "learned" not in page["data"], "a model without learned sinks has none drawn"


def test_a_comparison_goes_on_where_texts_are_equally_long_and_else_ends_at_the_first_other_token(trace: Trace) -> None:
    other = trace.engine.trace("abaa")
    common = count_compared(trace.tokens, other.tokens)
    assert 0 < common < len(other.tokens)
    assert trace.tokens[common].id != other.tokens[common].id
    parts = PageParts(before=other.head_targets(), sinks_before=other.sinks())
    page = unpack(attention_payload(trace.head_targets(), parts))
    assert (page["against"], page["common"], page["other"]) == (other.id, common, [])
    ids = [t.id for t in trace.tokens]
    swapped = trace.engine.trace((*ids[:2], ids[2] + 1, *ids[3:]))
    page = unpack(attention_payload(trace.head_targets(), PageParts(before=swapped.head_targets())))
    assert page["common"] == len(ids) == len(swapped.tokens)
    assert page["other"] == [[2, swapped.tokens[2].shown]]


def _open(trace: Trace) -> Any:
    return open_book(lambda view: trace.engine.view(view, session=trace.session), trace.id)


def test_a_short_text_is_one_file_that_asks_for_nothing(trace: Trace) -> None:
    ((name, page),) = write_attention_pages(_open(trace))
    assert name == INDEX
    assert not re.search(r'(src|href)="?https?:|@import|url\(http', page)


def test_a_large_page_is_an_index_and_a_file_for_every_eight_heads(
    trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_page, "fits_cube", lambda *_: False)
    ((name, _),) = write_attention_pages(_open(trace))
    assert name == INDEX, "a file that stays small holds all heads"
    monkeypatch.setattr(attention_page, "LARGEST_FILE", 1000)
    monkeypatch.setattr(attention_page, "CHUNK", 2)
    pages = dict(write_attention_pages(_open(trace)))
    card = trace.engine.model
    per_layer = -(-card.n_heads // 2)
    assert len(pages) == 1 + card.n_layers * per_layer
    assert "layer_00_heads_00-01.html" in pages


def test_the_cube_ends_where_it_would_be_large() -> None:
    assert fits_cube(30, 9, 100)
    assert not fits_cube(32, 32, 200)


@pytest.mark.parametrize(
    ("difference", "said"), [(0.0, "1 times"), (2.0, "7.4 times"), (12.1, "2·10⁵ times"), (-9.3, "9·10⁻⁵ times")]
)
def test_a_difference_of_scores_in_words(difference: float, said: str) -> None:
    assert times(difference) == said


def test_targets_name_their_kinds(trace: Trace) -> None:
    targets = trace.head_targets()
    assert isinstance(targets, HeadTargets)
    page = unpack(attention_payload(targets, PageParts()))
    assert [c["id"] for c in page["classes"]] == [str(c) for c in targets.classes]
