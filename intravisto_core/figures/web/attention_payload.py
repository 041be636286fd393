"""What the attention page in the browser is given: its own packet, and those that answer what comes into sight.

A packet's name is the trace's id and what it holds: `cube weights`, `rows L17H3 weights`, `query 12 weights`,
`patterns hide`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from intravisto_core.figures.text import printable
from intravisto_core.figures.web.attention_codes import encode_rises, encode_sizes
from intravisto_core.figures.web.payload import pack_arrays
from intravisto_core.figures.web.strip import strip_tokens
from intravisto_core.records import (
    Attention,
    HeadComposition,
    HeadPatterns,
    HeadTargets,
    HeadTypes,
    Sinks,
    SparseAttention,
    Token,
)
from intravisto_core.records.attention import MEAN_LAYER
from intravisto_core.sites import AttentionDivision

CUBE_BYTES = 3_000_000
THOUSANDS = 1000  # the unit of scores, which may be positions
# a key of a row has an entry from this share of what sinks leave of it; means are flatter
LEAST, LEAST_OF_MEAN = 0.005, 0.002
# of one query in all heads: smaller weights have no entry
QUERY_LEAST = 0.005
# heads below that are listed for each of Q, K and V
COMPOSED = 3

_TYPES = (
    ("previous", "previous token", "Attention to the token before"),
    ("duplicate", "same token", "Attention to the same token, where it was said first"),
    ("induction", "induction", "Attention to the token that came after the same token, when it was said first"),
    ("first", "position 0", "Attention to the first position"),
    ("copying", "copying", "Whether what the head moves makes the same token likelier, by its weights alone: −1 to 1"),
)
_ON_TEXT = (
    ("entropy", "entropy", "How spread the head's attention is, a mean over queries: 0 is one key", "nats"),
    ("distance", "distance", "How far back the head looks, a mean in positions, sinks aside", "positions"),
)


@dataclass(frozen=True, slots=True)
class PageParts:
    """What beside the targets of heads the page knows.

    sinks: what was found; None: as the targets had them. before: the targets of the baseline, where two runs are
    compared. start: what is chosen at first, as `attention_state.js` names
    it. links: whether the page has an engine behind it. cube: whether all heads come in one packet. packets: those that
    come with the page. offered: numbers of the heads that the page holds, all layers counted through; None is all.
    files: of heads that stand in another file, the name of it. strengths: those that can be chosen.
    """

    sinks: Sinks | None = None
    before: HeadTargets | None = None
    sinks_before: Sinks | None = None
    start: Mapping[str, Any] = field(default_factory=dict)
    links: bool = False
    cube: bool = True
    packets: Sequence[bytes] = ()
    offered: Sequence[int] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    strengths: Sequence[AttentionDivision] = tuple(AttentionDivision)


def fits_cube(n_layers: int, n_heads: int, length: int) -> bool:
    """Whether all weights of all heads are sent at once: then nothing waits for the server."""
    return n_layers * n_heads * length * (length + 1) <= CUBE_BYTES


def attention_payload(targets: HeadTargets, parts: PageParts) -> bytes:
    """The page's own packet: the text, and what every head does on the whole in 18 bytes a head."""
    n_layers, n_heads, _ = targets.shares.shape
    scores, values = _list_scores(targets)
    arrays = {"scores": encode_sizes(values / THOUSANDS), "targets": encode_sizes(targets.shares)}
    if np.any(targets.learned > 0):
        arrays["learned"] = encode_sizes(targets.learned)
    if parts.before is not None:
        arrays["targetsBefore"] = encode_sizes(parts.before.shares)
    coded = dict.fromkeys(arrays, 1) | {"scores": THOUSANDS}
    places = []
    if parts.packets:
        starts = np.concatenate([[0], np.cumsum([len(p) + -len(p) % 4 for p in parts.packets])])
        places = [{"from": int(s), "size": len(p)} for s, p in zip(starts, parts.packets, strict=False)]
        joined = b"".join(p + b"\0" * (-len(p) % 4) for p in parts.packets)
        arrays["packets"] = np.frombuffer(joined, "u1")
    header: dict[str, object] = {
        "rev": targets.trace,
        "coded": coded,
        "model": printable(targets.model),
        "tokens": strip_tokens(targets.tokens),
        "prompt": sum(t.is_prompt for t in targets.tokens),
        "layers": n_layers,
        "heads": n_heads,
        "map": True,
        "classes": [{"id": str(c), "name": c.label, "help": c.help} for c in targets.classes],
        "scores": scores,
        "found": _sink_lists(targets, parts.sinks),
        "learned": bool(np.any(targets.learned > 0)),
        "cube": parts.cube,
        "links": parts.links,
        "strengths": [str(s) for s in parts.strengths],
        "start": dict(parts.start),
        "packets": places,
        "offered": None if parts.offered is None else list(parts.offered),
        "files": dict(parts.files),
        "against": "",
    }
    if parts.before is not None:
        header |= {
            "against": parts.before.trace,
            "foundBefore": _sink_lists(parts.before, parts.sinks_before),
            "common": count_compared(targets.tokens, parts.before.tokens),
            "other": list_other(targets.tokens, parts.before.tokens),
        }
    return pack_arrays(header, arrays)


