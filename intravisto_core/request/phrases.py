"""Parts of sentences about interventions: positions, heads, tokens, directions."""

from __future__ import annotations

from collections.abc import Callable

from intravisto_core.request.checks import Span
from intravisto_core.request.positions import Generated, Positions
from intravisto_core.request.tensor_refs import TensorRef
from intravisto_core.sites import Lens, TokenVector


def is_one(positions: Positions) -> bool:
    """Whether the positions are spoken of in the singular."""
    return (
        isinstance(positions, Generated)
        or (isinstance(positions, tuple) and len(positions) == 1)
        or positions in ("prompt", "all")
    )


def name_positions(positions: Positions, read: Callable[[int], str]) -> str:
    """Positions in words. read: how one position is written, such as `11 ‘:’`."""
    if isinstance(positions, Generated):
        return f"generated token {positions.step}"
    if isinstance(positions, Span):
        return (
            f"positions {positions.start} to {positions.stop - 1}"
            if positions.stop > 0
            else f"positions {positions.start} on"
        )
    if isinstance(positions, str):
        return {"prompt": "the whole prompt", "all": "the whole text"}[positions]
    if positions == (-1,):
        return "last prompt token"
    return ("position " if len(positions) == 1 else "positions ") + ", ".join(map(read, positions))


def name_heads(heads: str | tuple[int, ...]) -> str:
    """Heads in words."""
    if isinstance(heads, str):
        return "all heads"
    return ("head " if len(heads) == 1 else "heads ") + ", ".join(map(str, heads))


def show_token(text: str) -> str:
    """A token's text with visible spaces and line breaks."""
    return text.replace(" ", "␣").replace("\n", "⏎")


def name_direction(value: str | TensorRef) -> str:
    """A direction by its token, or by the name that it was given."""
    return show_token(value) if isinstance(value, str) else f"“{value.name}”" if value.name else "a given direction"


def name_table(lens: Lens) -> str:
    """The table that a token's vector is taken from, where it is not the output table."""
    return "" if lens is Lens.OUTPUT else f" ({lens.label} table)"


def name_vector(vector: TokenVector, usual: TokenVector, read_lens: Lens) -> str:
    """Which vector stands for a token, where it is not the usual one at its place."""
    if vector is TokenVector.WHITENED and read_lens is not Lens.OUTPUT:
        return f" ({vector.label}, for the {read_lens.label} lens)"
    return "" if vector is usual else f" ({vector.label})"
