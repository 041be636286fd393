"""What can be changed inside a run (docs/methods.md §8): an operation, at a site, a layer and positions.

A kind of intervention stands here with all that can be said of it without a model; what it does to the values is in
`tracing/operations.py`.
"""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from intravisto_core.request.at_site import PATCH_SITES, STREAM_SITES, AtPattern, AtSite, ReadPosition
from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import TraceId, check
from intravisto_core.request.functions import Apply
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
    name_vector,
    show_token,
)
from intravisto_core.request.positions import Positions
from intravisto_core.request.tensor_refs import TensorRef
from intravisto_core.sites import Ablation, EditKind, Lens, NormPolicy, Site, SteerUnit, TokenVector


@frozen_request
class Replace(AtSite):
    """By the vector of a token text; of several tokens their mean.

    lens: "whitened", the vector that reads back as the token, or its row of a table: output, input, linear or
    quadratic (their mix at this row). None is whitened in the stream, output at `attn_out` and `mlp_out`.
    match_norm: scaled to the norm of what it replaces. read_lens, read_norm: of a whitened one, the lens and norm
    policy that it reads back under; None takes the policy's default of docs/methods.md §3.
    """

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    token: TokenText = field(kw_only=True)
    lens: TokenVector | None = field(default=None, kw_only=True)
    match_norm: bool = field(default=True, kw_only=True)
    read_lens: VectorLens = field(default=Lens.OUTPUT, kw_only=True)
    read_norm: NormPolicy | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        if self.lens is None:
            object.__setattr__(self, "lens", usual_vector(self.site))
        given = self.read_lens is not Lens.OUTPUT or self.read_norm is not None
        allowed = 'left out: only lens="whitened" makes a vector for a lens and a norm'
        check(not given or self.vector is TokenVector.WHITENED, "read_lens, read_norm", allowed, str(self.read_lens))

    @property
    def vector(self) -> TokenVector:
        """Which vector stands for the token."""
        return self.lens or usual_vector(self.site)

    def describe_effect(self, main: str) -> str:
        """See `AtSite`."""
        scaled = "" if self.match_norm else ", not scaled"
        made = name_vector(self.vector, usual_vector(self.site), self.read_lens)
        return f"replaced by {show_token(self.token)}{made}{scaled}"


def usual_vector(site: Site) -> TokenVector:
    """Which vector stands for a token at a site where none is named: an update is no state, and none reads back."""
    return TokenVector.OUTPUT if site.is_update else TokenVector.WHITENED


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
    """The values of another trace of the same model; also of queries, keys and values, and rows of attention patterns.

    q and k from other positions are turned as at their new ones. A pattern comes from a text of the same length, row by
    row, and reads the run's own values.
    source: a trace or its id; it must be unedited. source_positions: as many as `positions`, or one for all; None
    reads `positions` on the source (negatives from the end of *its* prompt). source_layer: None is the same layer.
    """

    sites: ClassVar[tuple[Site, ...]] = PATCH_SITES
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
# what can leave this process, and what cannot
Written = SiteIntervention | PatternIntervention
Intervention = Written | Apply


def in_words(what: Intervention, read: ReadPosition = str, main: str = "") -> str:
    """`layer 3, last prompt token, block output: the main component ␣Rome becomes ␣Paris`.

    read: how a position is written, such as `11 ‘:’`; its number alone where no text is at hand. main: what the main
    component is, where it is known.
    """
    if what.layer is None:
        return what.describe(read, main)
    layer = f"layer {what.layer}" if what.layer >= 0 else f"layer {what.layer} (from the end)"
    return f"{layer}, {what.describe(read, main)}"
