"""What can be asked about the effect of an edit (docs/methods.md §6, §8)."""

from __future__ import annotations

from typing import Annotated, Any

from intravisto_core.records import Comparison, ConceptDirection, LinkCheck, ReadBack
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import Neuron, Selection, TokenChoice, TraceId, check, check_whole, read_texts
from intravisto_core.request.fields import list_of
from intravisto_core.request.interventions import Replace, ReplaceMain
from intravisto_core.request.positions import Positions
from intravisto_core.request.views import TOP_K_KEPT
from intravisto_core.sites import Component, Lens, NormPolicy, Patching, Site

MOST_LINKS_CHECKED = 500


@frozen_request
class CompareView(View[Comparison]):
    """An edited trace against another one, most often its baseline.

    trace, edited: ids. target, contrast: a text (its first token counts) or a token id; None: the baseline's top token
    and its runner-up at `position`. position: which position the headline numbers are of; None is the last compared.
    component, lens, norm, rows, positions: of the difference grid, as in HeatmapView.
    patching: say "denoise" (the baseline is the corrupt text) or "noise" (it is the clean one) for the recovered share.
    """

    trace: TraceId
    edited: TraceId
    target: TokenChoice = None
    contrast: TokenChoice = None
    position: int | None = None
    component: Component = Component.BLOCK
    lens: Lens = Lens.OUTPUT
    norm: NormPolicy | None = None
    rows: Selection = None
    positions: Selection = None
    patching: Patching | None = None


@frozen_request
class Link:
    """One vector that joins the stream of a block at one position.

    component: `attention` or `mlp` (what they wrote), `mid` (the stream after attention, handed to the block's output)
    or `block` (the stream before the block, handed to what comes next in it). layer: 0-based; the link leads to row
    layer + 1. source: only what attention brought from that position. head: only that head. neuron: only that one; with
    experts (expert, neuron). Of layer and head, negatives count from the last one.
    """

    component: Component
    layer: int
    position: int
    source: int | None = None
    head: int | None = None
    neuron: Neuron = None

    def __post_init__(self) -> None:
        by_attention, by_mlp = self.component is Component.ATTENTION, self.component is Component.MLP
        check(by_attention or (self.source is None and self.head is None), "component", "attention", self.component)
        check(by_mlp or self.neuron is None, "component", "mlp, since a neuron is named", self.component)


def _read_edit(value: Any, name: str) -> Replace | ReplaceMain:
    check(isinstance(value, Replace | ReplaceMain), name, "a Replace or a ReplaceMain", type(value).__name__)
    found: Replace | ReplaceMain = value
    return found


@frozen_request
class ReadBackView(View[ReadBack]):
    """What the vector of an edit will read back as at its places, without running it (docs/methods.md §8).

    trace: an unedited one. edit: a Replace or a ReplaceMain. top_k: 1 to 32 tokens a position.
    """

    trace: TraceId
    edit: Annotated[Replace | ReplaceMain, _read_edit]
    top_k: int = 5

    def __post_init__(self) -> None:
        check_whole(self.top_k, "top_k", 1, TOP_K_KEPT)


def _read_links(value: Any, name: str) -> tuple[Link, ...]:
    links = tuple(list_of(value))
    some = 0 < len(links) <= MOST_LINKS_CHECKED and all(isinstance(x, Link) for x in links)
    check(some, name, f"1 to {MOST_LINKS_CHECKED} Links", f"{len(links)} things")
    return links


@frozen_request
class LinkCheckView(View[LinkCheck]):
    """Predicted and measured effect of taking away each link's vector (docs/methods.md §6, checking a link).

    target, contrast: as in CompareView. position: where the logit difference is read; negatives count from the end of
    the text. links: 1 to 500.
    """

    trace: TraceId
    links: Annotated[tuple[Link, ...], _read_links]
    target: TokenChoice = None
    contrast: TokenChoice = None
    position: int = -1


@frozen_request
class DirectionRequest(View[ConceptDirection]):
    """A concept direction: the mean of one prompt set less the mean of another, of unit norm (docs/methods.md §8).

    positive, negative: prompts, or one prompt. Without `negative` it is the mean alone. site, layer, positions: where
    the states are read, averaged over positions and prompts.
    """

    name: str
    positive: Annotated[tuple[str, ...], read_texts]
    negative: Annotated[tuple[str, ...], read_texts] = ()
    site: Site = Site.RESID_POST
    layer: int = -1
    positions: Positions = (-1,)

    def __post_init__(self) -> None:
        check(bool(self.name), "name", "a text that is not empty", self.name)
        check(bool(self.positive), "positive", "at least one prompt", self.positive)


EffectView = CompareView | LinkCheckView | ReadBackView
