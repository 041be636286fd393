"""What can be asked about the effect of an edit (docs/methods.md §6, §8)."""

from __future__ import annotations

from typing import Any

from intravisto_core.records import Comparison, ConceptDirection, LinkCheck
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import Selection, check, is_whole, put, selection, texts
from intravisto_core.request.positions import Positions, positions
from intravisto_core.sites import Component, Lens, NormPolicy, Patching, Site

TokenChoice = str | int | None
MOST_LINKS_CHECKED = 500


def check_choice(value: object, name: str) -> None:
    """Refuse what is no text, token id or None."""
    ok = value is None or (isinstance(value, str) and value != "") or is_whole(value, 0, 2**31)
    check(ok, name, "a text, a token id, or None", value)


@frozen_request
class CompareView(View[Comparison]):
    """An edited trace against another one, most often its baseline.

    trace, edited: ids. target, contrast: a text (its first token counts) or a token id; None: the baseline's top token
    and its runner-up at `position`. position: which position the headline numbers are of; None is the last compared.
    component, lens, norm, rows, positions: of the difference grid, as in HeatmapView.
    patching: say "denoise" (the baseline is the corrupt text) or "noise" (it is the clean one) for the recovered share.
    """

    trace: str
    edited: str
    target: TokenChoice = None
    contrast: TokenChoice = None
    position: int | None = None
    component: Component = Component.BLOCK
    lens: Lens = Lens.OUTPUT
    norm: NormPolicy | None = None
    rows: Selection = None
    positions: Selection = None
    patching: Patching | None = None

    def __post_init__(self) -> None:
        put(
            self,
            component=Component.parse(self.component, "component"),
            lens=Lens.parse(self.lens, "lens"),
            norm=None if self.norm is None else NormPolicy.parse(self.norm, "norm"),
            rows=selection(self.rows, "rows"),
            positions=selection(self.positions, "positions"),
            patching=None if self.patching is None else Patching.parse(self.patching, "patching"),
        )
        check_choice(self.target, "target")
        check_choice(self.contrast, "contrast")


@frozen_request
class Link:
    """One vector that joins the stream of a block at one position.

    component: `attention` or `mlp` (what they wrote), `mid` (the stream after attention, handed to the block's output)
    or `block` (the stream before the block, handed to what comes next in it). layer: 0-based; the link leads to row
    layer + 1. source: only what attention brought from that position. head: only that head. neuron: only that one; with
    experts (expert, neuron).
    """

    component: Component
    layer: int
    position: int
    source: int | None = None
    head: int | None = None
    neuron: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        pair: Any = self.neuron
        put(
            self,
            component=Component.parse(self.component, "component"),
            neuron=tuple(pair) if isinstance(pair, list | tuple) else pair,
        )
        by_attention, by_mlp = self.component is Component.ATTENTION, self.component is Component.MLP
        check(by_attention or (self.source is None and self.head is None), "component", "attention", self.component)
        check(by_mlp or self.neuron is None, "component", "mlp, since a neuron is named", self.component)
        for name in ("layer", "position", "source", "head"):
            value, low = getattr(self, name), 0 if name == "head" else -(2**31)
            optional = value is None and name in ("source", "head")
            check(optional or is_whole(value, low, 2**31), name, "a whole number", value)
        numbers = self.neuron if isinstance(self.neuron, tuple) else (0, 0 if self.neuron is None else self.neuron)
        whole = len(numbers) == 2 and all(is_whole(n, 0, 2**31) for n in numbers)
        check(whole, "neuron", "a whole number, or (expert, neuron)", self.neuron)


@frozen_request
class LinkCheckView(View[LinkCheck]):
    """Predicted and measured effect of taking away each link's vector (docs/methods.md §6, checking a link).

    target, contrast: as in CompareView. position: where the logit difference is read; negatives count from the end of
    the text. links: 1 to 500.
    """

    trace: str
    links: tuple[Link, ...]
    target: TokenChoice = None
    contrast: TokenChoice = None
    position: int = -1

    def __post_init__(self) -> None:
        given: Any = self.links
        put(self, links=(given,) if isinstance(given, Link) else tuple(given))
        some = 0 < len(self.links) <= MOST_LINKS_CHECKED and all(isinstance(x, Link) for x in self.links)
        check(some, "links", f"1 to {MOST_LINKS_CHECKED} Links", f"{len(self.links)} things")
        check_choice(self.target, "target")
        check_choice(self.contrast, "contrast")


@frozen_request
class DirectionRequest(View[ConceptDirection]):
    """A concept direction: the mean of one prompt set less the mean of another, of unit norm (docs/methods.md §8).

    positive, negative: prompts, or one prompt. Without `negative` it is the mean alone. site, layer, positions: where
    the states are read, averaged over positions and prompts.
    """

    name: str
    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()
    site: Site = Site.RESID_POST
    layer: int = -1
    positions: Positions = (-1,)

    def __post_init__(self) -> None:
        put(
            self,
            positive=texts(self.positive),
            negative=texts(self.negative),
            site=Site.parse(self.site, "site"),
            positions=positions(self.positions),
        )
        check(bool(self.name), "name", "a text that is not empty", self.name)
        check(bool(self.positive), "positive", "at least one prompt", self.positive)
        for name in ("positive", "negative"):
            given = getattr(self, name)
            check(all(isinstance(p, str) and p for p in given), name, "texts, none of them empty", given)


EffectView = CompareView | LinkCheckView
