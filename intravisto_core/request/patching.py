"""What can be asked about two prompts and the values that carry their difference (docs/methods.md §8, patching)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.records import PatchGrid
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import (
    Selection,
    check,
    check_whole,
    read_token,
    read_whole_numbers,
)
from intravisto_core.request.fields import list_of
from intravisto_core.request.prompts import Followed, Prompt, read_prompt
from intravisto_core.sites import Alignment, Patching, PatchMetric, Site

GRID_SITES = (
    *(Site.RESID_PRE, Site.RESID_MID, Site.RESID_POST, Site.ATTN_OUT, Site.MLP_OUT),
    *(Site.Z, Site.Q, Site.K, Site.V, Site.PATTERN),
)
MOST_PAIRS = 200
MOST_DRAWS = 64


def _is_ids(value: Any) -> bool:
    return all(not isinstance(v, str) and not hasattr(v, "__iter__") for v in value)


def _read_prompts(value: Any, name: str) -> tuple[Prompt, ...]:
    """One prompt (a text, or token ids), or a list of them."""
    if isinstance(value, str):
        return (read_prompt(value, name),)
    listed = list_of(value)
    check(len(listed) > 0, name, "a text, token ids, or a list of such", value)
    found = (read_prompt(listed, name),) if _is_ids(listed) else tuple(read_prompt(v, name) for v in listed)
    check(len(found) <= MOST_PAIRS, name, f"at most {MOST_PAIRS} prompts", f"{len(found)} prompts")
    return found


def _read_sites(value: Any, name: str) -> Site:
    site = Site.parse(value, name)
    if site not in GRID_SITES:
        raise RequestError(expected(name, GRID_SITES, str(site)))
    return site


def _read_alignment(value: Any, name: str) -> Alignment | tuple[tuple[int, int], ...]:
    if isinstance(value, str):
        return Alignment.parse(value, name)
    allowed = 'pairs of positions (clean, corrupt), "same_length" or "ends"'
    pairs = tuple(read_whole_numbers(pair, name, allowed) for pair in list_of(value))
    check(bool(pairs) and all(len(pair) == 2 for pair in pairs), name, allowed, value)
    rising = all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(pairs))
    check(rising and min(pairs[0]) >= 0, name, "pairs that rise in both prompts, from 0", value)
    return tuple((pair[0], pair[1]) for pair in pairs)


@frozen_request
class SwapTokens:
    """The corrupt prompt is the clean one with two tokens swapped wherever they stand, or at some positions alone.

    first, second: texts or ids of one token each, as `" Mary"` and `" John"`. positions: None is all; negatives count
    from the end of the prompt.
    """

    first: Annotated[str | int, read_token]
    second: Annotated[str | int, read_token]
    positions: Selection = None

    def __post_init__(self) -> None:
        check(self.first != self.second, "second", "another token than the first", self.second)


@frozen_request
class ResampleTokens:
    """The corrupt prompt is the clean one with other tokens of the vocabulary at some positions, a mean over draws.

    positions: negatives count from the end of the prompt; special tokens are refused. draws: 1 to 64. seed: draws them.
    """

    positions: Selection
    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.positions is not None, "positions", "which tokens are drawn anew", None)
        check_whole(self.draws, "draws", 1, MOST_DRAWS)
        check_whole(self.seed, "seed", 0)


@frozen_request
class EmbeddingNoise:
    """The corrupt run reads the clean tokens with noise on what enters the first layer, a mean over draws.

    sigma: of the normal noise on each element, in standard deviations of all elements of `resid_pre` of layer 0 over
    the prompt's positions from 1 on. positions, draws, seed: as in `ResampleTokens`.
    """

    positions: Selection
    sigma: float = 3.0
    draws: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.positions is not None, "positions", "which tokens get noise", None)
        check(self.sigma > 0, "sigma", "a number above 0", self.sigma)
        check_whole(self.draws, "draws", 1, MOST_DRAWS)
        check_whole(self.seed, "seed", 0)


Corruption = SwapTokens | ResampleTokens | EmbeddingNoise


def _read_corrupt(value: Any, name: str) -> Corruption | tuple[Prompt, ...]:
    return value if isinstance(value, Corruption) else _read_prompts(value, name)


Prompts = Annotated[tuple[Prompt, ...], _read_prompts]
Corrupt = Annotated[SwapTokens | ResampleTokens | EmbeddingNoise | tuple[Prompt, ...], _read_corrupt]
Aligned = Annotated[Alignment | tuple[tuple[int, int], ...], _read_alignment]
PatchedSite = Annotated[Site, _read_sites]


@frozen_request
class PatchingRequest(View[PatchGrid]):
    """Each cell is a run with values of the other prompt at one place: what carries the difference of two prompts?

    clean, corrupt: a prompt each (a text or token ids), or a list of pairs; corrupt may be made of the clean one
    (`SwapTokens, ResampleTokens, EmbeddingNoise`). target, contrast: tokens whose logits are followed at the last
    position, or one for each pair; None: the top token of the clean run, and the runner-up there.
    what: the site. Of the stream and of what parts write, cells are layer × position; of `z, q, k, v, pattern` they are
    layer × head (of k and v, kv heads), patched at all positions at once.
    direction: "denoise" runs the corrupt prompt with values of the clean one, "noise" the other way round.
    layers: negatives count from the last. positions: of the clean prompt, negatives from its end; None is all of them,
    or of a grid by head all that differ. alignment: which token of one prompt stands for which of the other:
    "same_length" (one for one), "ends" (as far as both begin, and as far as both end with the same tokens), or pairs
    (clean, corrupt).
    estimate: also what one backward pass foretells, where the model can be differentiated.
    """

    clean: Prompts
    corrupt: Corrupt
    target: Followed = (None,)
    contrast: Followed = (None,)
    what: PatchedSite = Site.RESID_PRE
    direction: Patching = Patching.DENOISE
    layers: Selection = None
    positions: Selection = None
    metric: PatchMetric = PatchMetric.LOGIT_DIFF
    alignment: Aligned = Alignment.SAME_LENGTH
    estimate: bool = True
    add_special_tokens: bool = True
    chat: bool = False

    def __post_init__(self) -> None:
        _check_prompts(self)

    @property
    def by_head(self) -> bool:
        """Whether cells are layer × head."""
        return self.what.per_head


def _read_pair(value: Any, name: str) -> tuple[int, int]:
    found = read_whole_numbers(list_of(value), name, "(layer, head)")
    check(len(found) == 2, name, "(layer, head)", value)
    return found[0], found[1]


def _read_senders(value: Any, name: str) -> tuple[tuple[int, int], ...] | None:
    """None for every head, one (layer, head), or a list of them."""
    if value is None:
        return None
    listed = list_of(value)
    check(bool(listed), name, "(layer, head), a list of them, or None for every head", value)
    return (_read_pair(listed, name),) if _is_ids(listed) else tuple(_read_pair(v, name) for v in listed)


def _read_receiver(value: Any, name: str) -> str | tuple[int, int, Site]:
    allowed = '"logits", or (layer, head, "q"), "k" or "v"; of keys and values the kv head'
    if isinstance(value, str):
        check(value == "logits", name, allowed, value)
        return value
    listed = list_of(value)
    check(len(listed) == 3, name, allowed, value)
    layer, head = _read_pair(listed[:2], name)
    site = Site.parse(listed[2], name)
    check(site in (Site.Q, Site.K, Site.V), name, allowed, value)
    return layer, head, site


@frozen_request
class PathPatchingRequest(View[PatchGrid]):
    """What heads of one prompt say to one place of another prompt's run, and to nothing else.

    sender: (layer, head) or a list of them; None is every head below the receiver. receiver: "logits", or a head's
    queries, keys or values as (layer, head, "q"), of keys and values the kv head. through_mlps: whether MLPs on the way
    read what they are given; else they write what they wrote, and the way is the stream alone. Negative layers and
    heads count from the last. Everything else as in `PatchingRequest`.
    """

    clean: Prompts
    corrupt: Corrupt
    sender: Annotated[tuple[tuple[int, int], ...] | None, _read_senders] = None
    receiver: Annotated[str | tuple[int, int, Site], _read_receiver] = "logits"
    target: Followed = (None,)
    contrast: Followed = (None,)
    direction: Patching = Patching.DENOISE
    positions: Selection = None
    metric: PatchMetric = PatchMetric.LOGIT_DIFF
    alignment: Aligned = Alignment.SAME_LENGTH
    through_mlps: bool = False
    add_special_tokens: bool = True
    chat: bool = False

    def __post_init__(self) -> None:
        _check_prompts(self)

    @property
    def what(self) -> Site:
        """A sender is known by what it gives before W_O."""
        return Site.Z

    @property
    def by_head(self) -> bool:
        """Cells are layer × head."""
        return True

    @property
    def estimate(self) -> bool:
        """A way has none."""
        return False


def _check_prompts(asked: PatchingRequest | PathPatchingRequest) -> None:
    """What prompts, tokens and alignment must have in common."""
    n = len(asked.clean)
    if isinstance(asked.corrupt, tuple):
        check(len(asked.corrupt) == n, "corrupt", f"as many prompts as are clean ({n})", len(asked.corrupt))
    else:
        same = asked.alignment is Alignment.SAME_LENGTH
        check(same, "alignment", "same_length, since corrupt is made of clean", "another")
    for name in ("target", "contrast"):
        tokens = getattr(asked, name)
        check(len(tokens) in (1, n), name, f"one token, or {n}, one for each prompt", f"{len(tokens)} tokens")
    pairs = isinstance(asked.alignment, tuple)
    check(not pairs or n == 1, "alignment", "a rule, since there are several prompts", "pairs")
    listed = any(not isinstance(p, str) for p in asked.clean)
    check(not (asked.chat and listed), "clean", "texts, since chat is on", "token ids")