def plain_payload(found: SparseAttention) -> bytes:
    """The packet of a page that holds one head, or one mean, and no map."""
    name = "all" if found.layer == MEAN_LAYER else f"L{found.layer}"
    name += f"H{found.heads[0]}" if found.layer != MEAN_LAYER and len(found.heads) == 1 else ""
    # sinks were shown or set aside when the record was made: the page has no switch of its own
    words = f"rows {name} {found.strength}" + (f" {found.sinks}" if name == "all" else "")
    packet = rows_packet(words, found)
    header: dict[str, object] = {
        "rev": found.trace,
        "model": printable(found.model),
        "tokens": strip_tokens(found.tokens),
        "prompt": sum(t.is_prompt for t in found.tokens),
        "layers": max(1, found.layer + 1),
        "heads": max(found.heads, default=0) + 1,
        "map": False,
        "classes": [],
        "scores": [],
        "found": [[] for _ in range(max(1, found.layer + 1))],
        "learned": False,
        "cube": False,
        "links": False,
        "strengths": [str(found.strength)],
        "start": {
            "heads": name,
            "strength": str(found.strength),
            "sinks": str(found.sinks),
            "query": sum(t.is_prompt for t in found.tokens) - 1,
        },
        "packets": [{"from": 0, "size": len(packet)}],
        "offered": None,
        "files": {},
        "against": "",
    }
    return pack_arrays(header, {"packets": np.frombuffer(packet, "u1")})


def count_compared(first: Sequence[Token], second: Sequence[Token]) -> int:
    """How many positions of two texts are held against each other: all where they are equally long, else those before
    the first token that differs.
    """
    same = [a.id == b.id for a, b in zip(first, second, strict=False)]
    return same.index(False) if False in same and len(first) != len(second) else len(same)


def list_other(first: Sequence[Token], second: Sequence[Token]) -> list[list[Any]]:
    """The positions that are compared although the second text has another token there, and which one."""
    n = count_compared(first, second)
    return [[i, printable(b.shown)] for i, (a, b) in enumerate(zip(first[:n], second[:n], strict=True)) if a.id != b.id]


def _sink_lists(targets: HeadTargets, sinks: Sinks | None) -> list[list[int]]:
    found = targets.sink_positions if sinks is None else sinks.positions
    return [list(positions) for positions in found]


def _list_scores(targets: HeadTargets) -> tuple[list[dict[str, str]], np.ndarray]:
    """The scores of heads on this text, in words, and their numbers score by score."""
    named = [{"id": n, "name": w, "help": f"{h}.", "unit": u, "of": "text"} for n, w, h, u in _ON_TEXT]
    return named, np.stack([getattr(targets, n) for n, *_ in _ON_TEXT])


def types_packet(found: HeadTypes, trace: str) -> bytes:
    """The scores of heads on repeated random tokens, in words, and their numbers score by score."""
    named = [
        {"id": n, "name": w, "help": f"{h}.", "unit": "score" if n == "copying" else "share", "of": "model"}
        for n, w, h in _TYPES
    ]
    values = np.stack([getattr(found, n) for n, *_ in _TYPES])
    header: dict[str, object] = {"name": f"{trace} types", "scores": named, "coded": {"scores": THOUSANDS}}
    return pack_arrays(header, {"scores": encode_sizes(values / THOUSANDS)})


