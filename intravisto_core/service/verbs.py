"""What is asked of an engine beside requests, in JSON's own types: its card, tokens, estimates, its traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from intravisto_core.engine.answers import plain_info
from intravisto_core.engine.base import Engine
from intravisto_core.errors import RequestError, TooLargeError, expected
from intravisto_core.request import to_json
from intravisto_core.storage.plain import to_plain

LONGEST_WAIT_S = 60.0
MOST_CHARACTERS = 500_000


def _plain(value: Any) -> Any:
    return to_plain(value, {}, "")


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    found = body.get(name) or []
    if not isinstance(found, list):
        raise RequestError(expected(name, "a list", found))
    return found


def tell_card(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """The card and the identity. finish: seconds to wait for the rest of the self-check."""
    wait = body.get("finish", 0)
    if not isinstance(wait, int | float) or isinstance(wait, bool):
        raise RequestError(expected("finish", "seconds", wait))
    card = engine.model
    if wait > 0:
        try:
            card = engine.finish_check(min(float(wait), LONGEST_WAIT_S))
        except TimeoutError:
            card = engine.model
    return {"card": _plain(card), "identity": dict(engine.identity), "spec": to_json(engine.spec)}


def tokenize(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens of a text.

    Raises:
        TooLargeError: it would hold up the tokenizer for minutes, and everybody who needs it.
    """
    text = body.get("text", "")
    if isinstance(text, str) and len(text) > MOST_CHARACTERS:
        raise TooLargeError(
            expected("text", f"at most {MOST_CHARACTERS:,} characters at once", f"{len(text):,}", "Send it in parts")
        )
    messages = tuple(tuple(turn) if isinstance(turn, list) else turn for turn in _list(body, "messages"))
    found = engine.tokenize(
        text,
        body.get("add_special_tokens", True),
        chat=body.get("chat", False),
        messages=messages,
    )
    return {"tokens": _plain(found)}


def estimate(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """What a run takes, and how long."""
    prompt, new = body.get("prompt_tokens", 0), body.get("new_tokens", 0)
    found = engine.estimate(prompt, new, body.get("sites"), body.get("whitened", False), tuple(_list(body, "modules")))
    return {"estimate": _plain(found), "seconds": engine.expected_seconds(prompt, new)}


def describe(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a trace; arrays of its request are named, not sent."""
    return plain_info(engine.describe(body.get("trace", ""), body.get("session", "")), {})


def forget(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """Drop a trace."""
    engine.forget(body.get("trace", ""), body.get("session", ""))
    return {}


def pin(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a trace's activations."""
    engine.pin(body.get("trace", ""), body.get("session", ""))
    return {}


def unpin(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """Take a pin back."""
    engine.unpin(body.get("trace", ""), body.get("session", ""))
    return {}


def rest(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """Nobody looks at a session for now."""
    engine.rest(body.get("session", ""))
    return {}


def resume(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """Somebody looks at a session again."""
    engine.resume(body.get("session", ""))
    return {}


VERBS: dict[str, Callable[[Engine, Mapping[str, Any]], dict[str, Any]]] = {
    "card": tell_card,
    "tokenize": tokenize,
    "estimate": estimate,
    "describe": describe,
    "forget": forget,
    "pin": pin,
    "unpin": unpin,
    "rest": rest,
    "resume": resume,
}
