"""What a grid is asked for: two prompts, two tokens, which places and heads, which way, by which measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError, RequestError
from intravisto_core.request import PatchingRequest, PathPatchingRequest
from intravisto_core.sites import BlockKind, Patching, PatchMetric, Site
from intravisto_ui.parts import token_field
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.patching import path_form
from intravisto_ui.patching.pair import Pair, draw_pair, draw_tokens, is_chat
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import plural
from intravisto_ui.session.workspace import Workspace

NOTHING, PATH = "none", "path"
Asked = PatchingRequest | PathPatchingRequest
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
    PATH: "one way",
    NOTHING: "no heads",
}
PLACES_HELP = (
    "Whose vectors are put in, layer by position: the stream before each layer, between its attention and MLP, or "
    "after it; or what one of these two wrote. The stream holds all that was written so far."
)
HEADS_HELP = (
    "Which part of each head is put in, layer by head, at every chosen position at once. The output is what it writes; "
    "queries and keys say where it looks, values what it takes from there. Keys and values are of the heads that hold "
    "them, fewer where heads share.  \n**one way** (path patching): what a head writes reaches one place, the "
    "logits or another head; all else stays as it was."
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
    requests: tuple[Asked, ...]
    problem: str
    line: DeltaGenerator


@dataclass(frozen=True, slots=True)
class Values:
    """Which values are put in, which way, and what is measured. way: of path patching. last: heads at the last position
    alone.
    """

    places: str
    heads: str
    direction: Patching
    metric: PatchMetric
    last: bool = False
    way: path_form.Way | None = None


def draw_form(workspace: Workspace, base: Shown) -> Form:
    """The fields, and what they ask for; gives the line that the Run button stands in."""
    with st.container(key="patch_form"):
        pair, line = draw_pair(workspace, base)
        options = st.container(horizontal=True, vertical_alignment="top", gap="small", key="patch_options")
        tokens = _draw_tokens(options, base)
        values = draw_values(options, line, base)
    requests: tuple[Asked, ...] = ()
    problem = pair.problem
    if not problem:
        shared = {
            "clean": (pair.clean,),
            "corrupt": (pair.corrupt,) if isinstance(pair.corrupt, str) else pair.corrupt,
            "target": (tokens[0] or None,),
            "contrast": (tokens[1] or None,),
            "alignment": pair.alignment,
            "add_special_tokens": base.request.add_special_tokens,
            "chat": is_chat(workspace, base),
        }
        try:
            requests = build_requests(values, shared)
        except IntravistoError as error:
            problem = str(error)
    return Form(pair, requests, problem, line)


def draw_prompts(workspace: Workspace, base: Shown, form: Form) -> None:
    """The tokens of both prompts, where no grid shows them as its header."""
    draw_tokens(workspace, base, form.pair)


def _draw_tokens(line: DeltaGenerator, base: Shown) -> list[str]:
    """Target and contrast as they are typed."""
    typed = []
    for name, label, placeholder, help in (
        ("target", "Target", "its top token", TARGET_HELP),
        ("contrast", "Rather than", "its runner-up", CONTRAST_HELP),
    ):
        with line.container(width=176, key=f"patch_{name}_box"):
            box, key = st.container(gap=None), f"patch_{name}"
            typed.append(
                token_field.draw(box, base.engine, label, key=key, placeholder=placeholder, help=help, of=base.text_id)
            )
    return typed


def draw_values(line: DeltaGenerator, more: DeltaGenerator, base: Shown) -> Values:
    """Which values are put in. line: of the fields; more: of the button for what is seldom changed."""
    parallel = base.engine.model.block == BlockKind.PARALLEL
    names = {site: name for site, name in PLACES.items() if not (parallel and site == Site.RESID_MID)}
    places = draw_named_choice(line, "Places", "patch_places", names, PLACES_HELP, str(Site.RESID_PRE), width=172)
    heads = draw_named_choice(line, "Heads", "patch_heads", HEADS, HEADS_HELP, str(Site.Z), width=146)
    directions = {str(way): way.label for way in Patching}
    direction = draw_named_choice(
        line, "Direction", "patch_direction", directions, DIRECTION_HELP, str(Patching.DENOISE), width=112
    )
    metrics = {str(metric): metric.label for metric in PatchMetric}
    metric = draw_named_choice(
        line, "Measure", "patch_metric", metrics, METRIC_HELP, str(PatchMetric.LOGIT_DIFF), width=148
    )
    way = path_form.draw(base) if heads == PATH else None
    with more.popover("more", key="patch_more"):
        where = draw_named_choice(st.container(), "Heads are patched", "patch_where", WHERE, WHERE_HELP, "differing")
        _draw_chat(base)
    return Values(places, heads, Patching(direction), PatchMetric(metric), where == "last", way)


def _draw_chat(base: Shown) -> None:
    if base.engine.model.chat:
        draw_kept(
            st.checkbox,
            "Both prompts are what a user says",
            key="patch_chat",
            default=bool(base.request.chat),
            help="Puts the model's chat template around both prompts.",
        )


def build_requests(values: Values, shared: dict[str, Any]) -> tuple[Asked, ...]:
    """The grid by place and the one by head, as far as they are wanted. shared: prompts and tokens.

    Raises:
        IntravistoError: something does not fit.
    """
    found: list[Asked] = []
    shared = shared | {"direction": values.direction, "metric": values.metric}
    positions = (-1,) if values.last else None
    if values.places != NOTHING:
        found.append(PatchingRequest(**shared, what=Site(values.places)))
    if values.way is not None:
        found.append(PathPatchingRequest(**shared, positions=positions, **values.way.read()))
    elif values.heads != NOTHING:
        found.append(PatchingRequest(**shared, what=Site(values.heads), positions=positions))
    if not found:
        raise RequestError("places, heads: expected one of them at least; got none")
    return tuple(found)


def count_cells(base: Shown, asked: Asked, length: int) -> int:
    """How many cells a grid has in one prompt of so many tokens."""
    model = base.engine.model
    if not asked.by_head:
        return model.n_layers * length
    if isinstance(asked, PatchingRequest):
        return model.n_layers * (model.n_kv_heads if asked.what in (Site.K, Site.V) else model.n_heads)
    top = model.n_layers if isinstance(asked.receiver, str) else asked.receiver[0] % model.n_layers
    return top * model.n_heads if asked.sender is None else len(asked.sender)


def describe_cost(base: Shown, form: Form) -> str:
    """How many cells are to be run."""
    pair = form.pair
    n, draws = len(pair.clean_tokens), getattr(pair.corrupt, "draws", 1)
    cells = sum(count_cells(base, asked, n - pair.first) for asked in form.requests)
    spared = sum(base.engine.model.n_layers * pair.first for asked in form.requests if not asked.by_head)
    words = plural(cells * draws, "cell")
    return f"{words} to run" + (f"; {spared:,} skipped, equal in both" if spared else "")
