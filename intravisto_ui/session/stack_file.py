"""A stack of edits as a file: the interventions in order, with which of them are on, and the arrays that they name."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import numpy as np

from intravisto_core.errors import RequestError
from intravisto_core.request import Intervention, from_json, tensors, to_json, with_tensors
from intravisto_core.request.tensor_refs import references
from intravisto_ui.session.edit_tree import Card

MOST_BYTES = 1_000_000


def write_stack(cards: tuple[Card, ...]) -> bytes:
    """A stack as a JSON file."""
    listed = [{"on": card.on, "edit": json.loads(to_json(card.what))} for card in cards]
    found = (item for card in cards for item in tensors(card.what).items())
    arrays = {name: base64.b64encode(array.tobytes()).decode() for name, array in found}
    return (json.dumps({"intravisto_edits": 1, "cards": listed, "arrays": arrays}, indent=1) + "\n").encode()


def read_stack(body: bytes) -> tuple[tuple[Intervention, bool], ...]:
    """The interventions of such a file, each with whether it is on.

    Raises:
        RequestError: it is none.
    """
    wanted = "edits: expected a file that this page saved; "
    if len(body) > MOST_BYTES:
        raise RequestError(f"{wanted}got one of {len(body):,} bytes")
    try:
        stack = json.loads(body)
        arrays = stack.get("arrays", {})
        found = tuple(
            (_restore_arrays(from_json(json.dumps(card["edit"])), arrays), bool(card.get("on", True)))
            for card in stack["cards"]
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RequestError(f"{wanted}got something else") from None
    for what, _ in found:
        if not isinstance(what, Intervention):
            raise RequestError(f"{wanted}got a card that holds a {type(what).__name__}, which changes nothing inside")
    return found


def _restore_arrays(what: Intervention, arrays: Mapping[str, str]) -> Intervention:
    """An intervention with the arrays of its file, which are little-endian float32 in base64."""
    found = {
        ref.hash: np.frombuffer(base64.b64decode(arrays[ref.hash]), "<f4").reshape(ref.shape)
        for ref in references(what)
        if ref.hash in arrays
    }
    return with_tensors(what, found)
