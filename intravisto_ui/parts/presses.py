"""Buttons whose press is kept until the page comes to them.

Streamlit tells one script of a press. Where a newer act ends that script before it comes to the button, the press would
be lost, and the user would have to press again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from intravisto_ui.session.workspaces import current_workspace


def draw_press(button: Callable[..., Any], label: str, *, key: str, **how: Any) -> bool:
    """Draw a button; whether it was pressed since the page last came here. how: as the button takes it."""
    presses = current_workspace().presses
    button(label, key=key, on_click=presses.add, args=(key,), **how)
    if key not in presses:
        return False
    presses.discard(key)
    return True
