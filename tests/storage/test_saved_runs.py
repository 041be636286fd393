"""Runs that are saved and opened again: the same answers without the model, and refusals that help."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import intravisto_core as iv
from intravisto_core.engine.saving import NAMED_VIEWS
from intravisto_core.storage import SCHEMA
from intravisto_core.storage.narrow import narrow, widen

ROOT = Path(__file__).parents[2]
PROMPT = "Q: What is the capital of Italy? A:"


@pytest.fixture(scope="module")
def trace(demo):
    found = demo.trace(PROMPT, max_new_tokens=4)
    found.pin()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def saved(trace, folder):
    path = trace.save(folder / "whole.intravisto", list(NAMED_VIEWS), activations=["resid_post", "q", "k"])
    return iv.open_trace(path)


def same(one, other) -> None:
    """Two records are equal, field by field, arrays bit by bit."""
    assert type(one) is type(other)
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.shape == b.shape, field.name
            texts = "OTU"  # of texts the kind of array is free
            assert a.dtype.kind == b.dtype.kind or {a.dtype.kind, b.dtype.kind} <= set(texts), field.name
            np.testing.assert_array_equal(a, b, err_msg=field.name)
        elif dataclasses.is_dataclass(a):
            same(a, b)
        elif isinstance(a, tuple) and a and dataclasses.is_dataclass(a[0]) and not isinstance(a[0], iv.Token):
            assert len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                same(x, y)
        elif not (isinstance(a, float) and np.isnan(a) and np.isnan(b)):
            assert a == b, field.name


@pytest.mark.parametrize("name", list(NAMED_VIEWS))
def test_every_named_view_comes_back_as_it_was(trace, saved, name):
    view = NAMED_VIEWS[name](trace.id)
    same(saved.view(view), trace.view(view))


def test_engines_print_as_one_line(demo, saved):
    assert repr(demo) == "LocalEngine(demo, float32 on cpu)"
    assert repr(saved.engine) == "SavedEngine('whole.intravisto', demo)"


def test_the_description_comes_back(trace, saved):
    assert (saved.id, saved.fingerprint, saved.text, saved.request) == (
        trace.id,
        trace.fingerprint,
        trace.text,
        trace.request,
    )
    assert saved.tokens == trace.tokens
    assert saved.engine.model == trace.engine.model
    assert saved.engine.identity == trace.engine.identity
    assert (saved.baseline, saved.mode, saved.cancelled, saved.notes) == (None, None, False, trace.notes)


def test_activations_come_back_in_their_bits(trace, saved):
    for layer in (0, -1 % 6):
        np.testing.assert_array_equal(saved.activation("resid_post", layer), trace.activation("resid_post", layer))
    for asked in ({"head": 3}, {"head": -1, "step": 0}, {"step": 2}):
        view = iv.ActivationView(trace.id, "q", -2, **asked)
        same(saved.view(view), trace.view(view))
    with pytest.raises(iv.TraceError, match="ActivationView"):
        saved.activation("v", 2)
    for wrong in ({"head": 0}, {"step": 5}, {"layer": 6}):
        refusals = []
        for each in (saved, trace):
            with pytest.raises(iv.RequestError) as told:
                each.activation(**{"site": "resid_post", "layer": 2, **wrong})
            refusals.append(str(told.value))
        assert refusals[0] == refusals[1]


def test_what_modules_gave_comes_back(demo, folder):
    paths = ("model.layers.-1.mlp", "model.layers.2.self_attn", "model.norm:input")
    trace = demo.trace("1 2 3", max_new_tokens=2, modules=paths)
    saved = iv.open_trace(trace.save(folder / "modules.intravisto", ["logits", "modules"]))
    for path in (*paths, "model.layers.5.mlp"):
        view = iv.ModuleView(trace.id, path)
        one, other = saved.view(view), trace.view(view)
        assert (one.path, one.what) == (other.path, other.what)
        for (place, a), (where, b) in zip(one.arrays(), other.arrays(), strict=True):
            assert place == where
            np.testing.assert_array_equal(a, b)
    with pytest.raises(iv.NotSavedError, match="modules"):
        saved.module("model.layers.1.mlp")


rows = st.one_of(st.none(), st.lists(st.integers(-8, 7), min_size=1, max_size=5))
places = st.one_of(
    st.none(), st.lists(st.integers(-12, 11), min_size=1, max_size=5), st.builds(iv.Span, st.just(1), st.integers(2, 9))
)


choose, position = st.sampled_from, st.integers(-12, 11)
layer, head = st.integers(-6, 5), st.integers(-4, 3)
VIEWS = st.one_of(
    st.builds(
        iv.HeatmapView,
        st.just(""),
        choose(["block", "mlp", "attention"]),
        choose(["output", "linear"]),
        rows=rows,
        positions=places,
        watch=choose([(), (" Rome",)]),
    ),
    st.builds(iv.SharesView, st.just(""), choose(["norm", "l1"])),
    st.builds(iv.FlowView, st.just(""), position=position, sinks=choose(["show", "hide"])),
    st.builds(iv.GraphView, st.just(""), position=position, threshold=choose([0.04, 0.1])),
    st.builds(iv.AttributionView, st.just(""), position=position, by=choose(["components", "heads", "neurons"])),
    st.builds(iv.LogitsView, st.just(""), position, choose([None, 3, -2])),
    st.builds(iv.NextTokensView, st.just(""), position, n=st.integers(1, 9)),
    st.builds(iv.PatternView, st.just(""), layer, head),
    st.builds(iv.AttentionView, st.just(""), layer, head),
    st.builds(iv.HeadView, st.just(""), layer, head, position),
    st.builds(iv.NeuronView, st.just(""), layer, st.integers(0, 99), position=position),
    st.builds(iv.CellSharesView, st.just(""), st.integers(1, 6), position),
    st.builds(iv.SaliencyView, st.just(""), target=choose([None, " Rome"])),
)


@given(views=st.lists(VIEWS, min_size=1, max_size=3))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_views_make_the_round_trip(trace, folder, views):
    opened = iv.open_trace(trace.save(folder / "any.intravisto", views))
    for view in views:
        asked = dataclasses.replace(view, trace=trace.id)
        same(opened.view(asked), trace.view(asked))


@given(rows=rows, positions=places, top_k=st.integers(1, 32))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stored_heatmap_answers_every_slice(trace, saved, rows, positions, top_k):
    asked = {"rows": rows, "positions": positions, "top_k": top_k}
    one, other = saved.heatmap(**asked), trace.heatmap(**asked)
    texts = dict(other.shown)
    assert all(one.shown[i] == text for i, text in texts.items())
    same(dataclasses.replace(one, shown=texts), other)


@pytest.mark.parametrize(
    "options", [{"component": "attention"}, {"lens": "linear", "norm": "norm_only"}, {"reading": "iterative"}]
)
def test_other_grids_are_sliced_too(trace, folder, options):
    view = iv.HeatmapView(trace.id, top_k=32, watch=(" Rome", " Paris"), **options)
    opened = iv.open_trace(trace.save(folder / "other.intravisto", view))
    asked = options | {"rows": [2, 1], "positions": [3, -1], "top_k": 2, "watch": [" Paris"]}
    one, other = opened.heatmap(**asked), trace.heatmap(**asked)
    same(dataclasses.replace(one, shown=other.shown), other)
    with pytest.raises(iv.TraceError, match="HeatmapView"):
        opened.heatmap(**options, watch=[" Berlin"])


def test_a_stored_heatmap_answers_what_comes_next(trace, folder):
    opened = iv.open_trace(trace.save(folder / "next.intravisto", "heatmap"))
    for position in (-1, 4):
        one, other = opened.next_tokens(position, n=5), trace.next_tokens(position, n=5)
        assert one.shown == other.shown
        np.testing.assert_array_equal(one.token_ids, other.token_ids)
        np.testing.assert_allclose(one.model, other.model, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(one.sampled, other.sampled, rtol=1e-4, atol=1e-7)
        assert one.n_left == other.n_left
    for refused in ({"n": 33}, {"temperature": 2.0}):
        with pytest.raises(iv.NotSavedError):
            opened.next_tokens(4, **refused)


def test_an_edit_brings_its_baseline(trace, folder):
    edited = trace.edit(iv.Ablate(site="attn_out", layer=2, positions="all"))
    compared = iv.CompareView(trace.id, edited.id)
    opened = iv.open_trace(edited.save(folder / "edit.intravisto", ["heatmap", "flow", compared]))
    assert opened.interventions == edited.interventions
    same(opened.heatmap(top_k=32), edited.heatmap(top_k=32))
    same(opened.baseline.flow(), trace.flow())
    same(opened.baseline.compare(opened), trace.compare(edited))


def test_places_may_be_counted_from_either_end(trace, folder):
    views = [iv.LogitsView(trace.id, -2, -3), iv.PatternView(trace.id, 5, 3), iv.HeadView(trace.id, -1, -2, 3)]
    saved = iv.open_trace(trace.save(folder / "places.intravisto", views))
    length = len(trace.tokens)
    others = [iv.LogitsView(trace.id, length - 2, 5), iv.PatternView(trace.id, -1, -1), iv.HeadView(trace.id, 5, 2, 3)]
    for view, other in zip(views, others, strict=True):
        same(saved.view(other), trace.view(view))


def test_directions_travel_in_the_file(trace, folder):
    direction = iv.TensorRef.of(np.arange(trace.engine.model.d_model), "mine")
    edited = trace.edit(iv.Steer(site="resid_post", layer=1, positions="all", direction=direction, strength=0.5))
    opened = iv.open_trace(edited.save(folder / "steer.intravisto", "logits"))
    np.testing.assert_array_equal(opened.interventions[0].direction.content, direction.content)


def test_the_model_at_hand_answers_the_rest(demo, trace, saved, folder, tiny_llama):
    path = trace.save(folder / "again.intravisto", "logits")
    again = iv.open_trace(path, engine=demo)
    same(again.heatmap(lens="linear"), dataclasses.replace(trace.heatmap(lens="linear"), trace=again.id))
    other = iv.open_model(str(tiny_llama))
    with pytest.raises(iv.TraceError, match="weights differ"):
        iv.open_trace(path, engine=other)
    other.close()


def test_a_run_that_hooks_changed_opens_from_its_file_alone(demo, folder):
    with demo.hook() as hook:
        hook.post("model.layers.2.mlp", lambda module, given, out: out * 0.0)
        changed = demo.trace("1 2 3")
    path = changed.save(folder / "hooked.intravisto", "logits")
    saved = iv.open_trace(path)
    np.testing.assert_array_equal(saved.logits(), changed.logits())
    assert saved.notes == ("This run is not the model's own: hooks changed it at model.layers.2.mlp.",)
    with pytest.raises(iv.TraceError, match=r"can be made again; hooks changed it at model\.layers\.2\.mlp"):
        iv.open_trace(path, engine=demo)


def test_what_needs_the_model_is_refused_with_what_would_help(saved):
    engine = saved.engine
    attempts = (
        lambda: engine.tokenize("a"),
        lambda: engine.estimate(3),
        lambda: engine.trace("a"),
        lambda: engine.direction("x", ["a"]),
        lambda: engine.traces(["a", "b"]),
        lambda: engine.decode(np.ones(engine.model.d_model)),
        lambda: engine.apply("lm_head", np.ones(engine.model.d_model)),
        lambda: engine.hook(),
        lambda: saved.gradient(),
        lambda: saved.edit(iv.Ablate(site="attn_out", layer=0)),
        lambda: saved.written("mlp", 1, 1),
        lambda: engine.find("another"),
        lambda: engine.view(None),
    )
    for attempt in attempts:
        with pytest.raises(iv.IntravistoError):
            attempt()
    for attempt in attempts[2:8]:
        with pytest.raises(iv.NotSavedError, match="open_trace\\(path, engine=engine\\)"):
            attempt()
    with pytest.raises(iv.TraceError, match=r"UpdateView.*holds.*HeatmapView"):
        saved.written("mlp", 1, 1)
    saved.pin(), saved.unpin(), saved.forget(), engine.close()
    assert not engine.busy
    assert engine.expected_seconds(3) is None


def test_what_cannot_be_saved_is_said_before_anything_is_written(trace, folder):
    wrong = (
        ("x.json", {}),
        ("no/such/x.intravisto", {}),
        ("x.intravisto", {"views": "heatmaps"}),
        ("x.intravisto", {"views": [3]}),
        ("x.intravisto", {"activations": "pattern"}),
        ("x.intravisto", {"activations": ["nothing"]}),
    )
    for name, options in wrong:
        with pytest.raises(iv.RequestError):
            trace.save(folder / name, **options)
    assert not (folder / "x.intravisto").exists()


def test_sixteen_bits_are_kept_exactly():
    values = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    short = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert narrow(short, "bfloat16").dtype == np.uint16
    np.testing.assert_array_equal(widen(narrow(short, "bfloat16")), short)
    half = values.astype(np.float16).astype(np.float32)
    assert narrow(half, "float16").dtype == np.float16
    np.testing.assert_array_equal(widen(narrow(half, "float16")), half)
    # what does not fit sixteen bits stays whole
    np.testing.assert_array_equal(widen(narrow(values, "bfloat16")), values)
    np.testing.assert_array_equal(widen(narrow(values, "float16")), values)


WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "accelerate", "streamlit"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import intravisto_core as iv
trace = iv.open_trace(sys.argv[1])
grid = trace.heatmap(rows=[0, 3], top_k=2)
print(trace.text, grid.token_ids.shape, len(trace.flow().html()) > 1000, len(grid.html()) > 1000)
"""


