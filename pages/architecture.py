"""Architecture: what the model is made of, and what runs after what."""

from intravisto_ui.architecture import help, page
from intravisto_ui.parts.frame import draw_page
from intravisto_ui.session.workspace import find_shown

draw_page("Architecture", page.QUESTION, help.PAGES, find_shown, page.draw_body)
