"""What can be changed inside a run (docs/methods.md §8): an operation, at a site, a layer and positions.

A kind of intervention stands here with all that can be said of it without a model; what it does to the values is in
`tracing/operations.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import ClassVar

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import Neuron, TraceId, check, check_whole
from intravisto_core.request.intervention_fields import (
    Direction,
    Heads,
    PromptSet,
    TokenText,
    TraceSource,
    Value,
    VectorLens,
)
from intravisto_core.request.phrases import (
    is_one,
    name_direction,
    name_heads,
    name_positions,
    name_table,
    show_token,
)
from intravisto_core.request.positions import Positions
from intravisto_core.request.tensors import TensorRef
from intravisto_core.sites import Ablation, EditKind, Lens, Site, SteerUnit

STREAM_SITES = (Site.RESID_PRE, Site.RESID_MID, Site.RESID_POST, Site.ATTN_OUT, Site.MLP_OUT)
EDIT_SITES = (*STREAM_SITES, Site.Z, Site.ACT)
_PARTS = {
    Site.RESID_PRE: "block input",
    Site.RESID_MID: "after attention",
    Site.RESID_POST: "block output",
    Site.ATTN_OUT: "attention",
    Site.MLP_OUT: "MLP",
    Site.Z: "all heads",
    Site.ACT: "all neurons",
}

# How a position is written in a sentence.
ReadPosition = Callable[[int], str]


@frozen_request
class AtSite:
    """Where an intervention acts.

    layer: negatives count from the last. positions: "prompt", "all" (with generated), a number, a list, a Span or
    Generated(step); negatives count from the end of the *prompt*. head: at `z`. neuron: at `act`; with experts
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
        if site is Site.PATTERN:
            raise RequestError(f"{name}: does not exist at the attention pattern; KnockOut and FreezePattern do")
        if site not in EDIT_SITES:
            raise RequestError(expected("site", [*EDIT_SITES, Site.PATTERN], str(site)))
        if site not in self.sites:
            raise RequestError(
                f"{name}: refused at {site}, whose space is not the stream's: a token's vector or direction means "
                f"nothing there. It exists at {', '.join(self.sites)}"
            )
        self._check_part(site)

    def _check_part(self, site: Site) -> None:
        head, neuron = self.head, self.neuron
        if head is not None and site is not Site.Z:
            raise RequestError(f'head: {site} is not split by head. Use site="z", or leave the head out')
        if neuron is not None and site is not Site.ACT:
            raise RequestError(f'neuron: {site} is not split by neuron. Use site="act", or leave the neuron out')
        check_whole(head, "head", 0, allowed="a whole number from 0, or None for all")

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
            return f"head {self.head}"
        if isinstance(self.neuron, tuple):
            return f"expert {self.neuron[0]}, neuron {self.neuron[1]}"
        return _PARTS[self.site] if self.neuron is None else f"neuron {self.neuron}"


@frozen_request
class Replace(AtSite):
    """By the vector of a token text: a row of U or E, or their mix at this row; several tokens: their mean.

    lens: output, input, linear or quadratic. match_norm: scaled to the norm of what it replaces.
    """

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    token: TokenText = field(kw_only=True)
    lens: VectorLens = field(default=Lens.OUTPUT, kw_only=True)
    match_norm: bool = field(default=True, kw_only=True)

    def describe_effect(self, main: str) -> str:
        """See `AtSite`."""
        scaled = "" if self.match_norm else ", not scaled"
        return f"replaced by {show_token(self.token)}{name_table(self.lens)}{scaled}"


@frozen_request
class ReplaceMain(AtSite):
    """The direction of the top token under the lens gives its coefficient to another token's; rescaled to ‖x‖."""

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    token: TokenText = field(kw_only=True)
    lens: VectorLens = field(default=Lens.OUTPUT, kw_only=True)

    def describe_effect(self, main: str) -> str:
        """See `AtSite`."""
        known = f" {main}" if main else ""
        return f"the main component{known} becomes {show_token(self.token)}{name_table(self.lens)}"


@frozen_request
class Ablate(AtSite):
    """Zero; the mean over this text, another trace or a PromptSet (`source`); or resampled from another trace."""

    kind: ClassVar[EditKind] = EditKind.ABLATED
    how: Ablation = field(default=Ablation.ZERO, kw_only=True)
    source: TraceSource = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        if self.how is Ablation.RESAMPLE:
            check(isinstance(self.source, str), "source", "another trace, which the values are taken from", self.source)
        if self.how is Ablation.ZERO:
            check(self.source is None, "source", "None, since zero needs none", self.source)

    @property
    def trace_source(self) -> str | None:
        """See `AtSite`."""
        return self.source if isinstance(self.source, str) else None

    @property
    def prompt_source(self) -> PromptSet | None:
        """See `AtSite`."""
        return self.source if isinstance(self.source, PromptSet) else None

    def describe_effect(self, main: str) -> str:
        """See `AtSite`."""
        if self.how is Ablation.ZERO:
            return "taken away"
        if self.how is Ablation.RESAMPLE:
            return "another prompt's in its place"
        of = f"over “{self.source.name}”" if isinstance(self.source, PromptSet) else "over another prompt"
        return f"its mean {of if self.source is not None else 'over this text'} in its place"


