"""What can be asked about every part of a kind at once: a run without each, one at a time (docs/methods.md §8)."""

from __future__ import annotations

from typing import Annotated, Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.records import SweepGrid
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import Selection, check, read_texts
from intravisto_core.request.positions import Generated, Positions
from intravisto_core.request.prompts import Followed
from intravisto_core.sites import Ablation, Site

SWEPT = (Site.Z, Site.ATTN_OUT, Site.MLP_OUT)
MOST_PROMPTS = 200


def _read_site(value: Any, name: str) -> Site:
    site = Site.parse(value, name)
    if site not in SWEPT:
        raise RequestError(expected(name, SWEPT, str(site)))
    return site


def _read_prompts(value: Any, name: str) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) and value else read_texts(value, name)
    check(0 < len(found) <= MOST_PROMPTS, name, f"1 to {MOST_PROMPTS} texts", f"{len(found)} texts")
    return found


def _read_how(value: Any, name: str) -> Ablation:
    how = Ablation.parse(value, name)
    if how is Ablation.RESAMPLE:
        raise RequestError(
            expected(name, (Ablation.ZERO, Ablation.MEAN), str(how), "Values of another prompt are put in by patching")
        )
    return how


@frozen_request
class SweepRequest(View[SweepGrid]):
    """Each cell is a run without one part: which parts does the answer need?

    prompts: a text, or several, each run by itself. target, contrast: tokens whose logits are followed after the last
    position, or one for each prompt; None: the prompt's own top token, and its runner-up.
    what: `z` takes every head, `attn_out` or `mlp_out` every layer's. how: zero, or the part's mean over the text.
    layers: negatives count from the last. positions: where the part is taken away, as interventions have it.
    """

    prompts: Annotated[tuple[str, ...], _read_prompts]
    target: Followed = (None,)
    contrast: Followed = (None,)
    what: Annotated[Site, _read_site] = Site.Z
    how: Annotated[Ablation, _read_how] = Ablation.ZERO
    layers: Selection = None
    positions: Positions = "prompt"
    add_special_tokens: bool = True
    chat: bool = False

    def __post_init__(self) -> None:
        n = len(self.prompts)
        for name in ("target", "contrast"):
            tokens = getattr(self, name)
            check(len(tokens) in (1, n), name, f"one token, or {n}, one for each prompt", f"{len(tokens)} tokens")
        check(not isinstance(self.positions, Generated), "positions", "places of the prompt", "a generated step")
