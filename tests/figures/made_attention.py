"""An attention page of a model and a text as large as wanted, made of random numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from intravisto_core.figures.page import component_page
from intravisto_core.figures.web.attention_payload import PageParts, attention_payload, query_packet, rows_packet
from intravisto_core.records import Attention, HeadTargets, SparseAttention, Token
from intravisto_core.records.attention import MEAN_LAYER
from intravisto_core.sites import HeadTarget, SinkHandling


def make_tokens(length: int) -> tuple[Token, ...]:
    return tuple(
        Token(id=p, text=f" w{p}", shown=f"␣w{p}", position=p, is_prompt=True, is_special=False) for p in range(length)
    )


def make_targets(tokens: tuple[Token, ...], n_layers: int, n_heads: int, seed: int = 0) -> HeadTargets:
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(len(HeadTarget), 0.4), (n_layers, n_heads)).astype(np.float32)
    ones = np.ones((n_layers, n_heads), np.float32)
    return HeadTargets(
        "made", "made", tokens, tuple(HeadTarget), shares, 0 * ones, 2 * ones, 9 * ones, ((0,),) * n_layers
    )


def make_rows(tokens: tuple[Token, ...], per_row: int = 20, seed: int = 0) -> SparseAttention:
    """The mean of all heads: of every row the sink and some keys."""
    random, length = np.random.default_rng(seed), len(tokens)
    keys = [np.unique(np.append(random.integers(0, i + 1, per_row), i)) for i in range(length)]
    weights = [random.dirichlet(np.full(len(k), 0.3)).astype(np.float32) for k in keys]
    zeros = np.zeros(length, np.float32)
    return SparseAttention(
        trace="made",
        model="made",
        tokens=tokens,
        layer=MEAN_LAYER,
        heads=(0,),
        least=0.002,
        starts=np.concatenate([[0], np.cumsum([len(k) for k in keys])]).astype(np.int64),
        keys=np.concatenate(keys).astype(np.int32),
        weights=np.concatenate(weights),
        rest=zeros,
        hidden=zeros,
        learned=zeros,
        sinks=SinkHandling.HIDE,
    )


def make_query(n_layers: int, n_heads: int, length: int, query: int, seed: int = 0) -> bytes:
    """One query in all heads, as a real text has it: a sink, itself and some keys."""
    random, n = np.random.default_rng(seed), n_layers * n_heads
    weights = np.zeros((n, 1, length), np.float32)
    keys = random.integers(0, query + 1, (n, 12))
    np.put_along_axis(weights[:, 0], keys, random.dirichlet(np.full(12, 0.3), n).astype(np.float32), 1)
    heads = tuple((layer, head) for layer in range(n_layers) for head in range(n_heads))
    zeros = np.zeros((n, 1), np.float32)
    every = np.arange(length, dtype=np.int32)
    found = Attention(
        "made", "made", make_tokens(length), heads, np.array([query], np.int32), every, weights, zeros, zeros
    )
    return query_packet(found)


def large_page(
    n_layers: int, n_heads: int, length: int, per_row: int = 20, heads: Sequence[str] = (), linked: bool = False
) -> str:
    """A page with the map of all heads and the rows of the mean and of the named heads; linked: as in the app, with the
    last query in all heads.
    """
    packets = make_packets(length, per_row, heads)
    packets += [make_query(n_layers, n_heads, length, length - 1)] if linked else []
    payload = make_payload(n_layers, n_heads, length, packets, linked)
    return component_page("Where does each token look?", "made", {"attention": payload}, [])


def make_packets(length: int, per_row: int, heads: Sequence[str]) -> list[bytes]:
    """The rows of the mean, then those of the named heads."""
    rows = make_rows(make_tokens(length), per_row)
    names = [f"rows all weights {SinkHandling.HIDE}", *(f"rows {head} weights" for head in heads)]
    return [rows_packet(name, rows) for name in names]


def make_payload(
    n_layers: int, n_heads: int, length: int, packets: Sequence[bytes] = (), linked: bool = False
) -> bytes:
    """The page's own packet."""
    start = {"heads": "all", "query": length - 1, "key": length - 1, "lockQuery": False, "lockKey": False}
    parts = PageParts(cube=False, packets=packets, start=start, links=linked)
    return attention_payload(make_targets(make_tokens(length), n_layers, n_heads), parts)
