"""The find box: a place is gone to; a token is looked for in every cell, and marked where it first comes up."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from intravisto_core.errors import IntravistoError, RequestError
from intravisto_core.figures.web import Mark
from intravisto_core.records import TokenQuery, row_label
from intravisto_core.request import QueryView
from intravisto_ui.heatmap import help
from intravisto_ui.parts import token_field
from intravisto_ui.parts.kept import kept
from intravisto_ui.session import jobs, workspace
from intravisto_ui.session.text import escaped, plural, token
from intravisto_ui.session.workspace import Workspace

_ROW = re.compile(r"\brow\s*=?\s*(-?\d+)|\b(?:layer\s*=?\s*|L)(\d+)|\b(emb|norm)\w*", re.IGNORECASE)
_POSITION = re.compile(r"\bp(?:os(?:ition)?)?\s*=?\s*(-?\d+)", re.IGNORECASE)
_HEAD = re.compile(r"\s*L(\d+)H(\d+)\s*", re.IGNORECASE)
_ID = re.compile(r"\s*id\s*=?\s*(\d+)\s*", re.IGNORECASE)
TALLEST = 260
NO_HEADS = "Heads have no page yet. This is the output of their layer."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed: a row, a position, or both, or a head of a layer (then row is its block's output); else a token,
    by its text or its id.
    """

    row: int | None = None
    position: int | None = None
    head: int | None = None
    token: str | int = ""


def parse(typed: str, n_layers: int, n_positions: int, n_heads: int) -> Wanted:
    """`row 5`, `layer 3`, `L3`, `emb`, `norm`, `p=-1`, `L2H7` are places, `id 17` is the token of that id; anything
    else, or anything in quotes, is the text of a token.

    Raises:
        RequestError: the model or the text has no such place.
    """
    text = typed.replace("␣", " ").replace("⏎", "\n")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return Wanted(token=text[1:-1])
    if found := _HEAD.fullmatch(text):
        layer, head = _within(int(found[1]), n_layers, "layer"), _within(int(found[2]), n_heads, "head")
        return Wanted(row=layer + 1, head=head)
    if found := _ID.fullmatch(text):
        return Wanted(token=int(found[1]))
    row, position = _ROW.search(text), _POSITION.search(text)
    rest = _POSITION.sub("", _ROW.sub("", text))
    if (row is None and position is None) or re.sub(r"[\s,·]", "", rest):
        return Wanted(token=text)
    return Wanted(
        None if row is None else _within(_row(row, n_layers), n_layers + 2, "row"),
        None if position is None else _within(int(position[1]), n_positions, "position"),
    )


def _row(found: re.Match[str], n_layers: int) -> int:
    if found[1] is not None:
        return int(found[1])
    if found[2] is not None:
        return int(found[2]) + 1
    return 0 if found[3].lower() == "emb" else n_layers + 1


def _within(value: int, n: int, what: str) -> int:
    if not -n <= value < n:
        raise RequestError(f"{what}: expected {-n} to {n - 1}; got {value}")
    return value % n


def popover(place: Any) -> None:
    """The find menu, for the headline of a page."""
    here = workspace.current()
    with place.popover("Find", key="find_menu"), st.container(key="find"):
        st.text_input(
            "A token, or a place",
            key="wanted",
            placeholder='" Rome"   id 17   row 5   layer 3 p=-1   L2H7',
            on_change=_go,
            help=help.FIND,
        )
        if here.sought is not None:
            _sought(here, here.sought)


def _go() -> None:
    """Take over what was typed: go to a place, or look for a token from now on."""
    here, typed = workspace.current(), str(st.session_state.get("wanted") or "")
    here.sought = None
    if here.shown is None or not typed.strip():
        return
    model = here.shown.engine.model
    try:
        wanted = parse(typed, model.n_layers, len(here.shown.trace.tokens), model.n_heads)
        if wanted.token != "":
            here.sought = QueryView(here.shown.trace.id, wanted.token)
            _go_to_nearest(here)
            return
    except IntravistoError as error:
        here.sought = str(error)
        return
    here.go(wanted.row, wanted.position)
    if wanted.head is not None:
        here.sought = NO_HEADS


