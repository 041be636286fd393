"""Which positions an intervention is about, and refusals that name the range."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import intravisto_core as iv
from intravisto_core.request.positions import read_positions, resolve

quick = settings(deadline=None, max_examples=60)
LENGTHS = st.integers(1, 12).flatmap(lambda prompt: st.tuples(st.just(prompt), st.integers(prompt, prompt + 8)))


@pytest.fixture(scope="module", params=["open here", "at a service"])
def case(request, case):
    """Every test of this file runs on both kinds of engine."""
    return case if request.param == "open here" else request.getfixturevalue("case_at_service")


@quick
@given(LENGTHS, st.data())
def test_negatives_count_from_the_end_of_the_prompt(lengths, data):
    prompt, length = lengths
    chosen = data.draw(st.lists(st.integers(-prompt, length - 1), min_size=1, max_size=6))
    found = resolve(read_positions(chosen, "positions"), prompt, length)
    assert found == tuple(dict.fromkeys(i if i >= 0 else prompt + i for i in chosen))


@quick
@given(LENGTHS, st.data())
def test_spans_are_half_open(lengths, data):
    prompt, length = lengths
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    assert resolve(iv.Span(start, stop), prompt, length) == tuple(range(start, stop))
    if start < prompt and stop < prompt:
        assert resolve(iv.Span(start - prompt, stop - prompt), prompt, length) == tuple(range(start, stop))


@quick
@given(LENGTHS, st.integers(0, 10))
def test_generated_steps_come_after_the_prompt(lengths, step):
    prompt, length = lengths
    if prompt + step < length:
        assert resolve(iv.Generated(step), prompt, length) == (prompt + step,)
    else:
        with pytest.raises(iv.RequestError, match=r"(?i)generated"):
            resolve(iv.Generated(step), prompt, length)


@quick
@given(LENGTHS, st.integers(-30, 30))
def test_what_is_out_of_range_is_refused_with_the_range(lengths, i):
    prompt, length = lengths
    if -prompt <= i < length:
        assert resolve((i,), prompt, length)
        return
    with pytest.raises(iv.RequestError) as refused:
        resolve((i,), prompt, length)
    assert f"{-prompt} to {length - 1}" in str(refused.value)
    with pytest.raises(iv.RequestError, match=f"0 to {length}"):
        resolve(iv.Span(0, length + 1 + abs(i)), prompt, length)


@quick
@given(LENGTHS)
def test_words(lengths):
    prompt, length = lengths
    assert resolve("prompt", prompt, length) == tuple(range(prompt))
    assert resolve("all", prompt, length) == tuple(range(length))


@pytest.mark.parametrize("wrong", ["last", [], None, 1.5, [1, "2"], [[1]]])
def test_nonsense_is_refused_when_the_intervention_is_built(wrong):
    with pytest.raises(iv.RequestError, match="positions"):
        iv.Ablate("mlp_out", 0, wrong)


@pytest.mark.parametrize(
    ("intervention", "said"),
    [
        (iv.Ablate("mlp_out", 3), "layer.*-3 to 2"),
        (iv.Ablate("mlp_out", 0, 30), "-13 to 20"),
        (iv.Ablate("z", 0, head=4), "head.*-4 to 3"),
        (iv.Ablate("act", 0, neuron=48), "neuron.*0 to 47"),
        (iv.KnockOut(0, 30, [0]), "queries.*-13 to 20"),
        (iv.KnockOut(0, -1, [0], 9), "heads.*-4 to 3"),
        (iv.Steer("mlp_out", 0, direction=[1.0, 2.0]), "32 numbers"),
        (iv.SetValue("mlp_out", 0, value=[1.0, 2.0]), "32 numbers"),
        (iv.Ablate("mlp_out", 0, iv.Generated(8)), r"Generated\(0\) to Generated\(7\)"),
    ],
)
def test_a_place_that_is_not_there_is_refused_before_anything_runs(case, intervention, said):
    trace = case("llama").trace
    assert (trace.prompt_length, len(trace.tokens)) == (13, 21)
    with pytest.raises(iv.RequestError, match=said):
        trace.edit(intervention)


@pytest.mark.parametrize("site", ["z", "act"])
@pytest.mark.parametrize(
    "build",
    [
        lambda site: iv.Replace(site, 0, token="a"),
        lambda site: iv.ReplaceMain(site, 0, token="a"),
        lambda site: iv.Steer(site, 0, direction="a"),
        lambda site: iv.RemoveDirection(site, 0, direction="a"),
        lambda site: iv.SwapDirection(site, 0, source="a", target="b"),
    ],
)
def test_what_belongs_to_the_stream_is_refused_elsewhere(site, build):
    with pytest.raises(iv.RequestError, match=r"not the stream.*resid_pre"):
        build(site)
    with pytest.raises(iv.RequestError, match="KnockOut, FreezePattern"):
        build("pattern")


def test_sites_that_cannot_be_edited_name_those_that_can():
    for site in ("q", "k", "v", "head_out", "nowhere"):
        with pytest.raises(iv.RequestError, match="site"):
            iv.Ablate(site, 0)
    with pytest.raises(iv.RequestError, match="not split by head"):
        iv.Ablate("mlp_out", 0, head=1)