def test_it_opens_without_torch_and_transformers(trace, saved, folder):
    run = [sys.executable, "-c", WITHOUT_TORCH, str(folder / "whole.intravisto")]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == f"{trace.text} (2, {len(trace.tokens)}, 2) True True", done.stderr[-2000:]


SAVING = """
import sys, intravisto_core as iv
trace = iv.open_model("demo").trace("Q: What is the capital of Italy? A:", max_new_tokens=2)
print("ready", flush=True)
while True:
    trace.save(sys.argv[1], activations=["resid_post", "act"])
    print("saved", flush=True)
"""


def test_kill_9_while_saving_leaves_a_whole_file(folder):
    path = folder / "killed.intravisto"
    process = subprocess.Popen(
        [sys.executable, "-c", SAVING, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "saved":
            break
    time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert iv.open_trace(path).text.startswith("Q: What is the capital of Italy?")


GOLDEN = sorted((Path(__file__).parent / "golden").glob("schema*.intravisto"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_files_of_every_schema_still_open(path, demo):
    """One file a schema, written when that schema was the newest; a new schema brings a migration and a file."""
    opened = iv.open_trace(path)
    live = demo.trace("1 2 3", max_new_tokens=2)
    assert [t.id for t in opened.tokens] == [t.id for t in live.tokens]
    np.testing.assert_array_equal(opened.heatmap(top_k=1).token_ids, live.heatmap(top_k=1).token_ids)
    np.testing.assert_allclose(opened.activation("resid_post", 3), live.activation("resid_post", 3), atol=1e-4)
    assert len(opened.flow().html()) > 1000
    assert opened.explain(tests=False).sentence == live.explain(tests=False).sentence
    for ask in ("shares", "graph", "route", "attribution", "sinks"):
        assert len(getattr(opened, ask)().frame()) == len(getattr(live, ask)().frame())


def test_there_is_a_file_of_every_schema():
    assert [path.stem for path in GOLDEN] == [f"schema{n}" for n in range(1, SCHEMA + 1)]
