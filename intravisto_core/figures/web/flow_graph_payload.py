"""What the contribution-threshold graph in the browser is given."""

from __future__ import annotations

import numpy as np

from intravisto_core.figures.numbers import PER_CENT
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.flow_payload import column_headers, round_numbers, row_headers, with_key
from intravisto_core.figures.words import sinks_in_words, start_in_words
from intravisto_core.records import row_label
from intravisto_core.records.graph import ContributionGraph


def graph_payload(graph: ContributionGraph, scale: float = 1.0, rev: str = "") -> bytes:
    """The graph as JSON for flow_graph.js; `rev` goes back with every selection."""
    edges, nodes = len(graph.edge_share), len(graph.node_row)
    data = {
        "rev": rev,
        "model": printable(graph.model),
        "title": f"Contributions from {start_in_words(graph.row, graph.starts, graph.n_layers)}",
        "note": f"{nodes:,} states, {edges:,} steps of at least {100 * graph.threshold:.3g}{PER_CENT}",
        "fileName": "contributions",
        "threshold": graph.threshold,
        "scale": scale,
        "sinks": sinks_in_words(graph.sinks),
        "starts": [int(i) for i in np.flatnonzero(graph.node_row == graph.row)],
        "rows": row_headers(graph.rows, graph.n_layers),
        "names": {0: row_label(0, graph.n_layers), graph.n_layers + 1: row_label(graph.n_layers + 1, graph.n_layers)},
        "columns": column_headers(graph.tokens, graph.prompt_length, int(max(graph.starts, default=0))),
        "reads": [printable(t.shown) for t in graph.tokens],
        "node": {
            "row": graph.node_row.tolist(),
            "position": graph.node_position.tolist(),
            "mlp": round_numbers(graph.node_mlp),
            "over": [bool(v) for v in graph.node_mlp_over],
            "token": [printable(graph.shown[t]) if t >= 0 else "" for t in graph.node_token.tolist()],
            "probability": round_numbers(graph.node_probability),
        },
        "edge": {
            "source": graph.edge_source.tolist(),
            "target": graph.edge_target.tolist(),
            "kind": [str(k) for k in graph.edge_kind],
            "share": round_numbers(graph.edge_share),
        },
    }
    return with_key(data)
