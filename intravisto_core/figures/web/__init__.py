"""The pictures that are drawn in the browser: scripts, styles, and what they are given."""

from intravisto_core.figures.web.panel import panel_data
from intravisto_core.figures.web.payload import Mark, grid_payload
from intravisto_core.figures.web.sources import component_source

__all__ = ["Mark", "component_source", "grid_payload", "panel_data"]
