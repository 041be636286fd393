"""What an engine is asked and what it answers, as bytes that another machine reads.

Everything is a bundle (`storage/bundle.py`): JSON that names no class but those of closed lists, and arrays in
safetensors. Nothing that is read chooses what is built.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from intravisto_core import errors
from intravisto_core.engine.trace_info import TraceInfo
from intravisto_core.errors import HubError, IntravistoError, RequestError, TraceError, expected
from intravisto_core.records import Record
from intravisto_core.request import TraceRequest, from_json, tensors, to_json, with_tensors
from intravisto_core.storage.bundle import pack_bundle, unpack_bundle
from intravisto_core.storage.kinds import RECORDS
from intravisto_core.storage.narrow import narrow, widen
from intravisto_core.storage.plain import read_plain, to_plain

Arrays = Mapping[str, np.ndarray]
Answer = Record | TraceInfo | list[TraceInfo | IntravistoError] | None

ERRORS: dict[str, type[IntravistoError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, IntravistoError)
}
# smaller arrays are not worth a second look
NARROWED_FROM = 4096
TENSOR = "tensor."


@dataclass(frozen=True, slots=True)
class Question:
    """One request on its way to an engine elsewhere.

    request: None only makes traces again. recipes: descriptions of traces that the request needs, by id: an engine
    that lacks one runs it again from there.
    """

    request: Any
    session: str = ""
    slot: str = ""
    recipes: Mapping[str, TraceInfo] = field(default_factory=dict)


def pack_question(question: Question, **more: Any) -> bytes:
    """A question as bytes. more: what else is said in JSON's own types.

    Raises:
        RequestError: the request holds a function, which cannot leave this process.
    """
    arrays: dict[str, np.ndarray] = {}
    body = {
        "request": None if question.request is None else _plain_request(question.request, arrays),
        "session": question.session,
        "slot": question.slot,
        "recipes": [plain_info(info, arrays) for info in question.recipes.values()],
        **more,
    }
    return pack_bundle(body, arrays)


def read_question(body: Any, arrays: Arrays) -> Question:
    """A question that came from elsewhere. body: its JSON, read.

    Raises:
        RequestError: it is none; the message says what was expected.
    """
    if not isinstance(body, dict):
        raise RequestError(expected("body", 'an object with "request"', type(body).__name__))
    recipes = body.get("recipes") or []
    if not isinstance(recipes, list):
        raise RequestError(expected("recipes", "a list of descriptions of traces", type(recipes).__name__))
    infos = [read_info(each, arrays) for each in recipes]
    asked = body.get("request")
    if asked is None and not infos:
        raise RequestError(expected("request", "a request as JSON, which names its kind", "nothing"))
    return Question(
        request=None if asked is None else _read_request(asked, arrays),
        session=_text(body, "session"),
        slot=_text(body, "slot"),
        recipes={info.id: info for info in infos},
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was read. beside: descriptions of traces that it names, as baselines."""

    value: Answer
    beside: tuple[TraceInfo, ...] = ()


def pack_answer(answer: Answer, dtype: str = "float32", beside: Sequence[TraceInfo] = ()) -> bytes:
    """An answer as bytes. dtype: what the model computes in: arrays that fit into it take no more bytes than there.

    beside: descriptions of traces that the answer names; those that it holds itself are not written twice.
    """
    arrays: dict[str, np.ndarray] = {}
    body: dict[str, Any]
    if answer is None:
        body = {"is": "nothing"}
    elif isinstance(answer, TraceInfo):
        body = {"is": "trace", "trace": plain_info(answer, arrays)}
    elif isinstance(answer, list):
        each = [
            {"error": write_error(one)} if isinstance(one, IntravistoError) else {"trace": plain_info(one, arrays)}
            for one in answer
        ]
        body = {"is": "traces", "traces": each}
    else:
        body = {"is": "record", "kind": type(answer).__name__, "record": to_plain(answer, arrays, "record")}
    narrowed = {}
    for name, array in arrays.items():
        if array.dtype == np.float32 and array.size >= NARROWED_FROM:
            less = narrow(array, dtype)
            if less is not array:
                narrowed[name] = dtype
                arrays[name] = less
    held = {one.id for one in (answer if isinstance(answer, list) else [answer]) if isinstance(one, TraceInfo)}
    others = [plain_info(info, arrays) for info in beside if info.id not in held]
    return pack_bundle({**body, "narrowed": narrowed, "beside": others}, arrays)


