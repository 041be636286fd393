"""What must hold of a stored record beyond its types, so that whatever draws it finds what it names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from intravisto_core.errors import TraceError, expected
from intravisto_core.records import (
    Activation,
    Attention,
    Attribution,
    ContributionGraph,
    Disagreement,
    Explanation,
    Flow,
    Logits,
    Pattern,
    Record,
    Route,
    SparseAttention,
)
from intravisto_core.sites import Choice, Component, ExplainTest, LinkKind, NodeKind, Part

# arrays whose numbers are all finite in what an engine answers
FINITE: dict[type[Record], tuple[str, ...]] = {
    Activation: ("values",),
    Attention: ("weights", "hidden", "learned"),
    SparseAttention: ("weights", "rest", "hidden", "learned", "on_sinks"),
    Attribution: ("value", "accumulated"),
    ContributionGraph: ("edge_share",),
    Flow: ("node_mass", "link_share", "link_mass"),
    Logits: ("values",),
    Pattern: ("values",),
    Route: ("sources", "attention", "mlp", "heads"),
}
# arrays of indices, with the array that they point into; −1 points nowhere where that is allowed
POINTERS: dict[type[Record], dict[str, tuple[str, int]]] = {
    ContributionGraph: {"edge_source": ("node_row", 0), "edge_target": ("node_row", 0)},
    Flow: {
        "link_source": ("node_row", 0),
        "link_target": ("node_row", 0),
        "node_reading": ("reading_ids", -1),
        "node_difference": ("reading_ids", -1),
        "link_difference": ("reading_ids", -1),
    },
}
# arrays of texts that are all of one choice
CHOICES: dict[type[Record], dict[str, type[Choice]]] = {
    Attribution: {"kind": Part},
    ContributionGraph: {"edge_kind": LinkKind},
    Disagreement: {"kind": LinkKind},
    Explanation: {"part_kind": Part, "stream_half": Component, "test_kind": ExplainTest},
    Flow: {"node_kind": NodeKind, "link_kind": LinkKind},
}
# arrays of names of nodes, as `mid.3.7`
NODES: dict[type[Record], tuple[str, ...]] = {Disagreement: ("source", "target")}
NODE = re.compile(rf"(?:{'|'.join(NodeKind)})\.\d{{1,9}}(?:\.\d{{1,9}})?", re.ASCII)
ROWS = ("row", "rows", "node_row", "first_row")
POSITIONS = ("position", "positions", "starts", "node_position", "queries", "keys", "sink_keys")
# arrays of where rows begin among entries, with the array of the entries
STRETCHES: dict[type[Record], tuple[str, str]] = {SparseAttention: ("starts", "keys")}
UNNAMED_IDS = ("next_ids",)  # texts of these stand with the tokens


def check_stored(record: Record, name: str, trace: str, n_layers: int, length: int) -> None:
    """Refuse a record that does not belong to its trace or names what it does not hold. length: T of the trace.

    Raises:
        TraceError: what was expected of which field.
    """
    for problem in _problems(record, trace, n_layers, length):
        raise TraceError(expected(name, problem, "something else"))


def _problems(record: Record, trace: str, n_layers: int, length: int) -> Iterator[str]:
    fields = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}  # type: ignore[arg-type]
    if fields.get("trace", trace) != trace:
        yield "a record of the run that it stands with"
    if fields.get("n_layers", n_layers) != n_layers:
        yield f"n_layers {n_layers}, as the model has"
    if len(fields.get("tokens", ())) > length:
        yield f"at most {length} tokens"
    starts, entries = STRETCHES.get(type(record), ("", ""))
    if starts and len(fields[starts]) and not _are_stretches(fields[starts], len(fields[entries])):
        yield f"{starts} that rise from 0 to the number of {entries}"
    for field, value in fields.items():
        if field in ROWS and not _within(value, -1, n_layers + 2):
            yield f"{field} from 0 to {n_layers + 1}"
        if field == "starts" and not len(value):
            yield "at least one number in starts"
        if field in POSITIONS and field != starts and value is not None and not _within(value, -1, length):
            yield f"{field} from 0 to {length - 1}"
    for field in FINITE.get(type(record), ()):
        if fields[field] is not None and not np.isfinite(fields[field]).all():
            yield f"finite numbers in {field}"
    for field, (into, least) in POINTERS.get(type(record), {}).items():
        if not _within(fields[field], least, len(fields[into])):
            yield f"{field} that point into {into}"
    for field, choice in CHOICES.get(type(record), {}).items():
        texts = [] if fields[field] is None else fields[field].tolist()  # an explanation without tests has none
        if not {str(text) for text in texts} <= {str(each) for each in choice}:
            yield f"texts of {', '.join(choice)} in {field}"
    for field in NODES.get(type(record), ()):
        if not all(NODE.fullmatch(str(text)) for text in fields[field].tolist()):
            yield f"names of nodes in {field}"
    yield from _unnamed(fields)


def _unnamed(fields: dict[str, Any]) -> Iterator[str]:
    """Token ids without a text."""
    if "shown" not in fields or isinstance(fields["shown"], str):
        return
    known = np.array([-1, *fields["shown"]])
    for field, value in fields.items():
        of_ids = (field.endswith("ids") or field == "says") and field not in UNNAMED_IDS
        if of_ids and isinstance(value, np.ndarray) and not np.isin(value, known).all():
            yield f"a text for every token of {field}"


def _are_stretches(starts: np.ndarray, n: int) -> bool:
    return bool(starts[0] == 0 and starts[-1] == n and (np.diff(starts) >= 0).all())


def _within(value: Any, low: int, high: int) -> bool:
    array = np.asarray(value)
    return array.dtype.kind not in "iu" or not array.size or (int(array.min()) >= low and int(array.max()) < high)
