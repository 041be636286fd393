"""Explain: where a token comes from, on one card."""

from intravisto_ui.explain import help, page
from intravisto_ui.parts.frame import draw_page
from intravisto_ui.session.workspace import find_shown

draw_page("Explain", page.QUESTION, help.PAGES, find_shown, page.draw_body)
