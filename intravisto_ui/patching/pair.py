"""The two prompts of a grid: how they are typed or made, their tokens, and which token stands for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError
from intravisto_core.figures.web.alignment_payload import alignment_data
from intravisto_core.records import Token
from intravisto_core.request.patching import Corruption, EmbeddingNoise, ResampleTokens
from intravisto_core.sites import Alignment
from intravisto_ui.parts import components
from intravisto_ui.parts.choices import draw_segments
from intravisto_ui.parts.containers import open_container
from intravisto_ui.parts.kept import draw_kept, set_kept
from intravisto_ui.session.selection import Report
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import plural
from intravisto_ui.session.tokenizing import tokenize
from intravisto_ui.session.workspace import Workspace

CLEAN, CORRUPT, KIND = "patch_clean", "patch_corrupt", "patch_kind"
PAIRS = "patch_pairs"
HEIGHT = 68


class Made(StrEnum):
    """Where the corrupt prompt comes from."""

    TYPED = "typed"
    RESAMPLED = "other tokens"
    NOISE = "noise"


HELP = (
    "**typed**: a prompt of your own, best with as many tokens.  \n**other tokens**: chosen tokens of the clean prompt "
    "are replaced by others of the vocabulary; the grid is the mean over draws.  \n**noise**: the clean prompt is read "
    "with noise on the vectors of chosen tokens; the grid is the mean over draws."
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two prompts as they were typed. corrupt: a text, or how it is made. problem: why they cannot be run as they are.

    pairs: positions (clean, corrupt) that stand for each other. by_hand: whether the user chose them.
    """

    clean: str
    corrupt: str | Corruption
    clean_tokens: tuple[Token, ...] = ()
    corrupt_tokens: tuple[Token, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()
    by_hand: bool = False
    problem: str = ""

    @property
    def alignment(self) -> Alignment | tuple[tuple[int, int], ...]:
        """The alignment as a request names it."""
        if self.by_hand:
            return self.pairs
        same = len(self.clean_tokens) == len(self.corrupt_tokens) or not isinstance(self.corrupt, str)
        return Alignment.SAME_LENGTH if same else Alignment.ENDS

    @property
    def first(self) -> int:
        """The first clean position where the prompts differ."""
        if not isinstance(self.corrupt, str):
            chosen = self.corrupt.positions
            return min(chosen) if isinstance(chosen, tuple) and chosen else 0
        equal = zip(self.clean_tokens, self.corrupt_tokens, strict=False)
        return next((i for i, (a, b) in enumerate(equal) if a.id != b.id), 0)


def draw_pair(workspace: Workspace, base: Shown) -> tuple[Pair, DeltaGenerator]:
    """Both fields, and under them how the corrupt prompt is made; gives that line for more buttons. Each text of the
    sidebar has prompts of its own.
    """
    left, right = st.columns(2)
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="patch_made")
    prompt = base.request.prompt if isinstance(base.request.prompt, str) else ""
    with left:
        clean = draw_kept(
            st.text_area,
            "Clean prompt",
            key=CLEAN,
            default=prompt,
            of=base.text_id,
            height=HEIGHT,
            help="The prompt with the answer that is looked for. At first the one that was run at the left.",
        )
        components.draw_live(CLEAN)
    tokens = _read_tokens(workspace, base, clean or "")
    kind = _draw_kind(base, line, tokens)
    with right:
        corrupt = _draw_typed(base) if kind is Made.TYPED else _draw_made(kind, tokens, base)
    return _join(workspace, base, clean or "", corrupt, tokens), line


def _draw_typed(base: Shown) -> str:
    corrupt = draw_kept(
        st.text_area,
        "Corrupt prompt",
        key=CORRUPT,
        default="",
        of=base.text_id,
        height=HEIGHT,
        placeholder="the same prompt with another answer",
        help="A prompt that differs in as little as possible and has another answer.",
    )
    components.draw_live(CORRUPT)
    return corrupt or ""


def _draw_kind(base: Shown, line: DeltaGenerator, tokens: tuple[Token, ...]) -> Made:
    with line.container(width="content", key="patch_kind_box"):
        names = {str(made): made.value for made in Made}
        kind = draw_segments("Corrupt is", KIND, names, str(Made.TYPED), help=HELP, label_visibility="collapsed")
    swapped = swap_name(tokens)
    line.button(
        "Swap a name",
        key="patch_swap",
        type="tertiary",
        disabled=swapped is None,
        help="Puts the other of two names where one of them stands for the last time."
        if swapped
        else "The clean prompt has no two names, one of which stands twice.",
        on_click=_take_swapped,
        args=(base, swapped or ""),
    )
    return Made(kind)


def _take_swapped(base: Shown, text: str) -> None:
    set_kept(**{KIND: str(Made.TYPED)})
    set_kept(of=base.text_id, **{CORRUPT: text})


