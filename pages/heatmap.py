"""Heatmap: every layer's guess at every position, one cell each."""

from intravisto_ui.heatmap import help, page
from intravisto_ui.parts.frame import draw_page
from intravisto_ui.session.workspace import find_shown

draw_page("Heatmap", "Which token would each layer predict here?", help.PAGES, find_shown, page.draw_body)