def read_answer(data: bytes) -> Reply:
    """What `pack_answer` wrote: a record, or descriptions of traces.

    Raises:
        TraceError: it is damaged, or was written by a newer version.
    """
    bundle = unpack_bundle(data, "answer")
    body, arrays = bundle.manifest, dict(bundle.arrays)
    for name in body.get("narrowed") or {}:
        if name in arrays:
            arrays[name] = widen(arrays[name])
    others = tuple(read_info(each, arrays) for each in body.get("beside") or ())
    return Reply(_read_value(body, arrays), others)


def _read_value(body: Mapping[str, Any], arrays: Arrays) -> Answer:
    match body.get("is"):
        case "nothing":
            return None
        case "trace":
            return read_info(body.get("trace"), arrays)
        case "traces":
            return [
                read_error(one["error"]) if "error" in one else read_info(one.get("trace"), arrays)
                for one in body.get("traces", ())
            ]
        case "record" if body.get("kind") in RECORDS:
            return read_plain(RECORDS[body["kind"]], body.get("record"), _getter(arrays), "record")
    raise TraceError(expected("answer", "a record or a trace", f"{body.get('is')} {body.get('kind', '')}".strip()))


def write_error(error: IntravistoError) -> dict[str, str]:
    """An error in JSON's own types."""
    found = {"kind": type(error).__name__, "message": str(error)}
    return found | ({"hub": error.kind} if isinstance(error, HubError) else {})


def read_error(body: Any) -> IntravistoError:
    """The error that `write_error` wrote; of an unknown kind a TraceError with its message."""
    if not isinstance(body, dict):
        return TraceError("answer: expected an error in words; got something else")
    message, kind = str(body.get("message", "")), ERRORS.get(str(body.get("kind")), TraceError)
    return HubError(message, str(body.get("hub", ""))) if issubclass(kind, HubError) else kind(message)


def named_traces(request: Any) -> tuple[str, ...]:
    """The ids of the traces that a request needs, each once."""
    if request is None:
        return ()
    found = [getattr(request, name, None) for name in ("trace", "edited", "baseline")]
    for run in getattr(request, "requests", ()):
        found += named_traces(run)
    found += [getattr(each, "trace_source", None) for each in getattr(request, "interventions", ())]
    return tuple(dict.fromkeys(name for name in found if isinstance(name, str) and name))


def with_recipes(question: Question, find: Callable[[str], TraceInfo | None]) -> Question:
    """The question with what is known of the traces that it needs, and of those that these need.

    find: the description of a trace of the question's session, by id, or None.
    """
    found = dict(question.recipes)
    wanted = [*named_traces(question.request)]
    for info in found.values():
        wanted += named_traces(info.request)
    while wanted:
        id = wanted.pop()
        info_or_none = None if id in found else find(id)
        if info_or_none is not None:
            found[id] = info_or_none
            wanted += named_traces(info_or_none.request)
    return replace(question, recipes=found)


def _plain_request(request: Any, arrays: MutableMapping[str, np.ndarray]) -> str:
    text = to_json(request)
    arrays.update({f"{TENSOR}{name}": array for name, array in tensors(request).items()})
    return text


def _read_request(asked: Any, arrays: Arrays) -> Any:
    """A request as text, or as the object that the text would be."""
    text = asked if isinstance(asked, str) else json.dumps(asked)
    beside = {name.removeprefix(TENSOR): array for name, array in arrays.items() if name.startswith(TENSOR)}
    return with_tensors(from_json(text), beside)


def plain_info(info: TraceInfo, arrays: MutableMapping[str, np.ndarray]) -> dict[str, Any]:
    """A description of a trace in JSON's own types; arrays of its request are put into `arrays`."""
    plain = {f.name: to_plain(getattr(info, f.name), arrays, f.name) for f in fields(info) if f.name != "request"}
    return {"info": plain, "request": _plain_request(info.request, arrays)}


def read_info(body: Any, arrays: Arrays) -> TraceInfo:
    """The description that `plain_info` wrote.

    Raises:
        IntravistoError: it is none.
    """
    if not isinstance(body, dict):
        raise RequestError(expected("trace", "its description", type(body).__name__))
    request = _read_request(body.get("request"), arrays)
    if not isinstance(request, TraceRequest):
        raise RequestError(expected("trace", "the request of a run", type(request).__name__))
    return read_plain(TraceInfo, body.get("info"), _getter(arrays), "trace", request=request)


def _getter(arrays: Arrays) -> Callable[[str], np.ndarray]:
    def get(name: str) -> np.ndarray:
        if name not in arrays:
            raise TraceError(expected("answer", f"an array {name[:80]!r}", "none of that name"))
        return arrays[name]

    return get


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) > 200:
        raise RequestError(expected(name, "a text of at most 200 characters", value))
    return value
