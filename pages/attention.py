"""Attention: where each token looks, which head does what, and why."""

from intravisto_ui.attention import help, page
from intravisto_ui.parts.frame import draw_page
from intravisto_ui.session.workspace import find_shown

draw_page("Attention", page.QUESTION, help.ATTENTION, find_shown, page.draw_body)
