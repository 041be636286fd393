"""A dictionary as an engine keeps it: one coder a layer, with the place that it reads and the one that it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex

from intravisto_core.models.dictionaries.coder import Coder
from intravisto_core.models.dictionaries.hooks import Hook
from intravisto_core.records import DictionaryCard
from intravisto_core.sites import Site


@dataclass(frozen=True, slots=True)
class LayerCoder:
    """One layer's coder. reads, writes: equal in an autoencoder, different in a transcoder."""

    reads: Hook
    writes: Hook
    coder: Coder

    @property
    def is_transcoder(self) -> bool:
        """Whether it writes another place than it reads."""
        return self.reads != self.writes

    @property
    def site(self) -> Site:
        """Where what it writes joins the stream, which is where it can be changed."""
        return Site.ATTN_OUT if self.writes.site is Site.Z else self.writes.site


@dataclass(frozen=True, slots=True)
class Dictionary:
    """name: how requests call it. source: where it came from. kind: the program whose files these are. model: the
    model that it was trained on, as its config calls it. layers: by number, at least one. handle: tells it from
    any other one that was opened.
    """

    name: str
    source: str
    kind: str
    model: str
    layers: Mapping[int, LayerCoder]
    handle: str = field(default_factory=token_hex)

    def describe(self) -> DictionaryCard:
        """What a reader needs to know of it."""
        first = next(iter(self.layers.values()))
        return DictionaryCard(
            name=self.name,
            source=self.source,
            kind=self.kind,
            model=self.model,
            layers=tuple(sorted(self.layers)),
            reads=first.reads.said,
            writes=first.writes.said,
            site=first.site,
            activation=first.coder.activation,
            n_features=first.coder.n_features,
            transcoder=first.is_transcoder,
        )
