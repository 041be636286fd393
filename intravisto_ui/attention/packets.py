"""The packets of the attention page by their names: each one is the record of a view, packed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from intravisto_core.errors import IntravistoError, NotSavedError, Superseded
from intravisto_core.figures.web.attention_payload import (
    LEAST,
    LEAST_OF_MEAN,
    composition_packet,
    cube_packet,
    patterns_packet,
    query_packet,
    refusal_packet,
    rows_packet,
    types_packet,
)
from intravisto_core.figures.web.attention_why_payload import cut_packet, why_packet
from intravisto_core.records import HeadTypes
from intravisto_core.request import (
    AttentionCutView,
    AttentionScoreView,
    AttentionView,
    HeadCompositionRequest,
    HeadPatternsView,
    SparseAttentionView,
    View,
)
from intravisto_core.sites import AttentionDivision, ScoreEnd, SinkHandling
from intravisto_ui.attention.head_types import read_head_types
from intravisto_ui.attention.sight import Sight
from intravisto_ui.session import jobs
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

MEASURED_AT_ONCE = 3_000_000_000  # parameters of the largest model whose heads are scored without being asked
NOT_SAVED = "The saved run does not hold this. Press Run to load its model."
COMPARED = ("cube", "rows", "query")
HEAD = re.compile(r"L(\d+)(?:H(\d+))?")

Make = Callable[[], bytes]
R = TypeVar("R")


def make_packets(workspace: Workspace, shown: Shown, base: Shown | None, sight: Sight) -> Iterator[tuple[str, Make]]:
    """The place and the making of every packet that is in sight. base: the baseline, where runs are compared."""
    count: dict[str, int] = {}
    for name in sight.names:
        kind = name.partition(" ")[0]
        if kind not in MAKERS:
            continue
        count[kind] = count.get(kind, -1) + 1
        slot = f"{kind}{count[kind]}"
        yield slot, partial(make_packet, workspace, shown, name, sight)
        if base is not None and kind in COMPARED:
            yield f"{slot}_before", partial(make_packet, workspace, base, name, sight)


def make_packet(workspace: Workspace, shown: Shown, name: str, sight: Sight) -> bytes:
    """One packet, made once; where it cannot be made, one that says why."""
    kind, *words = name.split(" ")
    key = ("attention packet", shown.trace.id, name, sight.shown_sinks)
    try:
        return workspace.keep(key, lambda: MAKERS[kind](workspace, shown, name, words, sight.shown_sinks))
    except Superseded:
        raise
    except NotSavedError:
        return refusal_packet(shown.trace.id, name, NOT_SAVED)
    except (IntravistoError, ValueError) as error:
        return refusal_packet(shown.trace.id, name, str(error))


def _compute(workspace: Workspace, shown: Shown, view: View[R], slot: str) -> R:
    """A record; only its packet is kept, which is a tenth of it."""
    return jobs.compute_view(shown.engine, view, workspace.id, slot)


def _make_cube(workspace: Workspace, shown: Shown, name: str, words: list[str], aside: tuple[int, ...]) -> bytes:
    view = AttentionView(shown.trace.id, strength=AttentionDivision.parse(words[0], "strength"))
    return cube_packet(_compute(workspace, shown, view, "attention-cube"), shown.engine.model.n_heads)


def _make_rows(workspace: Workspace, shown: Shown, name: str, words: list[str], aside: tuple[int, ...]) -> bytes:
    layer: int | str = "mean"
    head: int | None = None
    handling = SinkHandling.SHOW
    if words[0] == "all":  # sinks differ from layer to layer: they are set aside before the mean is taken
        handling = SinkHandling.parse(words[2], "sinks")
    else:
        layer, head = _read_head(words[0])
    view = SparseAttentionView(
        shown.trace.id,
        layer,
        "mean" if head is None else head,
        least=LEAST_OF_MEAN if head is None else LEAST,
        strength=AttentionDivision.parse(words[1], "strength"),
        sinks=handling,
        shown_sinks=aside,
        mark_sinks=True,
    )
    return rows_packet(name, _compute(workspace, shown, view, "attention-rows"))


def _make_query(workspace: Workspace, shown: Shown, name: str, words: list[str], aside: tuple[int, ...]) -> bytes:
    strength = AttentionDivision.parse(words[1], "strength")
    view = AttentionView(shown.trace.id, queries=(int(words[0]),), strength=strength)
    return query_packet(_compute(workspace, shown, view, "attention-query"))


def _make_patterns(workspace: Workspace, shown: Shown, name: str, words: list[str], aside: tuple[int, ...]) -> bytes:
    view = HeadPatternsView(shown.trace.id, sinks=SinkHandling.parse(words[0], "sinks"), shown_sinks=aside)
    return patterns_packet(_compute(workspace, shown, view, "attention-patterns"))


def _make_types(workspace: Workspace, shown: Shown, name: str, words: list[str], aside: tuple[int, ...]) -> bytes:
    found = find_types(workspace, shown)
    if found is None:
        return refusal_packet(shown.trace.id, name, "this model is large: its heads are scored by engine.head_types()")
    return types_packet(found, shown.trace.id)


def find_types(workspace: Workspace, shown: Shown) -> HeadTypes | None:
    """The scores of heads on random tokens; None of a large model, whose heads are scored where it is asked for.

    Raises:
        IntravistoError: why there is no record.
    """
    large = shown.engine.model.n_parameters > MEASURED_AT_ONCE
    return None if large else read_head_types(workspace, shown)


def _make_composition(workspace: Workspace, shown: Shown, name: str, words: list[str], aside: tuple[int, ...]) -> bytes:
    layer, head = _read_head(words[0])
    view = HeadCompositionRequest(layer, int(head or 0))
    found = _compute(workspace, shown, view, "attention-composition")
    return composition_packet(found, shown.trace.id)


def _make_why(workspace: Workspace, shown: Shown, name: str, words: list[str], aside: tuple[int, ...]) -> bytes:
    layer, head = _read_head(words[0])
    query, key, against = int(words[1]), int(words[2]), words[3]
    reference = None if against == "none" else int(against) if against.isdecimal() else against
    view = AttentionScoreView(shown.trace.id, layer, int(head or 0), query, key, reference)
    return why_packet(_compute(workspace, shown, view, "attention-why"), name)


def _make_cut(workspace: Workspace, shown: Shown, name: str, words: list[str], aside: tuple[int, ...]) -> bytes:
    layer, head = _read_head(words[0])
    end, part = ScoreEnd.parse(words[3], "end"), " ".join(words[4:])
    view = AttentionCutView(shown.trace.id, layer, int(head or 0), int(words[1]), int(words[2]), part, end)
    return cut_packet(_compute(workspace, shown, view, "attention-cut"), name)


def _read_head(word: str) -> tuple[int, int | None]:
    """`L17H3` as layer and head, `L17` as a layer."""
    match = HEAD.fullmatch(word)
    if match is None:
        raise ValueError(f"{word!r} is no head")
    return int(match[1]), None if match[2] is None else int(match[2])


MAKERS: dict[str, Callable[[Workspace, Shown, str, list[str], tuple[int, ...]], bytes]] = {
    "cube": _make_cube,
    "rows": _make_rows,
    "query": _make_query,
    "patterns": _make_patterns,
    "types": _make_types,
    "composition": _make_composition,
    "why": _make_why,
    "cut": _make_cut,
}