def cube_packet(found: Attention, n_heads: int) -> bytes:
    """All heads of a short text: lower triangles, row by row."""
    length = len(found.tokens)
    rows, columns = np.tril_indices(length)
    header = {
        "name": f"{found.trace} cube {found.strength}",
        "length": length,
        "heads": n_heads,
        "signed": found.strength is AttentionDivision.PROJECTION,
    }
    return pack_arrays(header, {"codes": encode_sizes(found.weights[:, rows, columns])})


def rows_packet(name: str, found: SparseAttention) -> bytes:
    """The rows of one head, or of a mean. Where the record marks sinks, the page shows or hides them by itself.

    rest: what has no entry beside sinks; sinkRest: what of sinks has none; hidden: what sinks have.
    """
    aside = found if found.sink_keys is None else found.without_sinks()
    header = {
        "name": f"{found.trace} {name}",
        "length": len(found.tokens),
        "layer": found.layer,
        "least": found.least,
        "whole": found.sink_keys is not None,
        "signed": found.strength is AttentionDivision.PROJECTION,
        "coded": {"rest": 1, "sinkRest": 1},
    }
    arrays = {
        "counts": np.diff(found.starts).astype("<u4"),
        "rises": encode_rises(found.starts, found.keys),
        "codes": encode_sizes(found.weights),
        "hidden": (found.hidden if found.on_sinks is None else found.on_sinks).astype("<f4"),
        "rest": encode_sizes(aside.rest),
        "sinkRest": encode_sizes(found.rest - aside.rest),
    }
    return pack_arrays(header, arrays)


def query_packet(found: Attention) -> bytes:
    """One query in all heads, by its larger keys."""
    weights = found.weights[:, 0]
    kept = np.abs(weights) >= QUERY_LEAST
    head, place = np.nonzero(kept)
    starts = np.searchsorted(head, np.arange(len(weights) + 1))
    header = {"name": f"{found.trace} query {int(found.queries[0])} {found.strength}", "least": QUERY_LEAST}
    arrays = {
        "counts": np.diff(starts).astype("<u4"),
        "rises": encode_rises(starts, found.keys[place]),
        "codes": encode_sizes(weights[head, place]),
    }
    return pack_arrays(header, arrays)


def patterns_packet(found: HeadPatterns) -> bytes:
    """A small picture of every head."""
    side = len(found.bounds) - 1
    return pack_arrays(
        {"name": f"{found.trace} patterns {found.sinks}", "side": side}, {"pictures": found.pictures.astype("u1")}
    )


def composition_packet(found: HeadComposition, trace: str) -> bytes:
    """The heads below that one head can read most by its weights: by its queries, keys and values."""
    lines = []
    for way, values in (("Q", found.q), ("K", found.k), ("V", found.v)):
        flat = np.nan_to_num(values.ravel(), nan=-np.inf)
        for i in np.argsort(-flat, kind="stable")[:COMPOSED].tolist():
            layer, head = divmod(i, values.shape[1])
            lines.append({"way": way, "head": f"L{layer}H{head}", "value": round(float(values[layer, head]), 4)})
    name = f"{trace} composition L{found.layer}H{found.head}"
    return pack_arrays({"name": name, "lines": lines, "chance": round(float(found.chance), 4)}, {})


def refusal_packet(trace: str, name: str, why: str) -> bytes:
    """What could not be computed, in words."""
    return pack_arrays({"name": f"{trace} {name}", "error": printable(why)}, {})


def steer_packet(
    trace: str, selection: Mapping[str, Any], goal: Mapping[str, Any], folds: Sequence[Mapping[str, Any]] = ()
) -> bytes:
    """What the page of that trace is told: the selection of all pages; goal: {n, state}, where a link of another page
    led, or where the page was left; folds: {start, stop, words}, positions of the template that the text leaves out.
    """
    header: dict[str, object] = {
        "name": "steer",
        "rev": trace,
        "selection": selection,
        "goal": goal,
        "folds": list(folds),
    }
    return pack_arrays(header, {})
