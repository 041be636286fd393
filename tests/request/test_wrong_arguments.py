"""Every argument of the public face with wrong values: what comes out is a result or an IntravistoError in words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, get_args

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core import request
from intravisto_core.errors import show_value
from intravisto_core.request.codec import KINDS


class Odd:
    """An object of a library that fails in its own ways."""

    def _fail(self, *_: object) -> NoReturn:
        raise RuntimeError("not now")

    __index__ = __float__ = __iter__ = __bool__ = __len__ = __hash__ = __repr__ = _fail


WRONG: list[Any] = [
    None,
    True,
    -1,
    0,
    3.5,
    10**30,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\ud800",
    b"x",
    (),
    [],
    {},
    set(),
    [None],
    ["x"],
    (1.5,),
    [[1, 2], [3]],
    np.array([1, 2]),
    np.array(2.5),
    np.float32("nan"),
    object(),
    int,
    lambda: None,
    iv.Span(5, 2),
    range(10**9),
    Odd(),
]

# One right value for each field that has no default, so that one wrong value at a time is tried.
RIGHT: dict[str, Any] = {
    "source": "demo",
    "prompt": "ab c",
    "prompts": ("ab", "c"),
    "name": "set",
    "start": 0,
    "stop": 2,
    "step": 0,
    "hash": "0" * 64,
    "shape": (2,),
    "positive": ("ab",),
    "component": "attention",
    "site": "resid_post",
    "layer": 1,
    "position": 1,
    "row": 1,
    "head": 0,
    "feature": 0,
    "texts": ("ab", "c"),
    "token": "b",
    "direction": "b",
    "target": "c",
    "factor": 2.0,
    "value": 0.5,
    "queries": (2,),
    "keys": (1,),
    "fn": lambda x: x,
    "claim": iv.Claim(iv.Ablate("mlp_out", 1, -1)),
}
SPECIAL = {
    ("SwapDirection", "source"): "b",
    ("RemoveDirection", "layer"): 1,
    ("UpdateView", "component"): "mlp",
    ("Claim", "edit"): iv.Ablate("mlp_out", 1, -1),
}


def name_of(value: Any) -> str:
    return f"{type(value).__name__}-{show_value(value)[:12]}".encode("ascii", "backslashreplace").decode()


def required(kind: type, trace: str) -> dict[str, Any]:
    """Right values of the fields that have no default."""
    out: dict[str, Any] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.default is inspect.Parameter.empty:
            right = {"trace": trace, "edited": trace, "links": (iv.Link("mlp", 1, 1),)} | RIGHT
            if kind.__name__ == "Patch":
                right["source"] = trace
            out[name] = SPECIAL.get((kind.__name__, name), right.get(name))
    return out


def attempts(kind: type, trace: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    base = required(kind, trace)
    if kind is iv.ExplainView:
        base["tests"] = False  # each run of the model takes its time
    for name in inspect.signature(kind).parameters:
        for value in WRONG:
            yield name, value, base | {name: value}


@pytest.fixture(scope="module")
def engine(case) -> iv.LocalEngine:
    return case("llama").engine


@pytest.fixture(scope="module")
def trace(case) -> iv.Trace:
    return case("llama").trace


def own_error(act: Callable[[], Any], told: str) -> Any:
    """The result, or None where it was refused in words."""
    try:
        return act()
    except iv.IntravistoError as error:
        words = str(error)
    except Exception as error:
        raise AssertionError(f"{told}: {type(error).__name__}: {error}") from error
    assert words, told
    assert "unexpected" not in words, f"{told}: {words}"
    return None


@pytest.mark.parametrize("kind", [*KINDS.values(), iv.Apply], ids=lambda k: k.__name__)
def test_a_request_takes_it_or_refuses_it(kind: type, trace: iv.Trace, engine: iv.LocalEngine) -> None:
    views = (*get_args(request.ViewRequest), *get_args(request.EffectView), request.DirectionRequest)
    for name, value, options in attempts(kind, trace.id):
        told = f"{kind.__name__}({name}={name_of(value)})"
        made = own_error(lambda options=options: kind(**options), told)
        if made is None:
            continue
        assert own_error(lambda made=made: hash(made), told) is not None
        text = own_error(lambda made=made: request.to_json(made), told)
        if kind is not iv.Apply:  # a function cannot be written down
            assert own_error(lambda text=text: request.from_json(text), told) == made, told
        if kind in views:
            own_error(lambda made=made: engine.submit(made).result(timeout=60), told)
        elif kind in get_args(request.Intervention):
            own_error(lambda made=made: trace.edit(made), told)


def refusal_of(act: Callable[[], Any]) -> str:
    with pytest.raises(iv.RequestError) as caught:
        act()
    return str(caught.value)


@pytest.mark.parametrize("kind", list(KINDS.values()), ids=lambda k: k.__name__)
def test_a_request_refuses_options_that_it_has_not_and_names_those_that_it_needs(kind: type) -> None:
    base = required(kind, "an id")
    said = refusal_of(lambda: kind(**base, foo=1))
    assert "foo" in said
    assert all(name in said for name in inspect.signature(kind).parameters), "the options that there are"
    for name in base:
        others = {n: v for n, v in base.items() if n != name}
        assert name in refusal_of(lambda others=others: kind(**others))
    assert refusal_of(lambda: kind(*range(40)))


def public_methods(of: type, *left_out: str) -> list[str]:
    """Names of what can be called. left_out: what would end the object that all tests share."""
    names = [name for name in dir(of) if not name.startswith("_") and callable(getattr(of, name))]
    return [name for name in names if name not in left_out]


ARGUMENTS: dict[str, Any] = {
    "edited": "an id",
    "links": iv.Link("mlp", 1, 1),
    "edit": iv.Replace("resid_post", 1, (1,), token="b"),
    "path": "model.layers.1.mlp",
    "query": 2,
    "key": 1,
    "part": "embedding",
    "neuron": 0,
} | RIGHT


@pytest.mark.parametrize("method", public_methods(iv.Trace, "forget", "pin", "unpin"))
def test_a_method_of_a_trace_takes_it_or_refuses_it(
    method: str, trace: iv.Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call = getattr(trace, method)
    parameters = inspect.signature(call).parameters
    base = {n: ARGUMENTS.get(n) for n, p in parameters.items() if _is_needed(p)}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        with pytest.raises(iv.RequestError, match="foo"):
            call(**base, foo=1)
    if method == "explain":
        call = partial(call, tests=False)
    for name, parameter in parameters.items():
        for value in WRONG:
            told = f"trace.{method}({name}={name_of(value)})"
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                own_error(lambda value=value: call(value), told)
            elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                own_error(lambda options=base | {name: value}: call(**options), told)


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty and parameter.kind not in (
        inspect.Parameter.VAR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )


ENGINE_ARGUMENTS = ARGUMENTS | {
    "text": "ab",
    "prompt_tokens": 3,
    "trace": "x",
    "session": "",
    "x": np.zeros(32, np.float32),
}


@pytest.mark.parametrize("method", public_methods(iv.LocalEngine, "close"))
def test_a_method_of_an_engine_takes_it_or_refuses_it(method: str, engine: iv.LocalEngine) -> None:
    call = getattr(engine, method)
    parameters = inspect.signature(call).parameters
    base = {n: ENGINE_ARGUMENTS.get(n) for n, p in parameters.items() if _is_needed(p)}
    for name, parameter in parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            assert "foo" in refusal_of(lambda: call(**base, foo=1))
            continue
        for value in WRONG:
            told = f"engine.{method}({name}={name_of(value)})"
            own_error(lambda options=base | {name: value}: call(**options), told)


def test_the_session_of_a_trace_is_a_text(engine: iv.LocalEngine, trace: iv.Trace) -> None:
    for method in ("find", "describe"):
        for value in WRONG:
            own_error(lambda value=value, method=method: getattr(engine, method)(trace.id, value), name_of(value))


@pytest.mark.parametrize("side", ["pre", "post"])
def test_what_a_function_around_a_module_returns_fits_or_is_refused(engine: iv.LocalEngine, side: str) -> None:
    """`None` leaves the value as it is; a number or an array that torch would stretch is none of its shape."""
    for value in WRONG[1:]:
        with engine.hook() as hooks:
            getattr(hooks, side)("model.layers.1.mlp", lambda *_, value=value: value)
            with pytest.raises(iv.TraceError, match=r"model\.layers\.1\.mlp: expected the function to return"):
                engine.trace("ab")


def test_every_enum_refuses_what_it_has_not() -> None:
    from intravisto_core import sites

    for choice in vars(sites).values():
        if isinstance(choice, type) and issubclass(choice, sites.Choice) and choice is not sites.Choice:
            for value in WRONG:
                own_error(lambda choice=choice, value=value: choice.parse(value, "name"), choice.__name__)
            assert all(isinstance(member, Enum) for member in choice)
