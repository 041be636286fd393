"""Directions: from prompts, saved by name, and as arrays that travel beside a request."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.models import directions
from intravisto_core.request import in_words


def test_a_direction_is_the_difference_of_two_means(case):
    engine = case("llama").engine
    positive, negative = ("ab c!", "ab d!"), ("zz",)
    found = engine.direction("c or d", positive, negative, layer=1, positions=[-1, -2])
    means = [
        np.mean([engine.trace(p).activation("resid_post", 1)[-2:].mean(0) for p in prompts], 0)
        for prompts in (positive, negative)
    ]
    expected = means[0] - means[1]
    assert np.allclose(found.vector, expected / np.linalg.norm(expected), atol=1e-5)
    assert found.strength == pytest.approx(np.linalg.norm(expected), rel=1e-5)
    assert found.made_of.startswith("2 prompts less 1")
    one = engine.direction("one", "ab c!", layer=1)
    assert np.allclose(one.vector * one.strength, engine.trace("ab c!").activation("resid_post", 1)[-1], atol=1e-4)


def test_a_direction_steers_and_is_named(case):
    tiny = case("llama")
    found = tiny.engine.direction("c or d", "ab c!", "zz", layer=1)
    steer = iv.Steer("resid_post", 1, -1, direction=found, strength=2.0, unit="absolute")
    assert "c or d" in in_words(steer)
    at = tiny.trace.prompt_length - 1
    moved = tiny.trace.edit(steer).activation("resid_post", 1)[at] - tiny.trace.activation("resid_post", 1)[at]
    assert np.allclose(moved, 2 * found.vector, atol=1e-4)


def test_a_direction_that_is_none_is_refused(case):
    engine = case("llama").engine
    with pytest.raises(iv.RequestError, match="differ"):
        engine.direction("nothing", "ab", "ab")
    with pytest.raises(iv.RequestError, match="stream"):
        engine.direction("heads", "ab", "cd", site="z")
    with pytest.raises(iv.RequestError, match="zero"):
        case("llama").trace.edit(iv.RemoveDirection("mlp_out", 0, direction=np.zeros(32)))
    x = np.arange(32.0)
    with pytest.raises(iv.RequestError, match="same line"):
        case("llama").trace.edit(iv.SwapDirection("mlp_out", 0, source=x, target=2 * x))


def test_directions_are_saved_by_name(case, tmp_path):
    engine = case("llama").engine
    found = engine.direction("c or d", "ab c!", "zz", layer=1)
    path = directions.save(found, tmp_path / "new")
    assert path.suffix == ".safetensors"
    back = directions.load("c or d", tmp_path / "new")
    assert np.array_equal(back.vector, found.vector)
    assert (back.made_of, back.model, back.layer, back.site) == (found.made_of, found.model, 1, "resid_post")
    assert directions.names(tmp_path / "new") == ("c or d",)
    with pytest.raises(iv.RequestError, match="c or d"):
        directions.load("another", tmp_path / "new")
    path.write_bytes(b"not a tensor")
    with pytest.raises(iv.RequestError, match="damaged"):
        directions.load("c or d", tmp_path / "new")
    for name in ("../up", "", "a/b", ".hidden", "x" * 81):
        with pytest.raises(iv.RequestError, match="name"):
            directions.load(name, tmp_path)


def test_arrays_travel_beside_a_request(case):
    """The JSON names an array by its hash; whoever has both can put them together again."""
    trace = case("llama").trace
    request = trace.edit_request(
        iv.Steer("mlp_out", 0, -1, direction=np.arange(32)), iv.SetValue("act", 1, value=[1] * 48)
    )
    beside, text = iv.tensors(request), iv.to_json(request)
    assert len(beside) == 2
    back = iv.from_json(text)
    assert back == request
    assert iv.tensors(back) == {}
    with pytest.raises(iv.RequestError, match="beside the request"):
        trace.engine.submit(back).result()
    whole = iv.with_tensors(back, beside)
    assert iv.to_json(whole) == text
    edited, same = (trace.engine.submit(r).result() for r in (request, whole))
    assert np.array_equal(edited.logits(), same.logits())
    name = next(iter(beside))
    with pytest.raises(iv.RequestError, match="hash"):
        iv.with_tensors(back, {name: np.zeros(3)})
    with pytest.raises(iv.RequestError, match="finite"):
        iv.SetValue("mlp_out", 0, value=[np.nan])
