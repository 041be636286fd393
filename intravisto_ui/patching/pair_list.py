"""Pairs of prompts, pasted one a line: what grids over many prompts and circuits are asked on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from intravisto_core.engine import Engine
from intravisto_core.errors import IntravistoError, RequestError, expected
from intravisto_ui.parts.kept import draw_kept, set_kept
from intravisto_ui.parts.variants import Variant, write_variants
from intravisto_ui.patching.pair import CLEAN, CORRUPT
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.tokenizing import tokenize
from intravisto_ui.session.workspace import Workspace

PAIRS = "pair_list"
HELP = (
    "One pair a line: the clean prompt, a bar, the corrupt one. After another bar may follow the target, and after one "
    "more the contrast: `The capital of Italy is | The capital of France is | Rome | Paris`, with a space before each "
    "token as the model writes it. Without them the clean prompt's own top token and its runner-up are taken. "
    "Tabulators do as well as bars."
)
MORE_HELP = "Writes pairs of the same pattern under the first: other names, countries or words of the same kind."


@dataclass(frozen=True, slots=True)
class PairLine:
    """A clean and a corrupt prompt, and the tokens that are held against each other; "" takes the model's own."""

    clean: str
    corrupt: str
    target: str = ""
    contrast: str = ""

    def write(self) -> str:
        """As a line that `read_pairs` reads."""
        tokens = (self.target, self.contrast) if self.contrast else (self.target,) if self.target else ()
        return " | ".join((self.clean, self.corrupt, *tokens))


def read_pairs(text: str) -> tuple[PairLine, ...]:
    """The pairs of a text.

    Raises:
        RequestError: a line that is no pair, or none at all.
    """
    found = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        parts = line.split("\t" if "\t" in line else " | ")
        if not 2 <= len(parts) <= 4 or not (parts[0].strip() and parts[1].strip()):
            raise RequestError(
                expected("pairs", "a clean prompt, a bar and a corrupt one in each line", line, "See the field's help")
            )
        found.append(PairLine(*parts))
    if not found:
        raise RequestError("No pairs yet: paste some, or try one of those below.")
    return tuple(found)


def draw(workspace: Workspace, base: Shown) -> str:
    """The field, with what was typed in it."""
    text = draw_kept(
        st.text_area,
        "Pairs of prompts, one a line",
        key=PAIRS,
        default=_guess(workspace),
        of=base.text_id,
        height=112,
        placeholder="clean prompt | corrupt prompt | target | contrast",
        help=HELP,
    )
    return str(text or "")


def draw_more(base: Shown, text: str) -> None:
    """A button that writes pairs like the first one, in the container that is open."""
    st.button("Add pairs like it", key="pairs_more", help=MORE_HELP, on_click=add_pairs, args=(base, text))


def _guess(workspace: Workspace) -> str:
    """The two prompts that were typed before; "" where there were none."""
    chosen = workspace.options
    clean, corrupt = chosen.get(CLEAN), chosen.get(CORRUPT)
    if not clean or not corrupt:
        return ""
    return PairLine(clean, corrupt, chosen.get("patch_target") or "", chosen.get("patch_contrast") or "").write()


def add_pairs(base: Shown, text: str) -> None:
    """Write pairs like the first one under those that are there."""
    try:
        lines = read_pairs(text)
    except IntravistoError:
        return
    known = {(one.clean, one.corrupt) for one in lines}
    more = [one for one in write_pairs(base.engine, lines[0]) if (one.clean, one.corrupt) not in known]
    set_kept(of=base.text_id, **{PAIRS: "\n".join(one.write() for one in (*lines, *more))})


def write_pairs(engine: Engine, first: PairLine) -> tuple[PairLine, ...]:
    """The pair itself and at most eleven others of its pattern, each prompt as long as the first pair's."""
    both = Variant(f"{first.clean}\n{first.corrupt}", first.target, first.contrast)
    lengths = [len(tokenize(engine, text)) for text in (first.clean, first.corrupt)]
    found = [first]
    for one in write_variants(engine, both.prompt, both.target, both.contrast)[1:]:
        clean, _, corrupt = one.prompt.partition("\n")
        same = [len(tokenize(engine, text)) for text in (clean, corrupt)] == lengths
        if clean != corrupt and same:
            found.append(
                replace(first, clean=clean, corrupt=corrupt, target=str(one.target), contrast=str(one.contrast))
            )
    return tuple(found)
