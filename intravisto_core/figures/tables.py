"""Records as tidy pandas tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from intravisto_core.figures.text import printable
from intravisto_core.records import Activation, DecodedGrid, Logits, Pattern, Shares

_CELL_NUMBERS = (
    "p_max",
    "entropy",
    "kl_final",
    "kl_below",
    "next_log_prob",
    "norms",
    "cosine",
    "top3_share",
)


def grid_frame(grid: DecodedGrid) -> pd.DataFrame:
    """One line a listed token: row, position, list ("top" or "suppressed"), rank k from 1, token, its numbers, and
    the numbers of its cell. Blank cells have no line.
    """
    lists = [_listed(grid, "top", grid.token_ids, grid.probabilities, grid.logits)]
    if grid.suppressed_ids is not None and grid.suppressed_logits is not None:
        nothing = np.full(grid.suppressed_logits.shape, np.nan)
        lists.append(_listed(grid, "suppressed", grid.suppressed_ids, nothing, grid.suppressed_logits))
    table = pd.concat(lists) if len(lists) > 1 else lists[0]
    table = table[table["token_id"] >= 0]
    order = ["row", "position", "list", "k"]
    return table.sort_values(order, ascending=[True, True, False, True], kind="stable").reset_index(drop=True)


def _listed(
    grid: DecodedGrid, name: str, ids: np.ndarray, probabilities: np.ndarray, logits: np.ndarray
) -> pd.DataFrame:
    n_rows, n_positions, k = ids.shape

    def cells(values: np.ndarray) -> np.ndarray:
        return np.repeat(values.reshape(-1), k)

    rows = np.repeat(grid.rows, n_positions)
    reads = np.array([printable(t.shown) for t in grid.tokens], dtype=object)
    labels = np.array([grid.row_label(int(r)) for r in grid.rows], dtype=object)
    texts = {int(i): printable(grid.shown.get(int(i), f"id {i}")) if i >= 0 else "" for i in np.unique(ids)}
    columns: dict[str, object] = {
        "row": cells(rows),
        "label": cells(np.repeat(labels, n_positions)),
        "position": cells(np.tile(grid.positions, n_rows)),
        "reads": cells(np.tile(reads, n_rows)),
        "list": name,
        "k": np.tile(np.arange(1, k + 1), n_rows * n_positions),
        "token_id": ids.reshape(-1),
        "token": [texts[int(i)] for i in ids.reshape(-1)],
        "probability": probabilities.reshape(-1),
        "logit": logits.reshape(-1),
    }
    if name == "top" and grid.coefficients is not None:
        columns["coefficient"] = grid.coefficients.reshape(-1)
    columns |= {number: cells(getattr(grid, number)) for number in _CELL_NUMBERS}
    if grid.winner is not None:
        columns["winner"] = cells(grid.winner)
    for watched in grid.watch:
        for number in ("probability", "logit", "rank"):
            columns[f"{number} of {printable(watched.shown)}"] = cells(getattr(watched, number))
    return pd.DataFrame(columns)


def shares_frame(shares: Shares) -> pd.DataFrame:
    """One line a layer and position: the shares of attention and MLP, and what is left for the stream."""
    layers, length = shares.attention.shape
    shown = {t.position: printable(t.shown) for t in shares.tokens}
    names = ("attention", "residual_attention", "mlp", "residual_mlp")
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(layers), length),
            "position": np.tile(np.arange(length), layers),
            "token": [shown.get(p, "") for p in range(length)] * layers,
            "measure": str(shares.measure),
            **{name: getattr(shares, name).reshape(-1) for name in names},
        }
    )


def pattern_frame(pattern: Pattern) -> pd.DataFrame:
    """One line a query and a key that it can see."""
    query, key = np.tril_indices(len(pattern.values))
    shown = {t.position: printable(t.shown) for t in pattern.tokens}
    return pd.DataFrame(
        {
            "layer": pattern.layer,
            "head": pattern.head,
            "query": query,
            "key": key,
            "query_token": [shown.get(int(q), "") for q in query],
            "key_token": [shown.get(int(k), "") for k in key],
            "attention": pattern.values[query, key],
        }
    )


def activation_frame(activation: Activation) -> pd.DataFrame:
    """One line a position (and head), one column a dimension."""
    values = activation.values
    if values.ndim == 2:
        heads: list[object] = [activation.head if activation.head is not None else "all"]
        values = values[None]
    else:
        heads = list(range(len(values)))
    n_heads, length, width = values.shape
    index = pd.DataFrame({"head": np.repeat(np.array(heads, dtype=object), length)})
    index["position"] = np.tile(np.arange(length), n_heads)
    numbers = pd.DataFrame(values.reshape(-1, width), columns=[f"x{i}" for i in range(width)])
    return pd.concat([index, numbers], axis=1)


def logits_frame(logits: Logits) -> pd.DataFrame:
    """One line a token id, the highest logit first."""
    order = np.argsort(-logits.values, kind="stable")
    ranks = np.arange(1, len(order) + 1)
    return pd.DataFrame({"rank": ranks, "token_id": order, "logit": logits.values[order]})
