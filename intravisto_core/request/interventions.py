"""What can be changed inside a run (docs/methods.md §8): an operation, at a site, a layer and positions."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, ClassVar

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import (
    Neuron,
    TraceId,
    check,
    check_whole,
    read_texts,
    read_trace_id,
    read_whole_numbers,
)
from intravisto_core.request.fields import list_of, read_number
from intravisto_core.request.positions import Positions
from intravisto_core.request.tensors import TensorRef
from intravisto_core.sites import Ablation, Lens, Site, SteerUnit

STREAM_SITES = (Site.RESID_PRE, Site.RESID_MID, Site.RESID_POST, Site.ATTN_OUT, Site.MLP_OUT)
EDIT_SITES = (*STREAM_SITES, Site.Z, Site.ACT)
VECTOR_LENSES = (Lens.OUTPUT, Lens.INPUT, Lens.LINEAR, Lens.QUADRATIC)


@frozen_request
class PromptSet:
    """A named set of texts; a mean over it is over all positions of all texts."""

    name: str
    prompts: Annotated[tuple[str, ...], read_texts]

    def __post_init__(self) -> None:
        check(bool(self.prompts), "prompts", "at least one text, none of them empty", self.prompts)


def read_direction(value: Any, name: str) -> str | TensorRef:
    """A token text, or an array by its hash; whatever has a `vector` is a saved direction."""
    if isinstance(value, str):
        check(value != "", name, "a token text that is not empty, or an array", value)
        return value
    if isinstance(value, TensorRef):
        return value
    if hasattr(value, "vector"):
        return TensorRef.of(value.vector, str(getattr(value, "name", "")))
    return _read_array(value, name, "a token text, a saved direction or an array")


def _read_array(value: Any, name: str, allowed: str) -> TensorRef:
    try:
        scalar = value is None or isinstance(value, str | bytes | bool | dict | set) or np.ndim(value) == 0
    except ValueError:  # lists of different lengths
        scalar = True
    if scalar:
        raise RequestError(expected(name, allowed, value))
    return TensorRef.of(value)


def _read_value(value: Any, name: str) -> float | TensorRef:
    if isinstance(value, TensorRef):
        return value
    try:
        return read_number(value, name)
    except RequestError:
        return _read_array(value, name, "a finite number or an array")


def _read_token_text(value: Any, name: str) -> str:
    check(isinstance(value, str) and value != "", name, "a text of at least one token", value)
    return str(value)


def _read_vector_lens(value: Any, name: str) -> Lens:
    lens = Lens.parse(value, name)
    if lens not in VECTOR_LENSES:
        raise RequestError(expected(name, VECTOR_LENSES, str(lens), "Only these have a vector for a token"))
    return lens


def _read_heads(value: Any, name: str) -> str | tuple[int, ...]:
    allowed = '"all", a head or a list of them'
    if isinstance(value, str):
        check(value == "all", name, allowed, value)
        return value
    found = read_whole_numbers(list_of(value), name, allowed)
    check(bool(found) and min(found) >= 0, name, allowed, value)
    return found


def _read_trace_source(value: Any, name: str) -> str | PromptSet | None:
    return value if value is None or isinstance(value, PromptSet) else read_trace_id(value, name)


Direction = Annotated[str | TensorRef, read_direction]
TokenText = Annotated[str, _read_token_text]
VectorLens = Annotated[Lens, _read_vector_lens]
Heads = Annotated[str | tuple[int, ...], _read_heads]
TraceSource = Annotated[str | PromptSet | None, _read_trace_source]


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


@frozen_request
class Replace(AtSite):
    """By the vector of a token text: a row of U or E, or their mix at this row; several tokens: their mean.

    lens: output, input, linear or quadratic. match_norm: scaled to the norm of what it replaces.
    """

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    token: TokenText = field(kw_only=True)
    lens: VectorLens = field(default=Lens.OUTPUT, kw_only=True)
    match_norm: bool = field(default=True, kw_only=True)


@frozen_request
class ReplaceMain(AtSite):
    """The direction of the top token under the lens gives its coefficient to another token's; rescaled to ‖x‖."""

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    token: TokenText = field(kw_only=True)
    lens: VectorLens = field(default=Lens.OUTPUT, kw_only=True)


@frozen_request
class Ablate(AtSite):
    """Zero; the mean over this text, another trace or a PromptSet (`source`); or resampled from another trace."""

    how: Ablation = field(default=Ablation.ZERO, kw_only=True)
    source: TraceSource = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        if self.how is Ablation.RESAMPLE:
            check(isinstance(self.source, str), "source", "another trace, which the values are taken from", self.source)
        if self.how is Ablation.ZERO:
            check(self.source is None, "source", "None, since zero needs none", self.source)


@frozen_request
class Patch(AtSite):
    """The values of another trace of the same model.

    source: a trace or its id; it must be unedited. source_positions: as many as `positions`, or one for all; None
    reads `positions` on the source (negatives from the end of *its* prompt). source_layer: None is the same layer.
    """

    source: TraceId = field(kw_only=True)
    source_positions: Positions | None = field(default=None, kw_only=True)
    source_layer: int | None = field(default=None, kw_only=True)


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


@frozen_request
class RemoveDirection(AtSite):
    """`x − ⟨x,d̂⟩ d̂`."""

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    direction: Direction = field(kw_only=True)


@frozen_request
class SwapDirection(AtSite):
    """The coordinates (a, b) of x in the plane of two directions become (b, a)."""

    sites: ClassVar[tuple[Site, ...]] = STREAM_SITES
    source: Direction = field(kw_only=True)
    target: Direction = field(kw_only=True)

    def __post_init__(self) -> None:
        AtSite.__post_init__(self)
        check(self.source != self.target, "target", "another direction than the source", self.target)


@frozen_request
class Scale(AtSite):
    """By a factor."""

    factor: float = field(kw_only=True)


@frozen_request
class SetValue(AtSite):
    """A number, or an array of the site's width (or positions × width)."""

    value: Annotated[float | TensorRef, _read_value] = field(kw_only=True)


@frozen_request
class KnockOut:
    """Queries no longer see keys, before the softmax: the rows renormalise; where no key is left, z = 0."""

    site: ClassVar[Site] = Site.PATTERN
    layer: int
    queries: Positions
    keys: Positions
    heads: Heads = "all"


@frozen_request
class FreezePattern:
    """The baseline's rows of the attention pattern; rows after the baseline's text run free."""

    site: ClassVar[Site] = Site.PATTERN
    layer: int
    heads: Heads = "all"


SiteIntervention = Replace | ReplaceMain | Ablate | Patch | Steer | RemoveDirection | SwapDirection | Scale | SetValue
PatternIntervention = KnockOut | FreezePattern
Intervention = SiteIntervention | PatternIntervention
