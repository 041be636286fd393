"""The find box: a place is gone to; a token is looked for in every cell, and marked where it first comes up."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError, RequestError
from intravisto_core.figures.web import Mark
from intravisto_core.records import TokenQuery, row_label
from intravisto_core.request import QueryView
from intravisto_ui.heatmap import help
from intravisto_ui.heatmap.wanted import Wanted, parse
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.session.question import read_tokens
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, plural, token_html
from intravisto_ui.session.workspace import Workspace

TALLEST = 260
OF_HEAD = "This is the output of that layer. What the head adds is on the Flow page, under Attribution."


def draw_menu(workspace: Workspace, shown: Shown, container: DeltaGenerator) -> None:
    """The find menu, for the headline of a page. When something was found, which it would cover, a closed one takes its
    place: the browser may skip that a menu is to be closed, where that is overtaken by the next drawing.
    """
    _follow_text(workspace, shown)
    with container.popover("Find", key=f"find_menu_{workspace.n_found}"), st.container(key="find"):
        st.text_input(
            "A token, or a place",
            key="wanted",
            placeholder="Rome   id 17   row 5   layer 3 p=-1   L2H7",
            on_change=_take_typed,
            args=(workspace, shown),
            help=help.FIND,
        )
        if isinstance(workspace.sought, str):
            st.html(f'<div class="hint">{escape_html(workspace.sought)}</div>')


def _follow_text(workspace: Workspace, shown: Shown) -> None:
    """Of another text, or on a page that comes back, the field begins with what is looked for there."""
    state = st.session_state
    if "wanted" in state and state.get("wanted_of") == shown.text_id:
        return
    state["wanted_of"], state["wanted"] = shown.text_id, ""
    if isinstance(workspace.sought, QueryView):
        token = workspace.sought.token
        state["wanted"] = f"id {token}" if isinstance(token, int) else f'"{token}"'


def _take_typed(workspace: Workspace, shown: Shown) -> None:
    """Take over what was typed: go to a place, or look for a token from now on."""
    typed = str(st.session_state.get("wanted") or "")
    workspace.sought, workspace.forms = None, ()
    if not typed.strip():
        return
    model = shown.engine.model
    try:
        wanted = parse(typed, model.n_layers, len(shown.trace.tokens), model.n_heads)
        if wanted.token != "":
            _seek(workspace, shown, wanted)
            return
    except IntravistoError as error:
        workspace.sought = str(error)
        return
    workspace.select_cell(wanted.row, wanted.position)
    if wanted.head is None:
        workspace.n_found += 1
    else:
        workspace.select_head(wanted.head)
        workspace.sought = OF_HEAD


def _seek(workspace: Workspace, shown: Shown, wanted: Wanted) -> None:
    """Look for a token from now on; `settle` chooses among its forms."""
    token, forms = wanted.token, [wanted.token]
    if workspace.shows_saved:
        raise RequestError("A saved run cannot be searched. Press Run to load its model")
    if isinstance(token, int):
        _check_token_id(token, shown.engine.model.d_vocab)
    elif not read_tokens(shown.engine, token):
        raise RequestError(f"token: expected a text that the model can read; got {token!r}")
    if wanted.other and len(read_tokens(shown.engine, wanted.other)) == 1:
        forms.append(wanted.other)
    views = tuple(QueryView(shown.trace.id, form) for form in forms)
    workspace.sought, workspace.forms = views[0], views


def _check_token_id(token: int, d_vocab: int) -> None:
    """Refuse an id that the model does not have.

    Raises:
        RequestError: it is none of 0 to V−1.
    """
    if not 0 <= token < d_vocab:
        raise RequestError(f"token id: expected 0 to {d_vocab - 1}; got {token}")


def settle(workspace: Workspace, shown: Shown) -> None:
    """Of the forms of what was just typed take the one that comes up most often, and go to the nearest cell of it."""
    forms = workspace.forms
    if not forms:
        return
    try:
        found = [_find_token(workspace, shown, form, workspace.known) for form in forms]
    except IntravistoError:
        workspace.forms = ()
        raise
    # only now: what a newer act ends while it looks leaves them, and the menu, to the script that comes next
    workspace.forms = ()
    workspace.n_found += 1
    best = max(range(len(forms)), key=lambda i: len(_list_hits(found[i])))
    workspace.sought = forms[best]
    _select_nearest(workspace, found[best])


def _select_nearest(workspace: Workspace, found: TokenQuery) -> None:
    """Select the marked cell whose column is nearest to the selected one; nothing where the token never comes up."""
    hits = _list_hits(found)
    if not hits:
        return
    now = workspace.selection.position or 0
    nearest = min(hits, key=lambda i: abs(int(found.positions[i]) - now))
    workspace.select_cell(int(found.first_row[nearest]), int(found.positions[nearest]))


def draw_found(workspace: Workspace, shown: Shown, known: tuple[int, ...] | None) -> None:
    """One line on what is sought, with ways from one cell of it to the next. known: the positions looked in so far."""
    sought = workspace.sought
    if not isinstance(sought, QueryView):
        return
    found = _find_token(workspace, shown, sought, known)
    hits = _list_hits(found)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="found_line"):
        looked = plural(len(found.positions), "position")
        still = "" if known is None else f" looked at so far, of {len(shown.trace.tokens)}"
        many = f"at {len(hits)} of {looked}{still}. ◆ marks the lowest row where it does."
        comes = f"comes among the top {found.top_k} {many}"
        if not hits:
            comes = f"does not come among the top {found.top_k} at any of {looked}{still}."
        st.html(
            f'<div class="hint"><b>◆ {token_html(found.shown)}</b> {_describe_id(found)} {comes}</div>',
            width="stretch",
        )
        for name, step in (("Previous", -1), ("Next", 1)):
            place = _step_from(workspace, found, hits, step)
            st.button(
                name,
                key=f"find_{name.lower()}",
                disabled=place is None,
                on_click=workspace.select_cell,
                args=place,
                help=f"Go to the {name.lower()} column in which it comes up",
            )
        with st.popover("List", key="find_list"):
            _draw_list(workspace, shown, sought, found)
        st.button("Clear", key="find_clear", on_click=_clear, args=(workspace,))


def _step_from(workspace: Workspace, found: TokenQuery, hits: list[int], step: int) -> tuple[int, int] | None:
    """The marked cell before or after the selected column."""
    now = workspace.selection.position
    now = -1 if now is None else now
    there = [i for i in hits if (int(found.positions[i]) - now) * step > 0]
    best = min(there, key=lambda i: abs(int(found.positions[i]) - now), default=None)
    return None if best is None else (int(found.first_row[best]), int(found.positions[best]))


def _describe_id(found: TokenQuery) -> str:
    """Which token is meant, where a text is several of them or an id was typed."""
    more = f", the first of {found.n_tokens} tokens of “{escape_html(found.text)}”," if found.n_tokens > 1 else ""
    return f"(id {found.token_id:,}){more}"


def _draw_list(workspace: Workspace, shown: Shown, sought: QueryView, found: TokenQuery) -> None:
    draw_kept(st.number_input, "Found when among the top", key="find_k", default=5, min_value=1, max_value=1000)
    typed = sought.token
    if isinstance(typed, str) and not typed.startswith((" ", "\n", "\t")):
        st.button(
            "With a space before it", key="find_space", on_click=_take_respelled, args=(workspace, shown, f'" {typed}"')
        )
    elif isinstance(typed, str) and typed.strip(" ") and typed[1:2] != " ":
        st.button(
            "Without the space before it",
            key="find_no_space",
            on_click=_take_respelled,
            args=(workspace, shown, f'"{typed[1:]}"'),
        )
    if _list_hits(found):
        _draw_table(workspace, found, shown.engine.model.n_layers)


def _take_respelled(workspace: Workspace, shown: Shown, text: str) -> None:
    st.session_state["wanted"] = text
    _take_typed(workspace, shown)


def _clear(workspace: Workspace) -> None:
    workspace.sought, workspace.forms = None, ()
    st.session_state["wanted"] = ""


def _find_token(
    workspace: Workspace, shown: Shown, sought: QueryView, known: tuple[int, ...] | None = None
) -> TokenQuery:
    """Where the sought token comes up in the trace that is shown, among the positions that are decoded."""
    view = replace(sought, trace=shown.trace.id, top_k=_read_top_k(workspace), positions=known, ranks=False)
    return workspace.read_view(shown.engine, view, "find")


def _list_hits(found: TokenQuery) -> list[int]:
    """The columns in which the token comes up."""
    return [i for i, row in enumerate(found.first_row) if row >= 0]


def find_marks(workspace: Workspace, shown: Shown, known: tuple[int, ...] | None = None) -> tuple[Mark, ...]:
    """The cells to mark: in each column the lowest row where the sought token is among the top."""
    if not isinstance(workspace.sought, QueryView):
        return ()
    found = _find_token(workspace, shown, workspace.sought, known)
    return tuple(Mark(int(found.first_row[i]), int(found.positions[i]), "found") for i in _list_hits(found))


def describe_sought(workspace: Workspace) -> tuple[QueryView | None, int]:
    """What is looked for, as far as the picture depends on it."""
    sought = workspace.sought
    return (sought, _read_top_k(workspace)) if isinstance(sought, QueryView) else (None, 0)


def _read_top_k(workspace: Workspace) -> int:
    """Among how many top tokens one counts as found; the field for it is drawn after what depends on it."""
    return int(st.session_state.get("find_k") or workspace.options.get("find_k") or 5)


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
