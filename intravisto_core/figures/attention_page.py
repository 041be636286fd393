"""Attention as pages that work offline: one head by itself, or all heads with their map, in one file or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.page import component_page
from intravisto_core.figures.web.attention_payload import (
    LEAST,
    LEAST_OF_MEAN,
    PageParts,
    attention_payload,
    cube_packet,
    fits_cube,
    plain_payload,
    rows_packet,
    types_packet,
)
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import HeadTargets, HeadTypes, Record, Sinks, SparseAttention
from intravisto_core.request import AttentionView, HeadTargetsView, SinksView, SparseAttentionView, View
from intravisto_core.sites import AttentionDivision, SinkHandling

QUESTION = "Where does each token look?"
INDEX = "index.html"
CHUNK = 8
LARGEST_FILE = 20_000_000
# base64, and what stands around it
GROWTH = 1.4
ABOUT = (
    "Green: what a token looks at. Violet: what looks at it. A double click freezes either. Attention weights say how "
    "much is read, not what follows from it."
)

Read = Callable[[View[Any]], Any]


@draws(SparseAttention, "page")
def sparse_attention_page(found: SparseAttention, heading: str = QUESTION) -> str:
    """One head, or one mean: the text with both readings, and the matrix."""
    return component_page(heading, f"{found.model} · {found.name}", {"attention": plain_payload(found)}, _lines(found))


def _lines(record: Record) -> list[str]:
    return [ABOUT, *(as_sentence(note) for note in getattr(record, "notes", ()))]


@dataclass(frozen=True, slots=True)
class AttentionBook:
    """What pages of all heads are made of. layers: those whose heads can be chosen."""

    targets: HeadTargets
    sinks: Sinks
    types: HeadTypes | None
    layers: tuple[int, ...]
    read: Read

    @property
    def n_heads(self) -> int:
        """Heads of a layer."""
        return int(self.targets.shares.shape[1])

    @property
    def length(self) -> int:
        """Positions of the text."""
        return len(self.targets.tokens)

    @property
    def trace(self) -> str:
        """Id of the trace."""
        return self.targets.trace

    def numbers(self, layer: int, heads: Sequence[int]) -> list[int]:
        """Heads of a layer, all layers counted through."""
        return [layer * self.n_heads + head for head in heads]


def open_book(
    read: Read, trace: str, layers: Sequence[int] | None = None, types: HeadTypes | None = None
) -> AttentionBook:
    """The records that every page needs. read: the record of a view. layers: None for all."""
    targets: HeadTargets = read(HeadTargetsView(trace))
    n_layers = targets.shares.shape[0]
    chosen = tuple(range(n_layers)) if layers is None else tuple(dict.fromkeys(layers))
    return AttentionBook(targets, read(SinksView(trace)), types, chosen, read)


def write_attention_pages(book: AttentionBook, heading: str = QUESTION) -> Iterator[tuple[str, str]]:
    """The pages, each with the name of its file: one that holds all heads where that stays below 20 MB; else an index
    with the map and the mean of all heads, and a page for every layer and eight heads, which the map leads to.
    """
    n_layers = book.targets.shares.shape[0]
    if len(book.layers) == n_layers and fits_cube(n_layers, book.n_heads, book.length):
        cube = cube_packet(book.read(AttentionView(book.trace)), book.n_heads)
        yield INDEX, _page(book, [cube], range(n_layers * book.n_heads), heading, cube=True)
        return
    means = _mean_packets(book)
    chunks = [
        (layer, list(range(start, min(start + CHUNK, book.n_heads))))
        for layer in book.layers
        for start in range(0, book.n_heads, CHUNK)
    ]
    size, rows = sum(map(len, means)), list[bytes]()
    for layer, heads in chunks:
        rows += (made := _head_packets(book, layer, heads))
        size += sum(map(len, made))
        if size * GROWTH > LARGEST_FILE:
            break
    else:
        numbers = [n for layer, heads in chunks for n in book.numbers(layer, heads)]
        yield INDEX, _page(book, [*means, *rows], numbers, heading)
        return
    names = {(layer, heads[0]): _file_name(layer, heads) for layer, heads in chunks}
    files = {f"L{layer}H{h}": names[layer, heads[0]] for layer, heads in chunks for h in heads}
    yield INDEX, _page(book, means, [], heading, files=files)
    for layer, heads in chunks:
        packets = _head_packets(book, layer, heads)
        others = {name: file for name, file in files.items() if file != names[layer, heads[0]]} | {"all": INDEX}
        start = {"heads": f"L{layer}H{heads[0]}"}
        yield (
            names[layer, heads[0]],
            _page(book, packets, book.numbers(layer, heads), heading, files=others, start=start),
        )


def _file_name(layer: int, heads: Sequence[int]) -> str:
    return f"layer_{layer:02d}_heads_{heads[0]:02d}-{heads[-1]:02d}.html"


def _mean_packets(book: AttentionBook) -> list[bytes]:
    """The mean over all heads, sinks shown, hidden and renormalised: they differ from layer to layer."""
    views = [
        SparseAttentionView(book.trace, "mean", least=LEAST_OF_MEAN, sinks=handling, mark_sinks=True)
        for handling in SinkHandling
    ]
    return [rows_packet(f"rows all weights {view.sinks}", book.read(view)) for view in views]


def _head_packets(book: AttentionBook, layer: int, heads: Sequence[int]) -> list[bytes]:
    packets = []
    for head in heads:
        view = SparseAttentionView(book.trace, layer, head, LEAST, mark_sinks=True)
        packets.append(rows_packet(f"rows L{layer}H{head} weights", book.read(view)))
    return packets


def _page(
    book: AttentionBook, packets: Sequence[bytes], offered: Sequence[int], heading: str, cube: bool = False, **more: Any
) -> str:
    types = [] if book.types is None else [types_packet(book.types, book.trace)]
    last = sum(t.is_prompt for t in book.targets.tokens) - 1
    start = {"heads": "all", "query": last, "key": last, "lockQuery": False, "lockKey": False} | more.pop("start", {})
    parts = PageParts(
        sinks=book.sinks,
        cube=cube,
        packets=[*packets, *types],
        offered=None if cube else list(offered),
        strengths=(AttentionDivision.WEIGHTS,),
        start=start,
        **more,
    )
    n_layers = book.targets.shares.shape[0]
    share = float(np.mean(book.sinks.taken))
    about = f"{book.targets.model} · {n_layers} layers × {book.n_heads} heads · {book.length} tokens"
    if share > 0:
        about += f" · attention sinks have {share:.0%} of all attention"
    return component_page(heading, about, {"attention": attention_payload(book.targets, parts)}, _lines(book.targets))