def _draw_made(kind: Made, tokens: tuple[Token, ...], base: Shown) -> Corruption | str:
    line = open_container().container(
        horizontal=True, vertical_alignment="bottom", gap="small", key="patch_made_fields"
    )
    places = [t.position for t in tokens if not t.is_special and t.position]
    names = {p: f"{p} {tokens[p].shown}" for p in places}
    default = [p for p in places if tokens[p].text.strip()[:1].isupper()][-1:] or places[-1:]
    chosen = draw_kept(
        line.multiselect,
        "Tokens that are changed",
        key="patch_changed",
        default=default,
        of=(base.text_id, len(tokens)),
        valid=lambda v: isinstance(v, list) and all(p in names for p in v),
        options=places,
        format_func=lambda p: names.get(p, str(p)),
        width="stretch",
    )
    draws = draw_kept(
        line.number_input,
        "Draws",
        key="patch_draws",
        default=4,
        valid=lambda v: isinstance(v, int) and 1 <= v <= 16,
        min_value=1,
        max_value=16,
        step=1,
        width=96,
        help="Each draw is a grid of its own; what is shown is their mean.",
    )
    if not chosen:
        return ""
    if kind is Made.RESAMPLED:
        return ResampleTokens(tuple(chosen), int(draws))
    return EmbeddingNoise(tuple(chosen), draws=int(draws))


def _read_tokens(workspace: Workspace, base: Shown, text: str) -> tuple[Token, ...]:
    """The tokens of a prompt, with what the run at the left puts around it; none of a text that cannot be read."""
    if not text.strip():
        return ()
    asked = base.request
    try:
        return tokenize(base.engine, text, asked.add_special_tokens, chat=is_chat(workspace, base))
    except IntravistoError:
        return ()


def is_chat(workspace: Workspace, base: Shown) -> bool:
    """Whether both prompts are what a user says in a conversation."""
    return bool(workspace.options.get("patch_chat", base.request.chat)) and base.engine.model.chat


def _join(workspace: Workspace, base: Shown, clean: str, corrupt: str | Corruption, tokens: tuple[Token, ...]) -> Pair:
    if not tokens:
        return Pair(clean, corrupt, problem="Type a clean prompt.")
    if not isinstance(corrupt, str):
        pairs = tuple((t.position, t.position) for t in tokens)
        return Pair(clean, corrupt, tokens, tokens, pairs)
    others = _read_tokens(workspace, base, corrupt)
    if not others:
        return Pair(clean, corrupt, tokens, problem="Type a corrupt prompt, or have one made.")
    if [t.id for t in tokens] == [t.id for t in others]:
        return Pair(clean, corrupt, tokens, others, problem="Both prompts are the same; change a word of one.")
    texts, chosen = workspace.options.get(PAIRS) or ((), ())
    by_hand = texts == (clean, corrupt)
    pairs = tuple(chosen) if by_hand else align_ends(tokens, others)
    return Pair(clean, corrupt, tokens, others, pairs, by_hand, "" if pairs else "Pair at least one token of each.")


def align_ends(clean: Sequence[Token], corrupt: Sequence[Token]) -> tuple[tuple[int, int], ...]:
    """One for one where both are as long; else what both begin with, and what both end with."""
    if len(clean) == len(corrupt):
        return tuple((i, i) for i in range(len(clean)))
    a, b = [t.id for t in clean], [t.id for t in corrupt]
    shorter = min(len(a), len(b))
    start = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    end = next((i for i in range(shorter - start) if a[-1 - i] != b[-1 - i]), shorter - start)
    head = [(i, i) for i in range(start)]
    return tuple(head + [(len(a) - i, len(b) - i) for i in range(end, 0, -1)])


def draw_tokens(workspace: Workspace, base: Shown, pair: Pair) -> None:
    """The tokens under each other; a click on one of each prompt pairs them."""
    if not pair.corrupt_tokens or not isinstance(pair.corrupt, str):
        return
    rev = f"{base.trace.id} {hash((pair.clean, pair.corrupt))}"
    data = alignment_data(pair.clean_tokens, pair.corrupt_tokens, pair.pairs, describe_pairs(pair), rev)

    def take(act: Report) -> None:
        if act and act.get("rev") == rev:
            pairs = tuple((int(a), int(b)) for a, b in act["pairs"])
            workspace.options[PAIRS] = ((pair.clean, pair.corrupt), pairs)

    components.draw_alignment(data, key="patch_alignment", on_act=take)
    if pair.by_hand:
        st.button(
            "Pair them by rule again",
            key="patch_unpair",
            type="tertiary",
            on_click=lambda: workspace.options.pop(PAIRS, None),
        )


def describe_pairs(pair: Pair) -> str:
    """How the prompts are aligned, in a line."""
    a, b = len(pair.clean_tokens), len(pair.corrupt_tokens)
    how = "Click a token of each prompt to pair them, or to part a pair."
    if pair.by_hand:
        return f"{plural(len(pair.pairs), 'pair')} as you chose. {how}"
    if a == b:
        return f"{a} tokens each, one for one. {how}"
    return f"{a} tokens against {b}: paired from both ends; what has no partner cannot be patched. {how}"


def swap_name(tokens: Sequence[Token]) -> str | None:
    """The text with the other of two names where one of them stands for the last time; None without such names.

    A name is a token that begins with a capital after a space; one of the two must stand twice.
    """
    names: dict[int, list[int]] = {}
    for token in tokens:
        if token.text[:1] == " " and token.text[1:2].isupper() and token.text[1:].isalpha():
            names.setdefault(token.id, []).append(token.position)
    twice = [places for places in names.values() if len(places) > 1]
    if not twice or len(names) < 2:
        return None
    last = max(places[-1] for places in twice)
    own = tokens[last].id
    other = next((places for id, places in names.items() if id != own and places[0] < last), None)
    if other is None:
        return None
    texts = [t.text if t.position != last else tokens[other[0]].text for t in tokens if not t.is_special]
    return "".join(texts)
