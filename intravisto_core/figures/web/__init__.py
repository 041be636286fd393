"""The pictures that are drawn in the browser: scripts, styles, and what they are given."""

from intravisto_core.figures.web.bundle import component_source as component_source
from intravisto_core.figures.web.comparison_payload import comparison_payload as comparison_payload
from intravisto_core.figures.web.panel import panel_data as panel_data
from intravisto_core.figures.web.payload import Mark as Mark
from intravisto_core.figures.web.payload import grid_payload as grid_payload
from intravisto_core.figures.web.strip import strip_tokens as strip_tokens
from intravisto_core.figures.web.token_lists import Step as Step
from intravisto_core.figures.web.token_lists import next_list as next_list
from intravisto_core.figures.web.token_lists import step_list as step_list
from intravisto_core.figures.web.token_lists import update_lists as update_lists
