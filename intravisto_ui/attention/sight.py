"""What the attention page has in sight: told by its script, remembered from visit to visit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from intravisto_core.figures.web.attention_payload import fits_cube
from intravisto_core.sites import SinkHandling
from intravisto_ui.parts import sink_switch
from intravisto_ui.parts.attention_start import GOAL
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

KEPT = "attention_sight"
MOST_NAMES = 24
HEADS = re.compile(r"(all|L\d+(H\d+)?(\+L\d+(H\d+)?)*)")


@dataclass(frozen=True, slots=True)
class Sight:
    """state: the script's own fields, for the next visit. names: of the packets that are needed now.

    shown_sinks: positions that count as others do although they were found to be sinks.
    """

    state: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    shown_sinks: tuple[int, ...] = ()


def find_sight(workspace: Workspace, shown: Shown) -> Sight:
    """What is in sight; at first the text's own start: the selected position, the mean of all heads."""
    seen: Mapping[str, Any] = workspace.options.get(KEPT) or {}
    length = len(shown.trace.tokens)
    here = seen.get("rev") == shown.trace.id
    state = {name: value for name, value in seen.items() if name not in ("rev", "missing", "needed")}
    handling = workspace.options.get(sink_switch.KEY, SinkHandling.HIDE)
    state |= {"sinks": str(handling)}
    if not here:
        # another text: what is chosen of heads and options stays, what names places of the text does not
        position = workspace.selection.position
        start = shown.trace.prompt_length - 1 if position is None else position
        state |= {"query": start, "key": start, "lockQuery": False, "lockKey": False, "link": None, "cut": None}
        state |= {"shownSinks": []}
    if not _exists(str(state.get("heads", "all")), shown):
        state["heads"] = "all"
    names = tuple(map(str, seen.get("needed", ())))[:MOST_NAMES] if here else ()
    aside = tuple(sorted(int(p) for p in state.get("shownSinks") or () if 0 <= int(p) < length))
    return Sight(state, names or first_names(workspace, shown, state), aside)


def first_names(workspace: Workspace, shown: Shown, state: Mapping[str, Any]) -> tuple[str, ...]:
    """The packets that the picture surely needs, before its script has asked."""
    card, strength = shown.engine.model, state.get("strength", "weights")
    if fits_cube(card.n_layers, card.n_heads, len(shown.trace.tokens)):
        return (f"cube {strength}", "types")
    goal = (workspace.options.get(GOAL) or {}).get("state", {})
    heads = str(goal.get("heads") or state.get("heads") or "all")
    if heads == "all":
        return (f"rows all {strength} {state['sinks']}", "types")
    return (*(f"rows {name} {strength}" for name in heads.split("+")), "types")


def _exists(heads: str, shown: Shown) -> bool:
    card = shown.engine.model
    if not HEADS.fullmatch(heads):
        return False
    pairs = re.findall(r"L(\d+)(?:H(\d+))?", heads)
    return all(int(layer) < card.n_layers and int(head or 0) < card.n_heads for layer, head in pairs)
