"""Which token of one prompt stands for which of another (docs/methods.md §8, patching)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

from intravisto_core.errors import RequestError, expected
from intravisto_core.sites import Alignment

Pair = tuple[int, int]


def find_first_difference(clean: Sequence[int], corrupt: Sequence[int]) -> int:
    """How many tokens two texts begin with that are the same; of equal texts all of them."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(clean, corrupt, strict=False)))


def align_by_ends(clean: Sequence[int], corrupt: Sequence[int]) -> tuple[Pair, ...]:
    """Pairs of positions as far as both begin with the same tokens, and as far as both end with the same ones.

    Where what lies between is as long in both, its tokens are paired one for one; else they stand for nothing.
    """
    shortest = min(len(clean), len(corrupt))
    ending = find_first_difference(clean[::-1], corrupt[::-1])
    # where one prompt is the other with more in it, the last token still stands for the last
    first = min(find_first_difference(clean, corrupt), shortest - min(ending, 1))
    last = min(ending, shortest - first)
    if len(clean) == len(corrupt):
        return tuple((i, i) for i in range(len(clean)))
    ends = ((len(clean) - i, len(corrupt) - i) for i in range(last, 0, -1))
    return (*((i, i) for i in range(first)), *ends)


def align(
    clean: Sequence[int],
    corrupt: Sequence[int],
    rule: Alignment | tuple[Pair, ...],
    show: Callable[[int], str] = str,
) -> tuple[Pair, ...]:
    """Positions (clean, corrupt) that stand for each other, rising in both.

    rule: "same_length", "ends", or pairs. show: a token as text.

    Raises:
        RequestError: the prompts cannot be aligned so; the message names the first place where they part.
    """
    if isinstance(rule, tuple):
        return _check_pairs(rule, len(clean), len(corrupt))
    if rule is Alignment.ENDS:
        found = align_by_ends(clean, corrupt)
        if not found or found[-1] != (len(clean) - 1, len(corrupt) - 1):
            raise RequestError(
                f"alignment: expected prompts that end with the same token; got {show(clean[-1])!r} and "
                f"{show(corrupt[-1])!r}. Give pairs of positions (clean, corrupt)"
            )
        return found
    if len(clean) != len(corrupt):
        raise RequestError(
            f"corrupt: expected as many tokens as the clean prompt has ({len(clean)}); got {len(corrupt)}. "
            f"{describe_parting(clean, corrupt, show)}. Write prompts of one length, align them by both ends "
            '(alignment="ends"), or give pairs of positions (clean, corrupt)'
        )
    return tuple((i, i) for i in range(len(clean)))


def describe_parting(clean: Sequence[int], corrupt: Sequence[int], show: Callable[[int], str]) -> str:
    """Where two prompts first differ, as a sentence without its full stop."""
    first = find_first_difference(clean, corrupt)

    def read(ids: Sequence[int]) -> str:
        return f"{show(ids[first])!r}" if first < len(ids) else "nothing more"

    return f"They part at position {first}: {read(clean)} in the clean prompt, {read(corrupt)} in the corrupt one"


def _check_pairs(pairs: tuple[Pair, ...], n_clean: int, n_corrupt: int) -> tuple[Pair, ...]:
    for pair in pairs:
        if pair[0] >= n_clean or pair[1] >= n_corrupt:
            raise RequestError(
                expected("alignment", f"positions up to {n_clean - 1} (clean) and {n_corrupt - 1} (corrupt)", pair)
            )
    return pairs
