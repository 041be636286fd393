"""Layer: what one layer wrote, and which heads and neurons wrote it."""

from intravisto_ui.layer import help, page
from intravisto_ui.parts.frame import draw_page
from intravisto_ui.session.workspace import find_shown

draw_page("Layer", page.QUESTION, help.PAGES, find_shown, page.draw_body)
