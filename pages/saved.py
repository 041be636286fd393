"""Saved: runs that were kept on this machine, and open again without their model."""

from intravisto_ui.parts.frame import draw_page
from intravisto_ui.saved import help, page
from intravisto_ui.session.kept_runs import find_kept_runs

draw_page(
    "Saved",
    "Which runs have I kept?",
    help.SAVED,
    lambda _: find_kept_runs(),
    page.draw_body,
    missing="Nothing is kept on this server.",
)
