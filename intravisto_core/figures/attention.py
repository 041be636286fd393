"""Attention of heads as Plotly figures and tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.errors import RequestError, expected
from intravisto_core.figures import attention_page as attention_page
from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import share
from intravisto_core.figures.plots import share_map, style_figure, token_ticks
from intravisto_core.figures.text import plotly_text, printable
from intravisto_core.records import Attention, SparseAttention, Token
from intravisto_core.records.attention import MEAN_HEAD

LARGEST = 1000  # positions along a side of a static figure


def head_name(layer: int, head: int) -> str:
    """`L3H1`, or the mean of a layer's heads."""
    return f"L{layer} mean" if head == MEAN_HEAD else f"L{layer}H{head}"


@draws(Attention, "figure")
def attention_figure(attention: Attention, head: int = 0, dark: bool = False) -> go.Figure:
    """One query: heads down, keys across. Several: queries down, keys across, of the head at that place of `heads`.

    Raises:
        RequestError: no such place among the heads.
    """
    names = [head_name(*each) for each in attention.heads]
    if len(attention.queries) == 1:
        query = int(attention.queries[0])
        title = f"{attention.strength.label} from position {query}"
        return _matrix(attention, attention.weights[:, 0], names, np.array([], int), title, dark)
    if not 0 <= head < len(names):
        raise RequestError(expected("head", f"0 to {len(names) - 1}, a place among the heads of the record", head))
    title = f"Attention, {names[head]}, {attention.strength.label}"
    return _matrix(attention, attention.weights[head], [], attention.queries, title, dark)


def _matrix(
    attention: Attention, values: np.ndarray, names: list[str], queries: np.ndarray, title: str, dark: bool
) -> go.Figure:
    """Rows are the named heads, or queries. Keys that a row gives nothing to are blank."""
    _check_size(max(values.shape))
    rows, keys = names or _places(attention.tokens, queries), _places(attention.tokens, attention.keys)
    hover = [
        [_words(row, key, v) for key, v in zip(keys, line, strict=True)] for row, line in zip(rows, values, strict=True)
    ]
    trace = share_map(np.where(values == 0, np.nan, values), hover, "attention", dark)
    trace.update(hoverongaps=False)
    if max(values.shape) > 60:
        trace.update(xgap=0, ygap=0)
    figure = go.Figure(trace)
    figure.update_xaxes(title_text="key", side="top", tickangle=-60, **_ticks(keys))
    figure.update_yaxes(title_text="head" if names else "query", autorange="reversed", **_ticks(rows))
    width, height = (max(320, min(1100, 24 * n)) for n in values.T.shape)
    return style_figure(figure, title, dark=dark, width=width + 240, height=height + 240, above=130)


def _check_size(n: int) -> None:
    if n > LARGEST:
        most = f"at most {LARGEST:,} positions along a side"
        raise RequestError(expected("figure", most, n, "Ask for fewer, for .html() of sparse_attention, or .frame()"))


def _words(row: str, key: str, weight: float) -> str:
    return f"{plotly_text(row)} → {plotly_text(key)}: {share(float(weight))}"


def _places(tokens: tuple[Token, ...], positions: np.ndarray) -> list[str]:
    return [f"{p} {printable(tokens[p].shown)}" for p in positions.tolist()]


def _ticks(names: list[str]) -> dict[str, object]:
    """Ticks of an axis over rows with names; every n-th where there are many."""
    shown = [Token(0, name, name, i, True, False) for i, name in enumerate(names)]
    ticks = token_ticks(shown, len(names))
    return {**ticks, "ticktext": [text.partition(" ")[2] for text in ticks["ticktext"]]}


@draws(Attention, "frame")
def attention_frame(attention: Attention) -> pd.DataFrame:
    """One line a head, a query and a key that it gives something to."""
    head, query, key = np.nonzero(attention.weights)
    pairs = np.array(attention.heads)
    return _table(
        attention.tokens,
        pairs[head, 0],
        pairs[head, 1],
        attention.queries[query],
        attention.keys[key],
        attention.weights[head, query, key],
    )


def _table(
    tokens: tuple[Token, ...],
    layer: np.ndarray | int,
    head: np.ndarray | int | str,
    query: np.ndarray,
    key: np.ndarray,
    weight: np.ndarray,
) -> pd.DataFrame:
    shown = np.array([printable(t.shown) for t in tokens], dtype=object)
    columns = {"layer": layer, "head": head, "query": query, "key": key}
    return pd.DataFrame({**columns, "query_token": shown[query], "key_token": shown[key], "attention": weight})


@draws(SparseAttention, "figure")
def sparse_attention_figure(found: SparseAttention, dark: bool = False) -> go.Figure:
    """Queries down, keys across; what is not kept is blank.

    Raises:
        RequestError: the text is too long for a static figure.
    """
    n = len(found.tokens)
    _check_size(n)
    query = np.repeat(np.arange(n), np.diff(found.starts))
    values = np.full((n, n), np.nan)
    values[query, found.keys] = found.weights
    places = _places(found.tokens, np.arange(n))
    hover = np.full((n, n), "", dtype=object)
    hover[query, found.keys] = [
        _words(places[q], places[k], w) for q, k, w in zip(query, found.keys, found.weights, strict=True)
    ]
    trace = share_map(values, hover.tolist(), "attention", dark)
    trace.update(hoverongaps=False)
    if n > 60:
        trace.update(xgap=0, ygap=0)
    figure = go.Figure(trace)
    figure.update_xaxes(title_text="key", side="top", tickangle=-60, **_ticks(places))
    figure.update_yaxes(title_text="query", autorange="reversed", **_ticks(places))
    side = max(320, min(1100, 24 * n))
    title = f"Attention, {found.name}, {found.strength.label}, from {found.least:.0%}"
    return style_figure(figure, title, dark=dark, width=side + 240, height=side + 240, above=130)


@draws(SparseAttention, "frame")
def sparse_attention_frame(found: SparseAttention) -> pd.DataFrame:
    """One line an entry that is kept."""
    query = np.repeat(np.arange(len(found.tokens)), np.diff(found.starts))
    head: int | str = found.heads[0] if len(found.heads) == 1 else " ".join(map(str, found.heads))
    return _table(found.tokens, found.layer, head, query, found.keys, found.weights)
