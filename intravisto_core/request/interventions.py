"""What can be changed inside a run (docs/methods.md §8): an operation, at a site, a layer and positions."""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import check, is_number, is_whole, put, texts
from intravisto_core.request.positions import Positions, positions
from intravisto_core.request.tensors import TensorRef
from intravisto_core.sites import Ablation, Lens, Site, SteerUnit

STREAM_SITES = (Site.RESID_PRE, Site.RESID_MID, Site.RESID_POST, Site.ATTN_OUT, Site.MLP_OUT)
EDIT_SITES = (*STREAM_SITES, Site.Z, Site.ACT)
VECTOR_LENSES = (Lens.OUTPUT, Lens.INPUT, Lens.LINEAR, Lens.QUADRATIC)
Direction = str | TensorRef


@frozen_request
class PromptSet:
    """A named set of texts; a mean over it is over all positions of all texts."""

    name: str
    prompts: tuple[str, ...]

    def __post_init__(self) -> None:
        put(self, prompts=texts(self.prompts))
        check(
            bool(self.prompts) and all(self.prompts), "prompts", "at least one text, none of them empty", self.prompts
        )


@frozen_request
class AtSite:
    """Where an intervention acts.

    layer: negatives count from the last. positions: "prompt", "all" (with generated), a number, a list, a Span or
    Generated(step); negatives count from the end of the *prompt*. head: at `z`. neuron: at `act`; with experts
    (expert, neuron).
    """

    sites: ClassVar[tuple[Site, ...]] = EDIT_SITES
    site: Site
    layer: int
    positions: Positions = "all"
    head: int | None = None
    neuron: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        name, site = type(self).__name__, Site.parse(self.site, "site")
        put(self, site=site, positions=positions(self.positions))
        if site is Site.PATTERN:
            raise RequestError(f"{name}: does not exist at the attention pattern; KnockOut and FreezePattern do")
        if site not in EDIT_SITES:
            raise RequestError(expected("site", [*EDIT_SITES, Site.PATTERN], str(site)))
        if site not in self.sites:
            raise RequestError(
                f"{name}: refused at {site}, whose space is not the stream's: a token's vector or direction means "
                f"nothing there. It exists at {', '.join(self.sites)}"
            )
        check(is_whole(self.layer, -(2**31), 2**31), "layer", "a whole number", self.layer)
        self._check_part(site)

    def _check_part(self, site: Site) -> None:
        head, neuron = self.head, self.neuron
        if head is not None and site is not Site.Z:
            raise RequestError(f'head: {site} is not split by head. Use site="z", or leave the head out')
        if neuron is not None and site is not Site.ACT:
            raise RequestError(f'neuron: {site} is not split by neuron. Use site="act", or leave the neuron out')
        check(head is None or is_whole(head, 0, 2**31), "head", "a whole number from 0, or None for all", head)
        if isinstance(neuron, list | tuple):
            put(self, neuron=tuple(neuron))
            check(len(neuron) == 2 and all(is_whole(n, 0, 2**31) for n in neuron), "neuron", "(expert, neuron)", neuron)
        else:
            check(neuron is None or is_whole(neuron, 0, 2**31), "neuron", "a whole number from 0, or None", neuron)


@frozen_request
class Replace(AtSite):
    """By the vector of a token text: a row of U or E, or their mix at this row; several tokens: their mean.

    lens: output, input, linear or quadratic. match_norm: scaled to the norm of what it replaces.
    """

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    token: str = field(kw_only=True)
    lens: Lens = field(default=Lens.OUTPUT, kw_only=True)
    match_norm: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        _check_token(self.token)
        put(self, lens=_vector_lens(self.lens))


