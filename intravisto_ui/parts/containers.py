"""The container that widgets are drawn into, for functions that can draw into any."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator
from streamlit.delta_generator_singletons import get_dg_singleton_instance


def open_container() -> DeltaGenerator:
    """The container of the innermost `with`, which plain `st` draws into too."""
    return get_dg_singleton_instance().main_dg
