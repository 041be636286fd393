"""Patching: where the difference between two prompts is kept, and what each part alone is needed for."""

from intravisto_ui.parts.frame import draw_page
from intravisto_ui.patching import help, page
from intravisto_ui.session.workspace import find_base

draw_page(
    "Patching",
    page.QUESTION,
    help.PAGES,
    find_base,
    page.draw_body,
    missing="Nothing to patch yet: press Run at the left.",
)
