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
from intravisto_core.records import Experts, Record, Retest
from tests.dictionaries import make_arrays, write_sae
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
def made(case: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of each kind, of a small run; by the name of its class."""
    engine, trace = case("llama").engine, case("llama").trace
    edited = trace.edit(iv.Ablate("attn_out", 1, "all"))
    grid = trace.heatmap(watch=["b"])
    experts = Experts(trace.id, 1, 4, np.full((3, 4), 0.25), np.array([[0, 1]] * 3), np.full((3, 2), 0.5))
    views = [
        iv.ActivationView(trace.id, "resid_post", 1),
        iv.PatternView(trace.id, 1, 0),
        iv.LogitsView(trace.id),
        iv.GradientView(trace.id),
    ]
    kept = engine.trace("ab", modules="model.norm")
    modules = trace.architecture()
    trees = iv.compare_trees(engine, engine)
    evidence = trace.test(iv.Claim(iv.Ablate("z", 1, -1, head=0)), ["ab c", "ba c"])
    folder = write_sae(tmp_path_factory.mktemp("sae"), make_arrays(32, 8), engine.model.name, "blocks.1.hook_mlp_out")
    dictionary = engine.add_dictionary(folder)
    active = engine.active_texts(["ab c", "d"], 1, 3)
    features = [active, active.texts[0], dictionary, trace.layer(1).dictionaries[0], trace.feature(1, 2)]
    engine.remove_dictionary(dictionary.name)
    found = [
        *(grid, grid.watch[0], grid.tokens[1], engine.model, next(iter(engine.model.capabilities.values())), experts),
        *(trace.shares(), trace.sinks(), trace.written("mlp", 1, 2), trace.cell_shares(1, 2)),
        *(trace.next_tokens(), trace.query("b"), trace.flow(), trace.disagreement(), trace.head_shares(2, 3)),
        *(trace.graph(), trace.route(), trace.attribution(), trace.compare(edited)),
        *(trace.check_links([iv.Link("mlp", 1, -1)]), engine.direction("it", ["ab", "ba"], ["c"])),
        *(trace.explain(), trace.read_back(iv.Replace("resid_post", 1, [1], token="b"))),
        trace.saliency(method="occlusion"),
        engine.measure_test([PROMPT, "ab c d"]),
        engine.circuit(None, [(PROMPT, PROMPT.replace("d", "c"))], target="a", contrast="b"),
        *(evidence, Retest(trace.id, evidence.model, True, True, evidence, evidence)),
        *(trace.layer(1), trace.head(1, 2), trace.head(1, 2).promoted, trace.neuron(1, 3), trace.neurons(1)),
        *(trace.attention(1), trace.sparse_attention(1, 2), trace.head_targets(), trace.head_patterns(4)),
        *(trace.score(1, 2, 5, 3), trace.cut(1, 2, 5, 3, "L0H1")),
        *(engine.patching("ab", "ac", what="z"), engine.sweep("ab")),
        engine.patching(["ab", "ba"], ["ac", "bc"], what="z").prompts[0],
        *(engine.head_types(tokens=8, texts=1), engine.head_composition(1, 2)),
        *(engine.view(view) for view in views),
        *features,
        engine.decode(trace.activation("resid_post", 1)),
        records.BatchSummary(3, 1, np.ones((3, 5)), np.ones((3, 3, 4)), np.ones((3, 3)), "tiny"),
        kept.view(iv.ModuleView(kept, "model.norm")),
        *(
            modules,
            modules.tree,
            modules.tree.root,
            modules.tree.node("model.norm").tensors[0],
            modules.run,
            modules.flow,
        ),
        *(modules.run.calls[0], modules.run.calls[0].output, modules.flow.nodes[0], modules.flow.links[0]),
        *(modules.outputs[0], trees, trees.changes[0]),
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
    with pytest.raises(iv.RequestError, match=rf"options of {name}\.html: expected (one of .*|none); got 'foo'"):
        record.html(foo=1)
