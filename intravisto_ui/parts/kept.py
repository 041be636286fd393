"""Widgets whose values outlive their drawing: a copy of each lies in the workspace's options."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import streamlit as st

from intravisto_ui.session.workspaces import current_workspace

T = TypeVar("T")
# beside the value of a key: what it belongs to, and the values of what was there before
OWNER, VALUES, VALUES_KEPT = "@of", "@values", 20


def draw_kept(
    widget: Callable[..., Any],
    label: str,
    *,
    key: str,
    default: T,
    valid: Callable[[Any], bool] | None = None,
    of: Hashable = None,
    **how: Any,
) -> T:
    """Draw a widget whose value survives page switches and reloads; returns its value.

    Streamlit drops a widget's value where the widget is not drawn, so a copy lies in the workspace.
    valid: says of a value whether it can be chosen now; if not, `default` takes its place. of: what the value belongs
    to, such as a text: with another one there is another value, and with the old one the old value again. how: as the
    widget takes it.
    """
    options, state = current_workspace().options, st.session_state
    changed = of is not None and _change_owner(key, of)
    wanted = state.get(key, options.get(key, default))
    if valid is not None and not valid(wanted):
        wanted = default
        if key in state:
            state[key] = default
    if changed:  # the browser keeps the value of a widget with the same key, and would show the old owner's
        state[key] = wanted
    # given as the initial value, not through the session state: the browser may skip a value that is pushed to a
    # widget in a run that is overtaken by the next one
    value: T = widget(label, key=key, **_initial_value(widget.__name__, wanted, how.get("options")), **how)
    options[key] = value
    return value


def _change_owner(key: str, of: Hashable) -> bool:
    """Put a value away with what it belongs to, and take out the one that belongs to `of`, if there is one.

    Says whether the owner is another one than before.
    """
    options, state = current_workspace().options, st.session_state
    before, kept = options.get(key + OWNER), options.setdefault(key + VALUES, OrderedDict())
    options[key + OWNER] = of
    if before in (None, of):
        return False
    if key in options:
        kept[before] = state.get(key, options.pop(key))
        kept.move_to_end(before)
        while len(kept) > VALUES_KEPT:
            kept.popitem(last=False)
    state.pop(key, None)
    options.pop(key, None)
    if of in kept:
        options[key] = state[key] = kept[of]
    return True


def _initial_value(kind: str, value: Any, options: Any) -> dict[str, Any]:
    if kind == "selectbox":
        return {"index": list(options).index(value)}
    return {"default" if kind in ("segmented_control", "multiselect") else "value": value}


def copy_widgets() -> None:
    """Take over the widgets' values before they are drawn again: in a callback, or where something above asks."""
    options = current_workspace().options
    options.update({key: st.session_state[key] for key in options if key in st.session_state})


def set_kept(*, of: Hashable = None, **values: Any) -> None:
    """Set widgets' values from a callback. of: what they belong to, for those that `draw_kept` draws so."""
    if of is not None:
        for key in values:
            _change_owner(key, of)
    current_workspace().options.update(values)
    st.session_state.update(values)
