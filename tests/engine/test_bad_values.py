"""Whatever comes in, what goes out is an IntravistoError, and the engine works on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

import intravisto_core as iv
from intravisto_core.errors import LONGEST_VALUE, describe_error, show_value


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    found = iv.open_model("demo")
    yield found
    found.close()


class Unwritable(Exception):
    def __repr__(self) -> str:
        raise ValueError

    __str__ = __repr__


def test_values_in_messages_are_short_and_never_fail() -> None:
    assert len(show_value("a" * 100_000)) < LONGEST_VALUE + 30
    assert show_value(Unwritable()) == "Unwritable (it cannot be shown)"
    assert "cannot be shown" in show_value(10**5000)
    assert describe_error(Unwritable()) == "Unwritable (its message cannot be shown)"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, Unwritable])
def test_a_function_that_ends_python_ends_its_run_alone(engine: Any, error: type[BaseException]) -> None:
    def fail(*_: Any) -> None:
        raise error

    trace = engine.trace("1 2 3")
    job = engine.submit(trace.edit_request(iv.Apply("mlp_out", 1, "all", lambda x: fail(x))))
    with pytest.raises(iv.TraceError, match="failed"):
        job.result(30)
    with engine.hook() as hook:
        hook.post("model.norm", fail)
        job = engine.submit(iv.TraceRequest("4 5 6"))
        with pytest.raises(iv.TraceError, match="failed"):
            job.result(30)
    engine.trace("7 8 9")


@pytest.mark.parametrize("positions", [range(10**12), itertools.count()])
def test_a_list_without_an_end_is_refused(positions: Any) -> None:
    with pytest.raises(iv.RequestError, match="at most"):
        iv.Replace("resid_post", 1, positions, token=" a")


def test_no_path_no_engine_no_list(engine: Any) -> None:
    trace = engine.trace("1 2 3")
    for path in (None, 5, b"x", "\0.intravisto", "~nobody-here/x.intravisto"):
        for call in (trace.save, iv.open_trace):
            with pytest.raises(iv.RequestError, match="path"):
                call(path)
    for bad in (None, 5):
        with pytest.raises(iv.RequestError):
            engine.traces(bad)
        with pytest.raises(iv.RequestError):
            iv.frame(bad, "heatmap")
        with pytest.raises(iv.RequestError):
            engine.rest(bad)
        with pytest.raises(iv.RequestError):
            iv.open_model("demo", report=bad)
    with pytest.raises(iv.RequestError, match="engine"):
        iv.open_trace("x.intravisto", engine=5)  # type: ignore[arg-type]


def test_a_prompt_that_is_none_has_its_error_in_its_place(engine: Any) -> None:
    found = engine.traces(["", "1 2 3", None])
    assert [type(each) for each in found] == [iv.RequestError, iv.Trace, iv.RequestError]
    assert all(isinstance(each, iv.RequestError) for each in engine.traces(["", None]))
    with pytest.raises(iv.RequestError, match="sites"):
        engine.traces(["", "1"], sites=["nowhere"])


def test_a_table_of_views_does_nothing_else(engine: Any) -> None:
    trace = engine.trace("1 2 3")
    for name in ("forget", "pin", "save"):
        with pytest.raises(iv.RequestError, match="view"):
            iv.frame([trace], name)
    trace.logits(-1)
    with pytest.raises(iv.RequestError, match="component"):
        iv.frame([trace], "written")


def test_a_hook_after_its_block_is_refused(engine: Any) -> None:
    with engine.hook() as hook:
        pass
    with pytest.raises(iv.RequestError, match="with"):
        hook.post("model.norm", print)
