"""Where an intervention acts (docs/methods.md §8): at a site of a layer, or at the attention pattern of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import Neuron
from intravisto_core.request.intervention_fields import PromptSet
from intravisto_core.request.phrases import name_positions
from intravisto_core.request.positions import Positions
from intravisto_core.sites import EditKind, Site

STREAM_SITES = (Site.RESID_PRE, Site.RESID_MID, Site.RESID_POST, Site.ATTN_OUT, Site.MLP_OUT)
EDIT_SITES = (*STREAM_SITES, Site.Z, Site.ACT)
PATCH_SITES = (*EDIT_SITES, Site.Q, Site.K, Site.V, Site.PATTERN)
HEAD_SITES = (Site.Z, Site.Q, Site.K, Site.V, Site.PATTERN)
_PARTS = {
    Site.RESID_PRE: "block input",
    Site.RESID_MID: "after attention",
    Site.RESID_POST: "block output",
    Site.ATTN_OUT: "attention",
    Site.MLP_OUT: "MLP",
    Site.Z: "all heads",
    Site.ACT: "all neurons",
    Site.Q: "queries of all heads",
    Site.K: "keys of all heads",
    Site.V: "values of all heads",
    Site.PATTERN: "pattern of all heads",
}
_HEADS = {
    Site.Q: "queries of head",
    Site.K: "keys of kv head",
    Site.V: "values of kv head",
    Site.PATTERN: "pattern of head",
}

# How a position is written in a sentence.
ReadPosition = Callable[[int], str]


@frozen_request
class AtSite:
    """Where an intervention acts.

    layer: negatives count from the last. positions: "prompt", "all" (with generated), a number, a list, a Span or
    Generated(step); negatives count from the end of the *prompt*. head: at `z` (and where queries, keys, values and
    patterns are patched, of keys and values the kv head), negatives count from the last. neuron: at `act`; with experts
    (expert, neuron).
    """

    sites: ClassVar[tuple[Site, ...]] = EDIT_SITES
    kind: ClassVar[EditKind] = EditKind.INJECTED
    site: Site
    layer: int
    positions: Positions = "all"
    head: int | None = None
    neuron: Neuron = None

    def __post_init__(self) -> None:
        name, site = type(self).__name__, self.site
        if site is Site.PATTERN and site not in self.sites:
            raise RequestError(f"{name}: does not exist at the attention pattern; KnockOut, FreezePattern and Patch do")
        if site not in PATCH_SITES:
            raise RequestError(expected("site", PATCH_SITES, str(site)))
        if site not in EDIT_SITES and site not in self.sites:
            raise RequestError(f"site: {name} does not exist at {site}; Patch does. Expected {', '.join(self.sites)}")
        if site not in self.sites:
            raise RequestError(
                f"{name}: refused at {site}, whose space is not the stream's: a token's vector or direction means "
                f"nothing there. It exists at {', '.join(self.sites)}"
            )
        self._check_part(site)

    def _check_part(self, site: Site) -> None:
        head, neuron = self.head, self.neuron
        if head is not None and site not in HEAD_SITES:
            raise RequestError(f'head: {site} is not split by head. Use site="z", or leave the head out')
        if neuron is not None and site is not Site.ACT:
            raise RequestError(f'neuron: {site} is not split by neuron. Use site="act", or leave the neuron out')

    @property
    def trace_source(self) -> str | None:
        """The id of another trace that the values are taken from, or None."""
        return None

    @property
    def prompt_source(self) -> PromptSet | None:
        """The prompts that the values are computed from, or None."""
        return None

    def describe(self, read: ReadPosition, main: str) -> str:
        """Where it acts and what it does, in words; see `in_words`."""
        return f"{name_positions(self.positions, read)}, {self._describe_part()}: {self.describe_effect(main)}"

    def describe_effect(self, main: str) -> str:
        """What becomes of the values, in words. main: what the main component is, where it is known."""
        raise NotImplementedError

    def _describe_part(self) -> str:
        if self.head is not None:
            return f"{_HEADS.get(self.site, 'head')} {self.head}"
        if isinstance(self.neuron, tuple):
            return f"expert {self.neuron[0]}, neuron {self.neuron[1]}"
        return _PARTS[self.site] if self.neuron is None else f"neuron {self.neuron}"


@frozen_request
class AtPattern:
    """What interventions at the attention pattern share."""

    site: ClassVar[Site] = Site.PATTERN
    kind: ClassVar[EditKind] = EditKind.INJECTED
    trace_source: ClassVar[None] = None
    prompt_source: ClassVar[None] = None
    layer: int
