"""The find box: a place is gone to; a token is looked for in every cell, and marked where it first comes up."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError, RequestError
from intravisto_core.figures.web import Mark
from intravisto_core.records import TokenQuery, row_label
from intravisto_core.request import QueryView
from intravisto_ui.heatmap import help
from intravisto_ui.parts import token_field
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.session.text import escape_html, plural, token_html
from intravisto_ui.session.workspace import Shown, Workspace

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
    """`row 5`, `layer 3`, `L3`, `emb`, `norm`, `p=-1`, `L2H7` are cells, `id 17` is the token of that id; anything
    else, or anything in quotes, is the text of a token.

    Raises:
        RequestError: the model or the text has no such place.
    """
    text = typed.replace("␣", " ").replace("⏎", "\n")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return Wanted(token=text[1:-1])
    if found := _HEAD.fullmatch(text):
        layer, head = _check_range(int(found[1]), n_layers, "layer"), _check_range(int(found[2]), n_heads, "head")
        return Wanted(row=layer + 1, head=head)
    if found := _ID.fullmatch(text):
        return Wanted(token=int(found[1]))
    row, position = _ROW.search(text), _POSITION.search(text)
    rest = _POSITION.sub("", _ROW.sub("", text))
    if (row is None and position is None) or re.sub(r"[\s,·]", "", rest):
        return Wanted(token=text)
    return Wanted(
        None if row is None else _check_range(_read_row(row, n_layers), n_layers + 2, "row"),
        None if position is None else _check_range(int(position[1]), n_positions, "position"),
    )


def _read_row(found: re.Match[str], n_layers: int) -> int:
    if found[1] is not None:
        return int(found[1])
    if found[2] is not None:
        return int(found[2]) + 1
    return 0 if found[3].lower() == "emb" else n_layers + 1


def _check_range(value: int, n: int, what: str) -> int:
    if not -n <= value < n:
        raise RequestError(f"{what}: expected {-n} to {n - 1}; got {value}")
    return value % n


def draw_menu(workspace: Workspace, shown: Shown, container: DeltaGenerator) -> None:
    """The find menu, for the headline of a page."""
    with container.popover("Find", key="find_menu"), st.container(key="find"):
        st.text_input(
            "A token, or a place",
            key="wanted",
            placeholder='" Rome"   id 17   row 5   layer 3 p=-1   L2H7',
            on_change=_take_typed,
            args=(workspace, shown),
            help=help.FIND,
        )
        if isinstance(workspace.sought, str):
            st.html(f'<div class="hint">{escape_html(workspace.sought)}</div>')
        elif workspace.sought is not None:
            _draw_result(workspace, shown, workspace.sought)


def _take_typed(workspace: Workspace, shown: Shown) -> None:
    """Take over what was typed: go to a place, or look for a token from now on."""
    typed = str(st.session_state.get("wanted") or "")
    workspace.sought = None
    if not typed.strip():
        return
    model = shown.engine.model
    try:
        wanted = parse(typed, model.n_layers, len(shown.trace.tokens), model.n_heads)
        if wanted.token != "":
            workspace.sought = QueryView(shown.trace.id, wanted.token)
            _select_nearest(workspace, shown, workspace.sought)
            return
    except IntravistoError as error:
        workspace.sought = str(error)
        return
    workspace.select_cell(wanted.row, wanted.position)
    if wanted.head is not None:
        workspace.sought = NO_HEADS


def _select_nearest(workspace: Workspace, shown: Shown, sought: QueryView) -> None:
    """Select the marked cell whose column is nearest to the selected one; nothing where the token never comes up."""
    found = _find_token(workspace, shown, sought)
    hits = _list_hits(found)
    if not hits:
        return
    now = workspace.selection.position or 0
    nearest = min(hits, key=lambda i: abs(int(found.positions[i]) - now))
    workspace.select_cell(int(found.first_row[nearest]), int(found.positions[nearest]))


def _draw_result(workspace: Workspace, shown: Shown, sought: QueryView) -> None:
    draw_kept(st.number_input, "Found when among the top", key="find_k", default=5, min_value=1, max_value=1000)
    found = _find_token(workspace, shown, sought)
    _draw_tokens(workspace, shown, sought, found)
    n = len(_list_hits(found))
    st.html(
        f'<div class="hint">{token_html(found.shown)} comes among the top {found.top_k} at {n} of '
        f"{plural(len(found.positions), 'position')}. In the picture ◆ marks the lowest row where it does.</div>"
    )
    if n:
        _draw_table(workspace, found, shown.engine.model.n_layers)
    st.button("Clear", key="find_clear", on_click=_clear, args=(workspace,))


def _draw_tokens(workspace: Workspace, shown: Shown, sought: QueryView, found: TokenQuery) -> None:
    """The token that a typed text is, its id, and the form with a leading space."""
    typed = sought.token
    if isinstance(typed, int):
        st.html(f'<div class="hint">the token of <b>id {typed:,}</b>: {token_html(found.shown)}</div>')
        return
    st.html(f'<div class="hint">{token_field.describe_tokens(token_field.read_tokens(shown.engine, typed))}</div>')
    if not typed.startswith(" "):
        st.button(
            "With a space before it",
            key="find_space",
            on_click=_take_respelled,
            args=(workspace, shown, f'" {typed}"'),
        )


def _take_respelled(workspace: Workspace, shown: Shown, text: str) -> None:
    st.session_state["wanted"] = text
    _take_typed(workspace, shown)


def _clear(workspace: Workspace) -> None:
    workspace.sought = None
    st.session_state["wanted"] = ""


def _find_token(workspace: Workspace, shown: Shown, sought: QueryView) -> TokenQuery:
    """Where the sought token comes up in the trace that is shown."""
    view = replace(sought, trace=shown.trace.id, top_k=int(workspace.options.get("find_k") or 5))
    return workspace.read_view(shown.engine, view, "find")


def _list_hits(found: TokenQuery) -> list[int]:
    """The columns in which the token comes up."""
    return [i for i, row in enumerate(found.first_row) if row >= 0]


def find_marks(workspace: Workspace, shown: Shown) -> tuple[Mark, ...]:
    """The cells to mark: in each column the lowest row where the sought token is among the top."""
    if not isinstance(workspace.sought, QueryView):
        return ()
    found = _find_token(workspace, shown, workspace.sought)
    return tuple(Mark(int(found.first_row[i]), int(found.positions[i]), "found") for i in _list_hits(found))


def _draw_table(workspace: Workspace, found: TokenQuery, n_layers: int) -> None:
    hits = _list_hits(found)
    import pandas as pd

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
    cells = [(int(found.first_row[i]), int(found.positions[i])) for i in hits]
    st.dataframe(
        frame,
        key="found",
        on_select=lambda: _select_line(workspace, cells),
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


def _select_line(workspace: Workspace, cells: list[tuple[int, int]]) -> None:
    """Go to the cell of the clicked line."""
    for line, _ in st.session_state["found"].selection.cells[:1]:
        workspace.select_cell(*cells[line])
