"""The tree of runs: each run with edits is a node under the one it was made from; return to any, compare any two."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.request import CompareView, in_words
from intravisto_ui.injection import results
from intravisto_ui.session.edit_tree import EditRun
from intravisto_ui.session.question import find_asked_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import plural
from intravisto_ui.session.workspace import Workspace

SHORT = 64


def draw(workspace: Workspace, base: Shown) -> None:
    """The nodes, indented; a click looks at one."""
    runs = workspace.edits.runs
    if not runs:
        return
    st.html(f'<div class="cap">{plural(len(runs), "run")} with edits</div>')
    _draw_node(workspace, 0, "baseline", "", 0)
    _draw_below(workspace, base, 0, 1)


def _draw_below(workspace: Workspace, base: Shown, parent: int, depth: int) -> None:
    for node in workspace.edits.runs.values():
        if node.parent == parent:
            words, answer = _shorten(_describe_step(workspace, node)), _describe_answer(base, node)
            _draw_node(workspace, node.id, words, answer, depth)
            _draw_below(workspace, base, node.id, depth + 1)


def _draw_node(workspace: Workspace, id: int, words: str, answer: str, depth: int) -> None:
    bullet = "● " if workspace.edits.current == id else "○ "
    label = "\u2003" * min(depth, 6) + bullet + words.replace("[", "\\[") + (f" → {answer}" if answer else "")
    st.button(label, key=f"node_{id}", type="tertiary", on_click=workspace.edits.show_run, args=(id,), width="stretch")


def _describe_step(workspace: Workspace, node: EditRun) -> str:
    """What the run has that the one it was made from had not (+), and what it lacks (−); of a first run all."""
    parent = workspace.edits.runs.get(node.parent)
    if parent is None:
        return node.describe()
    own, before = ([card.what for card in each.cards] for each in (node, parent))
    steps = [f"+ {in_words(what)}" for what in own if what not in before]
    steps += [f"− {in_words(what)}" for what in before if what not in own]
    return "; ".join(steps) or f"in another order: {node.describe()}"


def _shorten(words: str) -> str:
    return words if len(words) <= SHORT else words[: SHORT - 1] + "…"


def _describe_answer(base: Shown, node: EditRun) -> str:
    trace = node.free or node.held
    if trace is None:
        return "failed" if node.error else "…"
    start = base.trace.prompt_length
    return "".join(t.shown for t in trace.tokens[start : start + 4])


def draw_comparison(workspace: Workspace, base: Shown) -> None:
    """Two nodes of the tree against each other."""
    names, traces = {0: "baseline"}, {0: base.trace}
    for node in workspace.edits.runs.values():
        if node.held is not None:
            names[node.id], traces[node.id] = _shorten(node.describe()), node.held
    if len(names) < 3:
        return
    with st.expander("Compare two runs"):
        pair = st.columns(2)
        first = _draw_run_box(pair[0], "this", names, len(names) - 2)
        second = _draw_run_box(pair[1], "with", names, len(names) - 1)
        if first == second:
            st.html('<div class="hint">Choose two different runs.</div>')
            return
        asked = find_asked_question(workspace, base)
        target, rival = asked.target.typed, asked.rival.typed
        view = CompareView(traces[first].id, traces[second].id, target, rival, position=asked.position)
        results.draw_effects(results.read_comparison(workspace, base, view))


def _draw_run_box(container: DeltaGenerator, label: str, names: dict[int, str], index: int) -> int:
    return container.selectbox(label, list(names), index=index, format_func=names.__getitem__, key=f"compare_{label}")
