"""Widgets whose values outlive their drawing: a copy of each lies in the workspace's options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st

from intravisto_ui.session.workspaces import current_workspace

T = TypeVar("T")


def draw_kept(
    widget: Callable[..., Any],
    label: str,
    *,
    key: str,
    default: T,
    valid: Callable[[Any], bool] | None = None,
    **how: Any,
) -> T:
    """Draw a widget whose value survives page switches and reloads; returns its value.

    Streamlit drops a widget's value where the widget is not drawn, so a copy lies in the workspace.
    valid: says of a value whether it can be chosen now; if not, `default` takes its place. how: as the widget takes it.
    """
    options, state = current_workspace().options, st.session_state
    wanted = state.get(key, options.get(key, default))
    if valid is not None and not valid(wanted):
        wanted = default
        if key in state:
            state[key] = default
    # given as the initial value, not through the session state: the browser may skip a value that is pushed to a
    # widget in a run that is overtaken by the next one
    value: T = widget(label, key=key, **_initial_value(widget.__name__, wanted, how.get("options")), **how)
    options[key] = value
    return value


def _initial_value(kind: str, value: Any, options: Any) -> dict[str, Any]:
    if kind == "selectbox":
        return {"index": list(options).index(value)}
    return {"default" if kind in ("segmented_control", "multiselect") else "value": value}


def copy_widgets() -> None:
    """Take over the widgets' values before they are drawn again: in a callback, or where something above asks."""
    options = current_workspace().options
    options.update({key: st.session_state[key] for key in options if key in st.session_state})


def set_kept(**values: Any) -> None:
    """Set widgets' values from a callback."""
    current_workspace().options.update(values)
    st.session_state.update(values)
