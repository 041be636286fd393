"""First experiments, for whoever has never patched: each is one click, two prompts that fit the model, and a grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from intravisto_core.sites import Patching, PatchMetric, Site
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.patching.pair import CLEAN, CORRUPT, KIND, PAIRS, Made
from intravisto_ui.patching.pair_list import PAIRS as PAIR_LIST
from intravisto_ui.patching.pair_list import PairLine, write_pairs
from intravisto_ui.session.settings import DEMO
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html
from intravisto_ui.session.workspace import Workspace

RUN, RUN_PAIRS = "patch_run_now", "pairs_run_now"


@dataclass(frozen=True, slots=True)
class Experiment:
    """Two prompts, the tokens that are held against each other, and what to look for."""

    name: str
    title: str
    words: str
    clean: str
    corrupt: str
    target: str
    contrast: str


NAMES = Experiment(
    "names",
    "Who gets the drink?",
    "One name is changed near the end. Follow the column of that name: up to which layer does it hold the difference, "
    "and which heads bring it to the last word?",
    "When Mary and John went to the store, John gave a drink to",
    "When Mary and John went to the store, Mary gave a drink to",
    " Mary",
    " John",
)
AGREEMENT = Experiment(
    "agreement",
    "One key, or many?",
    "Only “keys” and “key” differ, and another noun stands between them and the verb. Where does the number of the "
    "first noun stand before the verb is said?",
    "The keys to the cabinet",
    "The key to the cabinet",
    " are",
    " is",
)
FACT = Experiment(
    "fact",
    "Which capital?",
    "One country takes the place of another. In which layers does it leave the country's name, and where does the city "
    "appear?",
    "Q: What is the capital of Italy? A:",
    "Q: What is the capital of France? A:",
    " Rome",
    " Paris",
)
ENGLISH_FACT = Experiment(
    "fact",
    FACT.title,
    FACT.words,
    "The capital of Italy is the city of",
    "The capital of France is the city of",
    " Rome",
    " Paris",
)
DEMO_EXPERIMENTS = (NAMES, FACT, AGREEMENT)
ENGLISH_EXPERIMENTS = (NAMES, ENGLISH_FACT, AGREEMENT)


def list_experiments(base: Shown) -> tuple[Experiment, ...]:
    """Three that fit the model that is shown."""
    return DEMO_EXPERIMENTS if base.spec.source == DEMO else ENGLISH_EXPERIMENTS


def draw(workspace: Workspace, base: Shown) -> None:
    """The experiments beside each other; a click fills the fields and runs the grid."""
    under = (
        "Each fills in two prompts and runs the grid. What carries the difference between them is what a patch of it "
        "brings back."
    )
    _draw_cards(workspace, base, under, take, words=True)


def draw_pairs(workspace: Workspace, base: Shown) -> None:
    """The same over many pairs of the same pattern."""
    _draw_cards(workspace, base, "Each fills in up to twelve pairs of the same pattern, and runs.", take_pairs)


def _draw_cards(
    workspace: Workspace,
    base: Shown,
    under: str,
    on_click: Callable[[Workspace, Shown, Experiment], None],
    words: bool = False,
) -> None:
    st.html(f'<div class="title"><b>Try one of these</b></div><div class="under">{escape_html(under)}</div>')
    listed = list_experiments(base)
    for column, one in zip(st.columns(len(listed)), listed, strict=True):
        with column.container(border=True, key=f"experiment_{one.name}", height="stretch"):
            head, text = escape_html(one.title), escape_html(one.words if words else f"{one.clean} | {one.corrupt}")
            st.html(f'<div class="title"><b>{head}</b></div><div class="under">{text}</div>')
            name = f"patch_try_{one.name}"
            st.button("Try it", key=name, width="stretch", on_click=on_click, args=(workspace, base, one))


def take_pairs(workspace: Workspace, base: Shown, one: Experiment) -> None:
    """Fill the list with pairs like an experiment's, which the page then runs."""
    lines = write_pairs(base.engine, PairLine(one.clean, one.corrupt, one.target, one.contrast))
    set_kept(of=base.text_id, **{PAIR_LIST: "\n".join(line.write() for line in lines)})
    workspace.options[RUN_PAIRS] = True


def take(workspace: Workspace, base: Shown, one: Experiment) -> None:
    """Fill the fields with an experiment, which the page then runs."""
    set_kept(
        **{KIND: str(Made.TYPED), "patch_places": str(Site.RESID_PRE), "patch_heads": str(Site.Z)},
        patch_direction=str(Patching.DENOISE),
        patch_metric=str(PatchMetric.LOGIT_DIFF),
        patch_chat=False,
    )
    typed = {CLEAN: one.clean, CORRUPT: one.corrupt, "patch_target": one.target, "patch_contrast": one.contrast}
    set_kept(of=base.text_id, **typed)
    workspace.options.pop(PAIRS, None)
    workspace.options[RUN] = True
