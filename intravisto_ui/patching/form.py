"""What a grid is asked for: two prompts, two tokens, which places and heads, which way, by which measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError
from intravisto_core.request import PatchingRequest
from intravisto_core.sites import BlockKind, Patching, PatchMetric, Site
from intravisto_ui.parts import token_field
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.patching.pair import Pair, draw_pair, draw_tokens, is_chat
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import plural
from intravisto_ui.session.workspace import Workspace

NOTHING = "none"
PLACES = {
    str(Site.RESID_PRE): "stream before",
    str(Site.RESID_MID): "stream between",
    str(Site.RESID_POST): "stream after",
    str(Site.ATTN_OUT): "attention output",
    str(Site.MLP_OUT): "MLP output",
    NOTHING: "no places",
}
HEADS = {
    str(Site.Z): "outputs",
    str(Site.Q): "queries",
    str(Site.K): "keys",
    str(Site.V): "values",
    str(Site.PATTERN): "patterns",
    NOTHING: "no heads",
}
PLACES_HELP = (
    "Whose vectors are put in, layer by position: the stream before each layer, between its attention and MLP, or "
    "after it; or what one of these two wrote. The stream holds all that was written so far."
)
HEADS_HELP = (
    "Which part of each head is put in, layer by head, at every chosen position at once. The output is what it writes; "
    "queries and keys say where it looks, values what it takes from there. Keys and values are of the heads that hold "
    "them, fewer where heads share."
)
WHERE = {"differing": "where prompts differ on", "last": "at the last position"}
WHERE_HELP = (
    "Where each head is patched. The last position alone hides heads that act earlier: they are patched at every "
    "position from the first difference on unless you choose otherwise."
)
DIRECTION_HELP = "  \n".join(f"**{way.label}**: {way.help}" for way in Patching)
METRIC_HELP = "  \n".join(f"**{metric.label}**: {metric.help}" for metric in PatchMetric)
TARGET_HELP = "The token that the clean prompt's answer begins with. Empty: its most probable token."
CONTRAST_HELP = "The token that it is held against, best the corrupt prompt's answer. Empty: the runner-up."


@dataclass(frozen=True, slots=True)
class Form:
    """What the fields ask for. requests: none where they cannot be asked for; then `problem` says why."""

    pair: Pair
    requests: tuple[PatchingRequest, ...]
    problem: str
    line: DeltaGenerator


def draw_form(workspace: Workspace, base: Shown) -> Form:
    """The fields, and what they ask for; gives the line that the Run button stands in."""
    with st.container(key="patch_form"):
        pair, line = draw_pair(workspace, base)
        options = st.container(horizontal=True, vertical_alignment="top", gap="small", key="patch_options")
        chosen = _draw_options(options, base) | {"where": _draw_more(line, base)}
    requests: tuple[PatchingRequest, ...] = ()
    problem = pair.problem
    if not problem:
        try:
            requests = build_requests(workspace, base, pair, chosen)
            problem = "" if requests else "Choose places, heads, or both."
        except IntravistoError as error:
            problem = str(error)
    return Form(pair, requests, problem, line)


def draw_prompts(workspace: Workspace, base: Shown, form: Form) -> None:
    """The tokens of both prompts, where no grid shows them as its header."""
    draw_tokens(workspace, base, form.pair)


def _draw_options(line: DeltaGenerator, base: Shown) -> dict[str, Any]:
    engine, of = base.engine, base.text_id
    chosen: dict[str, Any] = {}
    for name, label, placeholder, help in (
        ("target", "Target", "clean prompt's answer", TARGET_HELP),
        ("contrast", "Rather than", "its runner-up", CONTRAST_HELP),
    ):
        with line.container(width=176, key=f"patch_{name}_box"):
            chosen[name] = token_field.draw(
                st.container(gap=None), engine, label, key=f"patch_{name}", placeholder=placeholder, help=help, of=of
            )
    parallel = engine.model.block == BlockKind.PARALLEL
    places = {site: name for site, name in PLACES.items() if not (parallel and site == Site.RESID_MID)}
    chosen["places"] = draw_named_choice(
        line, "Places", "patch_places", places, PLACES_HELP, str(Site.RESID_PRE), width=172
    )
    chosen["heads"] = draw_named_choice(line, "Heads", "patch_heads", HEADS, HEADS_HELP, str(Site.Z), width=146)
    directions = {str(way): way.label for way in Patching}
    chosen["direction"] = draw_named_choice(
        line, "Direction", "patch_direction", directions, DIRECTION_HELP, str(Patching.DENOISE), width=112
    )
    metrics = {str(metric): metric.label for metric in PatchMetric}
    chosen["metric"] = draw_named_choice(
        line, "Measure", "patch_metric", metrics, METRIC_HELP, str(PatchMetric.LOGIT_DIFF), width=148
    )
    return chosen


def _draw_more(line: DeltaGenerator, base: Shown) -> str:
    """What is seldom changed; gives where heads are patched."""
    with line.popover("more", key="patch_more"):
        where = draw_named_choice(st.container(), "Heads are patched", "patch_where", WHERE, WHERE_HELP, "differing")
        _draw_chat(base)
    return where


def _draw_chat(base: Shown) -> None:
    if base.engine.model.chat:
        draw_kept(
            st.checkbox,
            "Both prompts are what a user says",
            key="patch_chat",
            default=bool(base.request.chat),
            help="Puts the model's chat template around both prompts.",
        )


def build_requests(
    workspace: Workspace, base: Shown, pair: Pair, chosen: dict[str, Any]
) -> tuple[PatchingRequest, ...]:
    """The grid by place and the one by head, as far as they are wanted.

    Raises:
        IntravistoError: something does not fit.
    """
    found = []
    for site in (chosen["places"], chosen["heads"]):
        if site == NOTHING:
            continue
        what = Site(site)
        found.append(
            PatchingRequest(
                (pair.clean,),
                (pair.corrupt,) if isinstance(pair.corrupt, str) else pair.corrupt,
                (chosen["target"] or None,),
                (chosen["contrast"] or None,),
                what,
                Patching(chosen["direction"]),
                positions=(-1,) if what.per_head and chosen["where"] == "last" else None,
                metric=PatchMetric(chosen["metric"]),
                alignment=pair.alignment,
                add_special_tokens=base.request.add_special_tokens,
                chat=is_chat(workspace, base),
            )
        )
    return tuple(found)


def describe_cost(base: Shown, form: Form) -> str:
    """How many cells are to be run."""
    model, pair = base.engine.model, form.pair
    n = len(pair.clean_tokens)
    draws = getattr(pair.corrupt, "draws", 1)
    cells, spared = 0, 0
    for asked in form.requests:
        if asked.by_head:
            cells += model.n_layers * (model.n_kv_heads if asked.what in (Site.K, Site.V) else model.n_heads)
        else:
            cells += model.n_layers * (n - pair.first)
            spared += model.n_layers * pair.first
    words = plural(cells * draws, "cell")
    return f"{words} to run" + (f"; {spared:,} skipped, equal in both" if spared else "")
