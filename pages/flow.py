"""Flow: where a prediction comes from, as a flow, as a graph, as parts of a logit, and over the generation."""

from intravisto_ui.flow import help, page
from intravisto_ui.parts.frame import draw_page
from intravisto_ui.session.workspace import find_shown

draw_page("Flow", page.QUESTION, help.PAGES, find_shown, page.draw_body)
