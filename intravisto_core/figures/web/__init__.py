"""The pictures that are drawn in the browser: scripts, styles, and what they are given."""

from intravisto_core.figures.web.bundle import component_source
from intravisto_core.figures.web.comparison_payload import comparison_payload
from intravisto_core.figures.web.panel import panel_data
from intravisto_core.figures.web.payload import Mark, grid_payload
from intravisto_core.figures.web.strip import strip_tokens
from intravisto_core.figures.web.token_lists import Step, next_list, step_list, update_lists

__all__ = [
    "Mark",
    "Step",
    "comparison_payload",
    "component_source",
    "grid_payload",
    "next_list",
    "panel_data",
    "step_list",
    "strip_tokens",
    "update_lists",
]
