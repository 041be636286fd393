"""Files that are cut, changed, or made to do harm: each is refused in words, none is followed."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import intravisto_core as iv
from intravisto_core.engine.saved import SavedEngine
from intravisto_core.storage import SCHEMA, bundle, checks
from intravisto_core.storage.migrations import bring_up_to_date

PAYLOAD = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    engine = iv.open_model("demo")
    trace = engine.trace("1 2 3", max_new_tokens=2)
    path = trace.save(tmp_path_factory.mktemp("hostile") / "good.intravisto", ["heatmap", "shares", "flow", "graph"])
    engine.close()
    return path


def parts(path: Path) -> tuple[dict[str, str], dict[str, Any], dict[str, np.ndarray]]:
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    head = json.loads(raw[8 : 8 + size])["__metadata__"]
    return head, json.loads(head["manifest"]), dict(load_file(path))


def rewritten(good: Path, place: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], Any]) -> Path:
    """A copy with another manifest or other arrays, and hashes that fit."""
    _, manifest, arrays = parts(good)
    text = change(manifest, arrays)
    if not isinstance(text, str):
        text = json.dumps(manifest)
    save_file(arrays, place, metadata={"format": "intravisto", "manifest": text, "hash": bundle._hash(text, arrays)})
    return place


def refused(path: Path, words: str = "expected") -> None:
    with pytest.raises(iv.TraceError, match=words) as caught:
        iv.open_trace(path)
    assert len(str(caught.value)) < 1500


def test_the_good_one_opens(good):
    assert iv.open_trace(good).heatmap().rows.tolist() == list(range(8))


@pytest.mark.parametrize("part", [0, 1, 7, 8, 9, 100, 0.3, 0.5, 0.9, 0.99, -1])
def test_cut_off(good, tmp_path, part):
    raw = good.read_bytes()
    keep = part if isinstance(part, int) else int(part * len(raw))
    path = tmp_path / "cut.intravisto"
    path.write_bytes(raw[:keep])
    refused(path)


@pytest.mark.parametrize("at", [0, 4, 7, 8, 60, 500, 5000, 0.4, 0.8, -1])
def test_one_changed_byte(good, tmp_path, at):
    raw = bytearray(good.read_bytes())
    at = int(at * len(raw)) if isinstance(at, float) else at
    raw[at] ^= 0x41
    path = tmp_path / "changed.intravisto"
    path.write_bytes(raw)
    refused(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"\x80\x04\x95pickle",
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 90_000_000) + b"{" * 1000,
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 4) + b"null",
        b"x" * 4096,
    ],
)
def test_other_kinds_of_files(tmp_path, content):
    path = tmp_path / "other.intravisto"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}},
        {"a": {"dtype": "OBJ", "shape": [2], "data_offsets": [0, 16]}},
        {"a": {"dtype": "BF16", "shape": [8], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "b": "x"},
    ],
)
def test_sizes_that_the_file_does_not_have(tmp_path, header):
    text = json.dumps({"__metadata__": {"format": "intravisto", "manifest": "{}", "hash": ""}, **header}).encode()
    path = tmp_path / "sizes.intravisto"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    refused(path)


def test_no_file_a_folder_and_one_too_large(good, tmp_path):
    refused(tmp_path / "none.intravisto", "can be read")
    refused(tmp_path, "got 'a folder'")
    refused(Path("/dev/null"), "got 'no ordinary file'")
    with pytest.raises(iv.TraceError, match="at most 0 MB"):
        SavedEngine(good, most_bytes=1000)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "3", "{", "[" * 100_000, '{"a":' * 2000 + "1" + "}" * 2000, '{"schema": NaN}', "\ud800"]
)
def test_manifests_that_are_none(good, tmp_path, text):
    if text == "\ud800":
        text = '{"schema": 1, "x": "\\ud800"}'
    refused(rewritten(good, tmp_path / "x.intravisto", lambda *_: text))


def test_numbers_that_json_has_not(good, tmp_path):
    refused(rewritten(good, tmp_path / "x.intravisto", _set("more", float("nan"))), "a manifest in JSON")


def test_descriptions_that_are_too_long(good, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "MOST_MANIFEST_BYTES", 1 << 10)
    refused(good, "at most 0 MB of descriptions")
    with pytest.raises(iv.TraceError, match="at most 0 MB of descriptions"):
        bundle.write_bundle(tmp_path / "x.intravisto", {"a": "b" * 2000}, {})
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(good, tmp_path):
    named = _set("runs/0/activations", [{"site": "resid_post", "layer": 0, "array": "gone"}])
    refused(rewritten(good, tmp_path / "x.intravisto", named), "an array 'gone'")
    save_file({"a": np.zeros(2)}, tmp_path / "y.intravisto")
    refused(tmp_path / "y.intravisto", "another kind of file")


@pytest.mark.parametrize("schema", [None, 0, -1, 1.0, "1", True, [], SCHEMA + 1, 10**30])
def test_schemas_that_are_not_known(good, tmp_path, schema):
    path = rewritten(good, tmp_path / "x.intravisto", lambda m, _: m.update(schema=schema))
    refused(path, "newer InTraVisTo" if type(schema) is int and schema > SCHEMA else "schema")


def test_an_older_schema_is_brought_up_step_by_step(monkeypatch):
    steps = {n: lambda m, n=n: {**m, "seen": [*m.get("seen", []), n], "schema": n + 1} for n in (1, 2)}
    monkeypatch.setattr("intravisto_core.storage.migrations.SCHEMA", 3)
    monkeypatch.setattr("intravisto_core.storage.migrations.MIGRATIONS", steps)
    assert bring_up_to_date({"schema": 1})["seen"] == [1, 2]
    assert bring_up_to_date({"schema": 2})["seen"] == [2]


def _set(path: str, value: Any) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    def change(manifest: dict[str, Any], _: dict[str, np.ndarray]) -> None:
        place: Any = manifest
        *steps, last = [int(s) if s.isdigit() else s for s in path.split("/")]
        for step in steps:
            place = place[step]
        place[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("runs", []),
        ("runs", 3),
        ("runs/0", None),
        ("runs/0/views", {}),
        ("runs/0/views/0", []),
        ("runs/0/views/0/kind", "Flow"),
        ("runs/0/views/0/kind", "os.system"),
        ("runs/0/views/0/kind", []),
        ("runs/0/views/0/view", '{"kind":"TraceRequest","prompt":"x"}'),
        ("runs/0/views/0/view", "../../etc/passwd"),
        ("runs/0/views/0/view", '{"kind":"__import__"}'),
        ("runs/0/views/0/record", 3),
        ("runs/0/views/0/record/unknown_field", 3),
        ("runs/0/views/0/record/trace", "another"),
        ("runs/0/views/0/record/trace", 3),
        ("runs/0/views/0/record/n_layers", 7),
        ("runs/0/views/0/record/n_layers", True),
        ("runs/0/views/0/record/component", "nothing"),
        ("runs/0/views/0/record/component", []),
        ("runs/0/views/0/record/token_ids", {"array": "../../../etc/passwd"}),
        ("runs/0/views/0/record/token_ids", {"array": 3}),
        ("runs/0/views/0/record/token_ids", {"texts": ["a"], "shape": [1]}),
        ("runs/0/views/0/record/token_ids", {"texts": ["a"], "shape": [2**40]}),
        ("runs/0/views/0/record/token_ids", None),
        ("runs/0/views/0/record/shown", []),
        ("runs/0/views/0/record/shown", [[1]]),
        ("runs/0/views/0/record/shown", [["1", "a"]]),
        ("runs/0/views/0/record/tokens", []),
        ("runs/0/views/0/record/tokens/0", {}),
        ("runs/0/views/0/record/d_vocab", "x"),
        ("runs/0/views/0/record/notes", "text"),
        ("runs/0/info", None),
        ("runs/0/info/tokens/0/position", "0"),
        ("runs/0/info/prompt_length", None),
        ("runs/0/request", "{}"),
        ("runs/0/request", 3),
        ("runs/0/request", '{"kind":"ModelSpec","source":"demo"}'),
        ("runs/0/activations", [{"site": "resid_post", "layer": 0, "array": "none"}]),
        ("runs/0/activations", [{"site": "x", "layer": 0, "array": "none"}]),
        ("runs/0/activations", [3]),
        ("card", None),
        ("card/n_layers", "six"),
        ("card/capabilities", [["nothing", {}]]),
        ("spec", '{"kind":"ModelSpec","source":""}'),
        ("spec", None),
        ("identity", 3),
    ],
)
def test_a_manifest_that_fits_its_hash_and_lies(good, tmp_path, path, value):
    refused(rewritten(good, tmp_path / "x.intravisto", _set(path, value)))


NAMED = [
    *((kind.__name__, field) for kind, fields in checks.CHOICES.items() for field in fields),
    *((kind.__name__, field) for kind, fields in checks.NODES.items() for field in fields),
]


@pytest.fixture(scope="module")
def with_kinds(tmp_path_factory) -> Path:
    """A run with every record that names kinds of things in texts."""
    engine = iv.open_model("demo")
    trace = engine.trace("1 2 3")
    views = ["flow", "graph", "attribution", "disagreement", iv.ExplainView(trace.id)]
    path = trace.save(tmp_path_factory.mktemp("kinds") / "kinds.intravisto", views)
    engine.close()
    iv.open_trace(path).explain().html()
    return path


@pytest.mark.parametrize(("kind", "field"), NAMED)
@pytest.mark.parametrize("text", ["nan", "<script>", ""])
def test_a_text_that_names_no_kind_of_thing(with_kinds, tmp_path, kind, field, text):
    def change(manifest: dict[str, Any], _: dict[str, np.ndarray]) -> None:
        record = next(v["record"] for v in manifest["runs"][0]["views"] if v["kind"] == kind)
        record[field]["texts"][0] = text

    refused(rewritten(with_kinds, tmp_path / "x.intravisto", change), f"in {field}")


def _array(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    def write(_: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        found = next(key for key in arrays if key.endswith(name))
        arrays[found] = np.ascontiguousarray(change(arrays[found].copy()))

    return write


def _put(array: np.ndarray, value: Any) -> np.ndarray:
    array.flat[0] = value
    return array


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (".token_ids", lambda a: _put(a, 10**6)),
        (".token_ids", lambda a: a.astype(np.float32)),
        (".token_ids", lambda a: a[:-1]),
        (".p_max", lambda a: a.T),
        (".rows", lambda a: _put(a, 99)),
        (".positions", lambda a: _put(a, 10**6)),
        (".says", lambda a: _put(a, -5)),
        (".node_mass", lambda a: _put(a, np.nan)),
        (".link_mass", lambda a: _put(a, np.inf)),
        (".starts", lambda a: a[:0]),
        (".link_source", lambda a: _put(a, 10**6)),
        (".link_target", lambda a: _put(a, -1)),
        (".node_reading", lambda a: _put(a, 10**6)),
        (".edge_share", lambda a: _put(a, np.nan)),
        (".edge_source", lambda a: _put(a, 10**6)),
        (".attention", lambda a: a[:, :-1]),
    ],
)
def test_arrays_that_fit_their_hash_and_lie(good, tmp_path, name, change):
    refused(rewritten(good, tmp_path / "x.intravisto", _array(name, change)))


def test_a_payload_in_every_text_stays_text(good, tmp_path):
    def poison(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: poison(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(each, key) for each in value]
        return (
            PAYLOAD
            if isinstance(value, str) and key in ("shown", "text", "spells", "notes", "model", "blank")
            else value
        )

    def change(manifest: dict[str, Any], _: dict[str, np.ndarray]) -> None:
        for run in manifest["runs"]:
            run["info"] = poison(run["info"])
            for view in run["views"]:
                view["record"] = poison(view["record"])
                if "shown" in view["record"]:
                    view["record"]["shown"] = [[i, PAYLOAD] for i, _ in view["record"]["shown"]]

    trace = iv.open_trace(rewritten(good, tmp_path / "x.intravisto", change))
    for record in (trace.heatmap(), trace.flow(), trace.view(iv.GraphView(trace.id)), trace.shares()):
        page = record.html()
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_the_hash_is_over_names_types_shapes_and_text():
    one = {"a": np.zeros((2, 3), np.float32)}
    others = ({"b": one["a"]}, {"a": one["a"].reshape(3, 2)}, {"a": one["a"].astype(np.float64)}, {"a": one["a"] + 1})
    hashes = {bundle._hash("x", arrays) for arrays in (one, *others)} | {bundle._hash("y", one)}
    assert len(hashes) == 6
    assert all(len(h) == hashlib.sha256().digest_size * 2 for h in hashes)