@frozen_request
class Patch(AtSite):
    """The values of another trace of the same model.

    source: a trace or its id; it must be unedited. source_positions: as many as `positions`, or one for all; None
    reads `positions` on the source (negatives from the end of *its* prompt). source_layer: None is the same layer.
    """

    source: TraceId = field(kw_only=True)
    source_positions: Positions | None = field(default=None, kw_only=True)
    source_layer: int | None = field(default=None, kw_only=True)

    @property
    def trace_source(self) -> str | None:
        """See `AtSite`."""
        return self.source

    def describe_effect(self, main: str) -> str:
        """See `AtSite`."""
        other = "" if self.source_layer is None else f", its layer {self.source_layer}"
        there = "" if self.source_positions is None else f", there {name_positions(self.source_positions, str)}"
        return f"from another prompt{other}{there}"


@frozen_request
class Steer(AtSite):
    """`x + α v̂`.

    direction: a token text (its direction under the output lens), a saved direction, or an array. strength: α, in
    units of the baseline's median ‖x‖ over positions ≥ 1 ("stream") or as it is ("absolute").
    """

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    direction: Direction = field(kw_only=True)
    strength: float = field(default=1.0, kw_only=True)
    unit: SteerUnit = field(default=SteerUnit.STREAM, kw_only=True)

    def describe_effect(self, main: str) -> str:
        """See `AtSite`."""
        unit = " × the stream's length" if self.unit is SteerUnit.STREAM else ""
        return f"pushed by {self.strength:g}{unit} along {name_direction(self.direction)}"


@frozen_request
class RemoveDirection(AtSite):
    """`x − ⟨x,d̂⟩ d̂`."""

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    direction: Direction = field(kw_only=True)

    def describe_effect(self, main: str) -> str:
        """See `AtSite`."""
        return f"without the direction of {name_direction(self.direction)}"


@frozen_request
class SwapDirection(AtSite):
    """The coordinates (a, b) of x in the plane of two directions become (b, a)."""

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    source: Direction = field(kw_only=True)
    target: Direction = field(kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        check(self.source != self.target, "target", "another direction than the source", self.target)

    def describe_effect(self, main: str) -> str:
        """See `AtSite`."""
        return f"{name_direction(self.source)} and {name_direction(self.target)} swapped"


@frozen_request
class Scale(AtSite):
    """By a factor."""

    kind: ClassVar[EditKind] = EditKind.SCALED
    factor: float = field(kw_only=True)

    def describe_effect(self, main: str) -> str:
        """See `AtSite`."""
        return f"× {self.factor:g}"


@frozen_request
class SetValue(AtSite):
    """A number, or an array of the site's width (or positions × width)."""

    kind: ClassVar[EditKind] = EditKind.SCALED
    value: Value = field(kw_only=True)

    def describe_effect(self, main: str) -> str:
        """See `AtSite`."""
        return "set to given values" if isinstance(self.value, TensorRef) else f"set to {self.value:g}"


@frozen_request
class AtPattern:
    """What interventions at the attention pattern share."""

    site: ClassVar[Site] = Site.PATTERN
    kind: ClassVar[EditKind] = EditKind.INJECTED
    trace_source: ClassVar[None] = None
    prompt_source: ClassVar[None] = None
    layer: int


@frozen_request
class KnockOut(AtPattern):
    """Queries no longer see keys, before the softmax: the rows renormalise; where no key is left, z = 0."""

    kind: ClassVar[EditKind] = EditKind.ABLATED
    queries: Positions
    keys: Positions
    heads: Heads = "all"

    def describe(self, read: ReadPosition, main: str) -> str:
        """Where it acts and what it does, in words; see `in_words`."""
        queries, keys = name_positions(self.queries, read), name_positions(self.keys, read)
        look = "looks" if is_one(self.queries) else "look"
        return f"{name_heads(self.heads)}: {queries} no longer {look} at {keys}"


@frozen_request
class FreezePattern(AtPattern):
    """The baseline's rows of the attention pattern; rows after the baseline's text run free."""

    heads: Heads = "all"

    def describe(self, read: ReadPosition, main: str) -> str:
        """Where it acts and what it does, in words; see `in_words`."""
        return f"{name_heads(self.heads)}: the attention pattern stays as in the baseline"


SiteIntervention = Replace | ReplaceMain | Ablate | Patch | Steer | RemoveDirection | SwapDirection | Scale | SetValue
PatternIntervention = KnockOut | FreezePattern
Intervention = SiteIntervention | PatternIntervention


def in_words(what: Intervention, read: ReadPosition = str, main: str = "") -> str:
    """`layer 3, last prompt token, block output: the main component ␣Rome becomes ␣Paris`.

    read: how a position is written, such as `11 ‘:’`; its number alone where no text is at hand. main: what the main
    component is, where it is known.
    """
    layer = f"layer {what.layer}" if what.layer >= 0 else f"layer {what.layer} (from the end)"
    return f"{layer}, {what.describe(read, main)}"
