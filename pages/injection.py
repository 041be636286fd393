"""Injection: change something inside, see what follows."""

from intravisto_ui.injection import help, page
from intravisto_ui.parts.frame import draw_page
from intravisto_ui.session.workspace import find_base

draw_page(
    "Injection",
    "What follows when something inside is changed?",
    help.PAGES,
    find_base,
    page.draw_body,
    missing="Nothing to change yet: press Run at the left.",
)
