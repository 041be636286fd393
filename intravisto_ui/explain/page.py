"""The explain page: one card about one token, alone or against another one."""

from __future__ import annotations

from enum import StrEnum

from streamlit.delta_generator import DeltaGenerator

from intravisto_core.request import ExplainView, SaliencyView
from intravisto_ui.explain import card
from intravisto_ui.parts import edit_python, export_menu, problems, saliency, stage
from intravisto_ui.parts.choices import draw_segments
from intravisto_ui.parts.frame import Headline, describe_selection, draw_strip
from intravisto_ui.session.question import Question, find_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_markdown
from intravisto_ui.session.workspace import Workspace

QUESTION = "Where does this token come from?"


class Side(StrEnum):
    """Whether the target stands alone."""

    ALONE = "alone"
    AGAINST = "against"


def draw_body(workspace: Workspace, shown: Shown, headline: Headline) -> None:
    """Everything under the frame."""
    draw_strip(workspace, shown, explains=False)
    question = find_question(workspace, shown)
    sides: list[Side] = []
    line = headline.draw(
        describe_selection(workspace, shown),
        f"Where does {question.target.shown} come from?",
        lambda line: sides.append(_draw_side(line, workspace, question)),
    )
    view = build_view(shown, question, sides[0])
    lines = [
        *edit_python.write_shown_run(workspace, shown),
        f"found = trace.explain({export_menu.write_arguments(view)})",
        "print(found.sentence)",
        'found.save("explain.html")',
    ]
    export_menu.draw_menu(line, shown, workspace.id, view, "explain", lines)
    with stage.draw_whole(), problems.guard():
        card.draw(workspace, shown, view)
    saliency.draw(
        workspace, shown, lambda method: SaliencyView(view.trace, view.target, view.contrast, view.position, method)
    )


def _draw_side(line: DeltaGenerator, workspace: Workspace, question: Question) -> Side:
    """Alone, or against the question's contrast; against it from the start where one was typed."""
    names = {Side.ALONE: "on its own", Side.AGAINST: f"against {escape_markdown(question.rival.shown)}"}
    typed = bool(workspace.asked.contrast)
    with line.container(width="content", key="explain_side"):
        return draw_segments(
            "Explained",
            f"explain_side_{'typed' if typed else 'open'}",
            names,
            Side.AGAINST if typed else Side.ALONE,
            label_visibility="collapsed",
            help="On its own: why this token rather than any. Against another token: why this one and not that one.",
        )


def build_view(shown: Shown, question: Question, side: Side) -> ExplainView:
    """What is asked for."""
    contrast = question.rival.typed if side is Side.AGAINST else None
    return ExplainView(shown.trace.id, question.target.typed, contrast, question.position)
