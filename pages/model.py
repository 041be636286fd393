"""About this model: what it is, how exactly it is read, and what to send along with a question."""

from intravisto_ui.model import help, page
from intravisto_ui.parts.frame import draw_page
from intravisto_ui.session.workspace import find_engine

draw_page(
    "About this model",
    "What is this model, and are its numbers exact?",
    help.MODEL,
    find_engine,
    page.draw_body,
    missing="No model is open: press Run at the left.",
)
