"""The attention page: one picture of four linked slices; what comes into sight is computed and sent, no more."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import streamlit as st

from intravisto_core.figures.web.attention_payload import PageParts, attention_payload, fits_cube, steer_packet
from intravisto_core.records import HeadTargets, Sinks
from intravisto_core.request import HeadTargetsView
from intravisto_core.sites import AttentionDivision, Capability, SinkHandling
from intravisto_ui.attention import actions, export, packets
from intravisto_ui.attention.sight import Sight, find_sight
from intravisto_ui.parts import components, problems, sink_switch, template_fold
from intravisto_ui.parts.attention_start import GOAL
from intravisto_ui.parts.frame import Headline, describe_selection, draw_strip
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.session.edit_stack import Look
from intravisto_ui.session.selection import Report
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

QUESTION = "Where does each token look?"
SLOT = "attention"


def draw_body(workspace: Workspace, shown: Shown, headline: Headline) -> None:
    """Everything under the frame. The text of the picture is the page's token strip."""
    draw_strip(workspace, shown, tokens=False)
    template_fold.draw_switch(shown)
    line = headline.draw(describe_selection(workspace, shown))
    actions.follow(workspace)
    shown.engine.model.require(Capability.PATTERN)
    sight = find_sight(workspace, shown)
    export.draw_menu(line, workspace, shown, sight)
    payload = read_payload(workspace, shown, sight)
    with st.container(key="attention_picture"):
        components.draw_attention(
            payload,
            key="attention_page",
            on_select=workspace.select,
            on_sight=lambda seen: take_sight(workspace, shown, seen),
            on_act=lambda act: actions.take(workspace, shown, act),
        )
    with st.container(key="attention_packets"):
        _send_packets(workspace, shown, sight)


def read_payload(workspace: Workspace, shown: Shown, sight: Sight) -> bytes:
    """The page's own packet, made once for what it shows."""
    base, aside = find_compared(workspace, shown), sight.shown_sinks
    key = ("attention payload", shown.trace.id, base and base.trace.id, aside)
    return workspace.keep(key, lambda: _make_payload(workspace, shown, base, aside))


def find_compared(workspace: Workspace, shown: Shown) -> Shown | None:
    """The baseline, where the switch of runs stands at the difference."""
    base = workspace.base
    edited = base is not None and shown.trace.id != base.trace.id
    return base if edited and workspace.edits.look == Look.DIFFERENCE else None


def _make_payload(workspace: Workspace, shown: Shown, base: Shown | None, aside: tuple[int, ...]) -> bytes:
    card, exact = shown.engine.model, shown.engine.model.capabilities[Capability.HEADS].ok
    # asked for first: the sinks are found on the way
    targets = _read_targets(workspace, shown, aside)
    parts = PageParts(
        sinks=sink_switch.find_sinks(workspace, shown),
        before=None if base is None else _read_targets(workspace, base, aside),
        sinks_before=None if base is None else _find_sinks(workspace, base),
        links=True,
        cube=fits_cube(card.n_layers, card.n_heads, len(shown.trace.tokens)),
        strengths=tuple(AttentionDivision) if exact else (AttentionDivision.WEIGHTS,),
    )
    return attention_payload(targets, parts)


def _find_sinks(workspace: Workspace, shown: Shown) -> Sinks | None:
    return sink_switch.find_sinks(workspace, shown)


def _read_targets(workspace: Workspace, shown: Shown, aside: tuple[int, ...]) -> HeadTargets:
    return workspace.read_view(shown.engine, HeadTargetsView(shown.trace.id, shown_sinks=aside), SLOT)


def take_sight(workspace: Workspace, shown: Shown, seen: Report) -> None:
    """What the picture says is in sight: remembered for the next visit, and what it lacks is sent."""
    if not seen or seen.get("rev") != shown.trace.id:
        return
    workspace.options["attention_sight"] = dict(seen)
    handling = str(seen.get("sinks"))
    if handling in list(SinkHandling):
        set_kept(**{sink_switch.KEY: SinkHandling(handling)})


def _send_packets(workspace: Workspace, shown: Shown, sight: Sight) -> None:
    """What the picture needs, each in a component of its own, so that nothing is sent twice."""
    components.draw_packet(_steer(workspace, shown, sight), key="attention_steer")
    for slot, packet in packets.make_packets(workspace, shown, find_compared(workspace, shown), sight):
        with problems.guard():
            components.draw_packet(packet(), key=f"attention_{slot}")


def _steer(workspace: Workspace, shown: Shown, sight: Sight) -> bytes:
    """The selection of all pages; where a link led, or where the page was left."""
    selection: dict[str, Any] = asdict(workspace.selection)
    asked = workspace.options.get(GOAL)
    goal = {"n": asked["n"], "state": sight.state | asked["state"]} if asked else {"n": 0, "state": sight.state}
    folds = [asdict(fold) for fold in template_fold.find_folds(workspace, shown)]
    return steer_packet(shown.trace.id, selection, goal, folds)