@frozen_request
class ReplaceMain(AtSite):
    """The direction of the top token under the lens gives its coefficient to another token's; rescaled to ‖x‖."""

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    token: str = field(kw_only=True)
    lens: Lens = field(default=Lens.OUTPUT, kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        _check_token(self.token)
        put(self, lens=_vector_lens(self.lens))


@frozen_request
class Ablate(AtSite):
    """Zero; the mean over this text, another trace or a PromptSet (`source`); or resampled from another trace."""

    how: Ablation = field(default=Ablation.ZERO, kw_only=True)
    source: str | PromptSet | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        how = Ablation.parse(self.how, "how")
        put(self, how=how, source=self.source if isinstance(self.source, PromptSet) else trace_id(self.source))
        if how is Ablation.RESAMPLE:
            check(isinstance(self.source, str), "source", "another trace, which the values are taken from", self.source)
        if how is Ablation.ZERO:
            check(self.source is None, "source", "None, since zero needs none", self.source)


@frozen_request
class Patch(AtSite):
    """The values of another trace of the same model.

    source: a trace or its id; it must be unedited. source_positions: as many as `positions`, or one for all; None
    reads `positions` on the source (negatives from the end of *its* prompt). source_layer: None is the same layer.
    """

    source: str = field(kw_only=True)
    source_positions: Positions | None = field(default=None, kw_only=True)
    source_layer: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        given, layer = self.source_positions, self.source_layer
        put(self, source=trace_id(self.source))
        check(isinstance(self.source, str), "source", "a trace, or the id of one", self.source)
        put(self, source_positions=None if given is None else positions(given, "source_positions"))
        check(layer is None or is_whole(layer, -(2**31), 2**31), "source_layer", "a whole number, or None", layer)


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

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        check(is_number(self.strength), "strength", "a finite number", self.strength)
        put(self, direction=direction(self.direction), unit=SteerUnit.parse(self.unit, "unit"))


@frozen_request
class RemoveDirection(AtSite):
    """`x − ⟨x,d̂⟩ d̂`."""

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    direction: Direction = field(kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        put(self, direction=direction(self.direction))


@frozen_request
class SwapDirection(AtSite):
    """The coordinates (a, b) of x in the plane of two directions become (b, a)."""

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    source: Direction = field(kw_only=True)
    target: Direction = field(kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        put(self, source=direction(self.source, "source"), target=direction(self.target, "target"))
        check(self.source != self.target, "target", "another direction than the source", self.target)


@frozen_request
class Scale(AtSite):
    """By a factor."""

    factor: float = field(kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        check(is_number(self.factor), "factor", "a finite number", self.factor)


@frozen_request
class SetValue(AtSite):
    """A number, or an array of the site's width (or positions × width)."""

    value: float | TensorRef = field(kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        value: Any = self.value
        if not isinstance(value, TensorRef):
            put(self, value=float(value) if is_number(value) else _array(value, "value", "a number or an array"))


@frozen_request
class KnockOut:
    """Queries no longer see keys, before the softmax: the rows renormalise; where no key is left, z = 0."""

    site: ClassVar[Site] = Site.PATTERN
    layer: int
    queries: Positions
    keys: Positions
    heads: str | tuple[int, ...] = "all"

    def __post_init__(self) -> None:
        check(is_whole(self.layer, -(2**31), 2**31), "layer", "a whole number", self.layer)
        put(self, queries=positions(self.queries, "queries"), keys=positions(self.keys, "keys"))
        put(self, heads=_heads(self.heads))


@frozen_request
class FreezePattern:
    """The baseline's rows of the attention pattern; rows after the baseline's text run free."""

    site: ClassVar[Site] = Site.PATTERN
    layer: int
    heads: str | tuple[int, ...] = "all"

    def __post_init__(self) -> None:
        check(is_whole(self.layer, -(2**31), 2**31), "layer", "a whole number", self.layer)
        put(self, heads=_heads(self.heads))


SiteIntervention = Replace | ReplaceMain | Ablate | Patch | Steer | RemoveDirection | SwapDirection | Scale | SetValue
PatternIntervention = KnockOut | FreezePattern
Intervention = SiteIntervention | PatternIntervention


def trace_id(value: Any) -> Any:
    """The id of a trace given as a handle; anything else as it is."""
    return getattr(value, "id", value)


def direction(value: Any, name: str = "direction") -> Direction:
    """A token text, or an array by its hash; whatever has a `vector` is a saved direction."""
    if isinstance(value, str):
        check(value != "", name, "a token text that is not empty, or an array", value)
        return value
    if isinstance(value, TensorRef):
        return value
    if hasattr(value, "vector"):
        return TensorRef.of(value.vector, str(getattr(value, "name", "")))
    return _array(value, name, "a token text, a saved direction or an array")


def _array(value: Any, name: str, allowed: str) -> TensorRef:
    if value is None or isinstance(value, str | bool) or np.ndim(value) == 0:
        raise RequestError(expected(name, allowed, value))
    return TensorRef.of(value)


def _check_token(token: object) -> None:
    check(isinstance(token, str) and token != "", "token", "a text of at least one token", token)


def _vector_lens(lens: Any) -> Lens:
    chosen = Lens.parse(lens, "lens")
    if chosen not in VECTOR_LENSES:
        raise RequestError(expected("lens", VECTOR_LENSES, str(chosen), "Only these have a vector for a token"))
    return chosen


def _heads(value: Any) -> str | tuple[int, ...]:
    if value == "all":
        return "all"
    listed = tuple(value) if hasattr(value, "__iter__") and not isinstance(value, str) else (value,)
    check(
        bool(listed) and all(is_whole(h, 0, 2**31) for h in listed), "heads", '"all", a head or a list of them', value
    )
    return listed