def _go_to_nearest(here: Workspace) -> None:
    """Select the marked cell whose column is nearest to the selected one; nothing where the token never comes up."""
    found = _found(here)
    if found is None or not (found.first_row >= 0).any():
        return
    hits = [i for i, row in enumerate(found.first_row) if row >= 0]
    now = here.place.position or 0
    nearest = min(hits, key=lambda i: abs(int(found.positions[i]) - now))
    here.go(int(found.first_row[nearest]), int(found.positions[nearest]))


def _sought(here: Workspace, sought: QueryView | str) -> None:
    if isinstance(sought, str):
        st.html(f'<div class="hint">{escaped(sought)}</div>')
        return
    kept(st.number_input, "Found when among the top", key="find_k", default=5, min_value=1, max_value=1000)
    found = _found(here)
    if found is None:
        return
    _typed(here, found)
    n = int((found.first_row >= 0).sum())
    st.html(
        f'<div class="hint">{token(found.shown)} comes among the top {found.top_k} at {n} of '
        f"{plural(len(found.positions), 'position')}. In the picture ◆ marks the lowest row where it does.</div>"
    )
    if n:
        _table(here, found)
    st.button("Clear", key="find_clear", on_click=_clear)


def _typed(here: Workspace, found: TokenQuery) -> None:
    """The token that a typed text is, its id, and the form with a leading space."""
    assert here.shown is not None
    asked = here.sought.token if isinstance(here.sought, QueryView) else ""
    if isinstance(asked, int):
        st.html(f'<div class="hint">the token of <b>id {asked:,}</b>: {token(found.shown)}</div>')
        return
    st.html(f'<div class="hint">{token_field.in_words(token_field.read(here.shown.engine, asked))}</div>')
    if not asked.startswith(" "):
        st.button("With a space before it", key="find_space", on_click=_respell, args=(f'" {asked}"',))


def _respell(text: str) -> None:
    st.session_state["wanted"] = text
    _go()


def _clear() -> None:
    workspace.current().sought = None
    st.session_state["wanted"] = ""


def _found(here: Workspace) -> TokenQuery | None:
    """Where the sought token comes up in the trace that is shown; None where none is sought."""
    if here.shown is None or not isinstance(here.sought, QueryView):
        return None
    engine, top_k = here.shown.engine, int(here.options.get("find_k") or 5)
    view = replace(here.sought, trace=here.shown.trace.id, top_k=top_k)
    return here.payload(view, lambda: jobs.view(engine, view, here.id, "find"))


def marks(here: Workspace) -> tuple[Mark, ...]:
    """The cells to mark: in each column the lowest row where the sought token is among the top."""
    found = _found(here)
    if found is None:
        return ()
    pairs = zip(found.first_row, found.positions, strict=True)
    return tuple(Mark(int(row), int(position), "found") for row, position in pairs if row >= 0)


def _table(here: Workspace, found: TokenQuery) -> None:
    assert here.shown is not None
    n_layers = here.shown.engine.model.n_layers
    hits = [i for i, row in enumerate(found.first_row) if row >= 0]
    frame = pd.DataFrame(
        {
            "position": found.positions[hits],
            "reads": [found.tokens[i].shown for i in hits],
            "first at": [row_label(int(found.first_row[i]), n_layers) for i in hits],
            "raised most by": [{"mlp": "MLP"}.get(found.writer[i], found.writer[i]) for i in hits],
            "attention": found.attention[hits],
            "MLP": found.mlp[hits],
        }
    )
    places = [(int(found.first_row[i]), int(found.positions[i])) for i in hits]
    st.dataframe(
        frame,
        key="found",
        on_select=lambda: _chosen(here, places),
        selection_mode="single-cell",
        hide_index=True,
        placeholder="–",
        height=min(TALLEST, 38 + 35 * len(frame)),
        column_config={
            "attention": st.column_config.NumberColumn(format="%+.2f", help="Change of its logit by attention there"),
            "MLP": st.column_config.NumberColumn(format="%+.2f", help="Change of its logit by the MLP there"),
        },
    )
    st.html('<div class="hint">Click a line to select its cell.</div>')


def _chosen(here: Workspace, places: list[tuple[int, int]]) -> None:
    """Go to the cell of the clicked line."""
    for line, _ in st.session_state["found"].selection.cells[:1]:
        here.go(*places[line])
