"""The tree of runs: each run with edits is a node under the one it was made from; return to any, compare any two."""

from __future__ import annotations

import streamlit as st

from intravisto_core.request import CompareView, in_words
from intravisto_ui.injection import results
from intravisto_ui.session.edit_stack import EditRun
from intravisto_ui.session.text import plural
from intravisto_ui.session.workspace import Workspace

SHORT = 64


def draw(here: Workspace) -> None:
    """The nodes, indented; a click looks at one."""
    runs = here.edits.runs
    if not runs:
        return
    st.html(f'<div class="cap">{plural(len(runs), "run")} with edits</div>')
    _node(here, 0, "baseline", "", 0)
    _below(here, 0, 1)


def _below(here: Workspace, parent: int, depth: int) -> None:
    for node in here.edits.runs.values():
        if node.parent == parent:
            _node(here, node.id, _short(_step(here, node)), _answer(here, node), depth)
            _below(here, node.id, depth + 1)


def _node(here: Workspace, id: int, words: str, answer: str, depth: int) -> None:
    current = here.edits.current == id
    bullet = "● " if current else "○ "
    label = "\u2003" * min(depth, 6) + bullet + words.replace("[", "\\[") + (f" → {answer}" if answer else "")
    st.button(label, key=f"node_{id}", type="tertiary", on_click=here.edits.go, args=(id,), width="stretch")


def _step(here: Workspace, node: EditRun) -> str:
    """What the run has that the one it was made from had not (+), and what it lacks (−); of a first run all."""
    parent = here.edits.runs.get(node.parent)
    if parent is None:
        return node.words()
    own, before = ([card.what for card in each.cards] for each in (node, parent))
    steps = [f"+ {in_words(what)}" for what in own if what not in before]
    steps += [f"− {in_words(what)}" for what in before if what not in own]
    return "; ".join(steps) or f"in another order: {node.words()}"


def _short(words: str) -> str:
    return words if len(words) <= SHORT else words[: SHORT - 1] + "…"


def _answer(here: Workspace, node: EditRun) -> str:
    trace = node.free or node.held
    if trace is None or here.base is None:
        return "failed" if node.error else "…"
    start = here.base.trace.prompt_length
    return "".join(t.shown for t in trace.tokens[start : start + 4])


def compare(here: Workspace) -> None:
    """Two nodes of the tree against each other."""
    base = here.base
    nodes = {0: "baseline"} | {n.id: _short(n.words()) for n in here.edits.runs.values() if n.held is not None}
    if base is None or len(nodes) < 3:
        return
    with st.expander("Compare two runs"):
        names = list(nodes)
        first, second = (
            place.selectbox(label, names, index=index, format_func=nodes.__getitem__, key=f"compare_{label}")
            for place, label, index in zip(
                st.columns(2), ("this", "with"), (len(names) - 2, len(names) - 1), strict=True
            )
        )
        if first == second:
            st.html('<div class="hint">Choose two different runs.</div>')
            return
        ids = [base.trace.id if i == 0 else here.edits.runs[i].held.id for i in (first, second)]
        view = CompareView(*ids, position=base.trace.prompt_length - 1)
        results.headline(results.comparison(here, view))
