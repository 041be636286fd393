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
from intravisto_ui import jobs, token_field, workspace
from intravisto_ui.text import escaped, plural, token
from intravisto_ui.workspace import Workspace, kept

_ROW = re.compile(r"\brow\s*=?\s*(-?\d+)|\b(?:layer\s*=?\s*|L)(\d+)|\b(emb|norm)\w*", re.IGNORECASE)
_POSITION = re.compile(r"\bp(?:os(?:ition)?)?\s*=?\s*(-?\d+)", re.IGNORECASE)
TALLEST = 260


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed: a row, a position, or both, else a token's text."""

    row: int | None = None
    position: int | None = None
    text: str = ""


def parse(typed: str, n_layers: int, n_positions: int) -> Wanted:
    """`row 5`, `layer 3`, `L3`, `emb`, `norm`, `p=-1` are places; anything else, or anything in quotes, is a token.

    Raises:
        RequestError: the model or the text has no such place.
    """
    text = typed.replace("␣", " ").replace("⏎", "\n")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return Wanted(text=text[1:-1])
    row, position = _ROW.search(text), _POSITION.search(text)
    rest = _POSITION.sub("", _ROW.sub("", text))
    if (row is None and position is None) or re.sub(r"[\s,·]", "", rest):
        return Wanted(text=text)
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
            placeholder='" Rome"    row 5    p=-1',
            on_change=_go,
            help='A place: row 5, layer 3, emb, norm, p=-1 (the last position). A token: " Rome", with its space.',
        )
        if here.sought is not None:
            _sought(here, here.sought)


def _go() -> None:
    """Take over what was typed: go to a place, or look for a token from now on."""
    here, typed = workspace.current(), str(st.session_state.get("wanted") or "")
    here.sought = None
    if here.shown is None or not typed.strip():
        return
    try:
        wanted = parse(typed, here.shown.engine.model.n_layers, len(here.shown.trace.tokens))
    except IntravistoError as error:
        here.sought = str(error)
        return
    if wanted.text:
        here.sought = QueryView(here.shown.trace.id, wanted.text, top_k=int(here.options.get("find_k") or 5))
        return
    row = here.place.row if wanted.row is None else wanted.row
    position = here.place.position if wanted.position is None else wanted.position
    # a number of its own, newer than any click so far
    here.place = replace(here.place, row=row or 0, position=position or 0, target=None, n=here.place.n + 1, part="")


def _sought(here: Workspace, sought: QueryView | str) -> None:
    if isinstance(sought, str):
        st.html(f'<div class="hint">{escaped(sought)}</div>')
        return
    top_k = kept(st.number_input, "Found when among the top", key="find_k", default=5, min_value=1, max_value=1000)
    found = query(here, replace(sought, top_k=top_k))
    if found is None:
        return
    _typed(here, sought.token)
    n = int((found.first_row >= 0).sum())
    st.html(
        f'<div class="hint">{token(found.shown)} comes among the top {top_k} at {n} of '
        f"{plural(len(found.positions), 'position')}. In the picture ◆ marks the lowest row where it does.</div>"
    )
    if n:
        _table(here, found)
    st.button("Clear", key="find_clear", on_click=_clear)


def _typed(here: Workspace, text: str) -> None:
    """The token that a typed text is, its id, and the form with a leading space."""
    assert here.shown is not None
    st.html(f'<div class="hint">{token_field.in_words(token_field.read(here.shown.engine, text))}</div>')
    if not text.startswith(" "):
        st.button("With a space before it", key="find_space", on_click=_respell, args=(f'" {text}"',))


def _respell(text: str) -> None:
    st.session_state["wanted"] = text
    _go()


def _clear() -> None:
    workspace.current().sought = None
    st.session_state["wanted"] = ""


def query(here: Workspace, view: QueryView) -> TokenQuery | None:
    """Where the token comes up; None where the trace is another one by now."""
    if here.shown is None or view.trace != here.shown.trace.id:
        return None
    engine = here.shown.engine
    return here.payload(view, lambda: jobs.view(engine, view, here.id, "find"))


def marks(here: Workspace) -> tuple[Mark, ...]:
    """The cells to mark: in each column the lowest row where the sought token is among the top."""
    if not isinstance(here.sought, QueryView):
        return ()
    found = query(here, replace(here.sought, top_k=int(here.options.get("find_k") or 5)))
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
    st.dataframe(
        frame,
        hide_index=True,
        height=min(TALLEST, 38 + 35 * len(frame)),
        column_config={
            "attention": st.column_config.NumberColumn(format="%+.2f", help="Change of its logit by attention there"),
            "MLP": st.column_config.NumberColumn(format="%+.2f", help="Change of its logit by the MLP there"),
        },
    )
