"""Every record: documented field by field, shown in one line, drawn in every form."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core import records
from intravisto_core.engine.trace_info import TraceInfo
from intravisto_core.records import Experts, Record
from tests.tiny import PROMPT

CLASSES = [thing for _, thing in inspect.getmembers(records, is_dataclass) if inspect.isclass(thing)]
LONG = 200


def undocumented(record: type) -> set[str]:
    """Fields that no line of text stands under."""
    (tree,) = (
        node
        for node in ast.parse(inspect.getsource(inspect.getmodule(record))).body
        if isinstance(node, ast.ClassDef) and node.name == record.__name__
    )
    missing = {f.name for f in fields(record)}
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        match node, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                if len(text.splitlines()) == 1 and text.strip().endswith((".", "…)")):
                    missing.discard(name)
    return missing


@pytest.mark.parametrize("record", [*CLASSES, TraceInfo], ids=lambda r: r.__name__)
def test_every_field_has_one_line_that_says_what_it_is(record: type) -> None:
    assert undocumented(record) == set()


@pytest.fixture(scope="module")
def made(case: Any) -> dict[str, Any]:
    """One of each kind, of a small run; by the name of its class."""
    engine, trace = case("llama").engine, case("llama").trace
    edited = trace.edit(iv.Ablate("attn_out", 1, "all"))
    grid = trace.heatmap(watch=["b"])
    experts = Experts(trace.id, 1, 4, np.full((3, 4), 0.25), np.array([[0, 1]] * 3), np.full((3, 2), 0.5))
    views = [
        iv.ActivationView(trace.id, "resid_post", 1),
        iv.PatternView(trace.id, 1, 0),
        iv.LogitsView(trace.id),
    ]
    found = [
        *(grid, grid.watch[0], grid.tokens[1], engine.model, next(iter(engine.model.capabilities.values())), experts),
        *(trace.shares(), trace.attention_sink(), trace.written("mlp", 1, 2), trace.cell_shares(1, 2)),
        *(trace.next_tokens(), trace.query("b"), trace.flow(), trace.disagreement(), trace.head_shares(2, 3)),
        *(trace.graph(), trace.route(), trace.attribution(), trace.compare(edited)),
        *(trace.check_links([iv.Link("mlp", 1, -1)]), engine.direction("it", ["ab", "ba"], ["c"])),
        *(engine.view(view) for view in views),
        *(engine.estimate(5), engine.describe(trace.id), iv.compare_models(engine, engine, PROMPT)),
    ]
    return {type(one).__name__: one for one in found}


NAMES = [c.__name__ for c in (*CLASSES, TraceInfo)]


@pytest.mark.parametrize("name", NAMES)
def test_a_repr_is_one_short_line(made: dict[str, Any], name: str) -> None:
    text = repr(made[name])
    assert text.startswith(f"{name}(")
    assert len(text) <= LONG
    assert len(text.splitlines()) == 1
    assert "array(" not in text
    assert text != f"{name}()", "it says something"


def test_a_repr_names_what_tells_one_from_another(made: dict[str, Any]) -> None:
    grid = made["DecodedGrid"]
    rows, positions = grid.p_max.shape
    assert repr(grid) == f"DecodedGrid({rows} rows × {positions} positions, block, output lens, {grid.model})"
    info = made["TraceInfo"]
    assert repr(info) == f"TraceInfo({info.id}, {len(info.tokens)} tokens, {info.prompt_length} of the prompt)"


def test_a_repr_stays_short_and_printable_whatever_a_name_is(made: dict[str, Any]) -> None:
    text = repr(replace(made["DecodedGrid"], model="a\nb\x1b[2J" + 300 * "c"))
    assert text.isprintable()
    assert "a b\ufffd[2J" in text
    assert len(text) <= LONG


@pytest.mark.parametrize("name", [c.__name__ for c in CLASSES if issubclass(c, Record)])
def test_every_record_is_drawn_in_every_form(made: dict[str, Any], name: str) -> None:
    record = made[name]
    assert record.figure().data
    assert len(record.frame()) > 0
    assert record.html().startswith("<!doctype html>")
    for kind in ("html", "csv", "json"):
        assert len(record.render(kind)) > 50
    with pytest.raises(iv.RequestError, match=rf"options of {name}\.figure: expected one of .*dark.*; got 'foo'"):
        record.figure(foo=1)
    with pytest.raises(iv.RequestError, match=rf"options of {name}\.html: expected one of .*; got 'foo'"):
        record.html(foo=1)
