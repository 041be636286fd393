"""The question that all pages answer: why this token, rather than that one, after this position.

Target, contrast and position are one state of the workspace. A page that reads at the selected position takes
`find_question`; a page that judges the whole run (the colours of the heatmap, the effect of an edit) takes
`find_asked_question`, which stays where it is while cells are clicked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from intravisto_core.engine import Engine
from intravisto_core.errors import IntravistoError
from intravisto_core.records import NextTokens, Token
from intravisto_core.request import HeatmapView, NextTokensView
from intravisto_ui.session.asked import Against, Asked
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.tokenizing import tokenize
from intravisto_ui.session.workspace import Workspace

SAME = "The contrast is the target itself; the runner-up is taken instead."
CANDIDATES = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """A token of the question.

    id: in the vocabulary. shown: its glyphs. typed: as a request names it: a text that reads as this one token, else
    its id.
    """

    id: int
    shown: str
    typed: str | int


@dataclass(frozen=True, slots=True)
class Question:
    """Why `target`, rather than `contrast`, after `position`. Always of the run without edits.

    contrast: None is the mean over the vocabulary. runner_up: the most probable token that is not the target, for
    whatever needs a second token. note: what was put right, for the reader.
    """

    position: int
    target: Choice
    contrast: Choice | None
    runner_up: Choice
    note: str = ""

    @property
    def rival(self) -> Choice:
        """The contrast, where it is a token; else the runner-up."""
        return self.contrast or self.runner_up


def choose_position(workspace: Workspace, shown: Shown) -> int:
    """The selected position, else the last one of the prompt."""
    selected = workspace.selection.position
    last = shown.trace.prompt_length - 1
    return selected if selected is not None and 0 <= selected < len(shown.trace.tokens) else last


def choose_asked_position(workspace: Workspace, shown: Shown) -> int:
    """The position that was asked about by a click on a generated token or by typing, else the last of the prompt."""
    asked = workspace.asked.position
    last = shown.trace.prompt_length - 1
    return asked if asked is not None and 0 <= asked < len(shown.trace.tokens) else last


def find_question(workspace: Workspace, shown: Shown, position: int | None = None) -> Question:
    """The question at a position; None is the selected one.

    Raises:
        IntravistoError: why the position says nothing.
    """
    at = choose_position(workspace, shown) if position is None else position
    base, asked = workspace.base or shown, replace(workspace.asked, position=None, n=0)
    return workspace.keep(("question", asked, base.trace.id, at), lambda: _read_question(workspace, base, asked, at))


def find_asked_question(workspace: Workspace, shown: Shown) -> Question:
    """The question at the position that was asked about; it does not move with the selected cell.

    Raises:
        IntravistoError: why the position says nothing.
    """
    return find_question(workspace, shown, choose_asked_position(workspace, shown))


def read_tokens(engine: Engine, text: str) -> tuple[Token, ...]:
    """The tokens of a typed text; none where the model cannot read it."""
    try:
        return tokenize(engine, text, add_special_tokens=False)
    except IntravistoError:
        return ()


def _read_question(workspace: Workspace, base: Shown, asked: Asked, position: int) -> Question:
    odds = workspace.read_view(base.engine, NextTokensView(base.trace.id, position, n=CANDIDATES), "question")
    target = _read_choice(workspace, base, odds, asked.target) or _follow_text(base, odds)
    best = next(int(i) for i in odds.token_ids if int(i) != target.id)
    runner_up = name_token(base.engine, best, odds.shown[best])
    contrast = _read_choice(workspace, base, odds, asked.contrast)
    if contrast is None and asked.against is Against.MEAN:
        return Question(position, target, None, runner_up)
    if contrast is not None and contrast.id == target.id:
        return Question(position, target, runner_up, runner_up, SAME)
    return Question(position, target, contrast or runner_up, runner_up)


def _read_choice(workspace: Workspace, base: Shown, odds: NextTokens, wanted: str | int) -> Choice | None:
    """A token that the user named; None where none is named, or where the model cannot read the text."""
    if isinstance(wanted, str):
        tokens = read_tokens(base.engine, wanted) if wanted else ()
        return Choice(tokens[0].id, tokens[0].shown, wanted if len(tokens) == 1 else tokens[0].id) if tokens else None
    if not 0 <= wanted < base.engine.model.d_vocab:
        return None
    return name_token(base.engine, wanted, _find_glyphs(workspace, base, odds, wanted))


def _follow_text(base: Shown, odds: NextTokens) -> Choice:
    """What the position says: the generated token that follows, else the model's top token."""
    tokens, following = base.trace.tokens, odds.position + 1
    if base.trace.prompt_length <= following < len(tokens):
        return name_token(base.engine, tokens[following].id, tokens[following].shown)
    best = int(odds.token_ids[0])
    return name_token(base.engine, best, odds.shown[best])


def name_token(engine: Engine, id: int, shown: str) -> Choice:
    """A token by its id and glyphs; named by its text where that text reads as this token alone."""
    text = shown.replace("␣", " ").replace("⏎", "\n")
    return Choice(id, shown, text if [t.id for t in read_tokens(engine, text)] == [id] else id)


def _find_glyphs(workspace: Workspace, base: Shown, odds: NextTokens, id: int) -> str:
    if id in odds.shown:
        return odds.shown[id]
    here = next((t.shown for t in base.trace.tokens if t.id == id), None)
    if here is not None:
        return here
    view = HeatmapView(
        base.trace.id, rows=(base.engine.model.n_layers + 1,), positions=(odds.position,), top_k=1, watch=(id,)
    )
    return workspace.read_view(base.engine, view, "question-glyphs").watch[0].shown


def ask(workspace: Workspace, change: Callable[[Asked], Asked]) -> None:
    """Change the question from something else than its own fields, which then show the new one."""
    workspace.asked = replace(change(workspace.asked), n=workspace.asked.n + 1)
