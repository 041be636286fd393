"""A module tree, and how two of them differ: tables and static figures."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.plots import style_figure
from intravisto_core.figures.text import plotly_text, shorten
from intravisto_core.figures.theme import RESIDUAL
from intravisto_core.records import ModuleTree, TreeComparison

MOST_BARS = 40


@draws(ModuleTree, "frame")
def tree_frame(tree: ModuleTree) -> pd.DataFrame:
    """One row a module."""
    rows = [
        {
            "path": node.path,
            "class": node.cls,
            "built_with": node.built_with,
            "parameters": node.n_parameters,
            "bytes": node.n_bytes,
            "own": "; ".join(f"{t.name} {'×'.join(map(str, t.shape))} {t.dtype}" for t in node.tensors),
            "device": ", ".join(dict.fromkeys(t.device for t in node.tensors)),
            "quantised": ", ".join(dict.fromkeys(t.quantised for t in node.tensors if t.quantised)),
            "shared_with": ", ".join(place for t in node.tensors for place in t.shared_with),
            "same_as": node.same_as,
        }
        for node in tree.nodes
    ]
    return pd.DataFrame(rows)


@draws(ModuleTree, "figure")
def tree_figure(tree: ModuleTree, dark: bool = False) -> go.Figure:
    """Parameters as nested areas."""
    kept = [node for node in tree.nodes if node.n_parameters]
    ids = {node.path: node.path or "(root)" for node in kept}
    chart = go.Treemap(
        ids=[ids[node.path] for node in kept],
        labels=[plotly_text(node.name or tree.model) for node in kept],
        parents=[ids.get(node.path.rpartition(".")[0], "") if node.path else "" for node in kept],
        values=[node.n_parameters for node in kept],
        # a table that two share is counted in both, and in what holds both once
        branchvalues="remainder" if _sums_fail(tree) else "total",
        customdata=[plotly_text(node.cls) for node in kept],
        hovertemplate="%{id}<br>%{customdata}<br>%{value:,} parameters<extra></extra>",
    )
    return style_figure(go.Figure(chart), f"Parameters of {tree.model}", dark=dark, width=900, height=560)


def _sums_fail(tree: ModuleTree) -> bool:
    """Whether children hold more together than their parent, since they share tensors."""
    inside = {node.path: 0 for node in tree.nodes}
    for node in tree.nodes[1:]:
        inside[node.path.rpartition(".")[0]] += node.n_parameters
    return any(inside[node.path] > node.n_parameters for node in tree.nodes)


@draws(TreeComparison, "frame")
def comparison_frame(found: TreeComparison) -> pd.DataFrame:
    """One row a module; of its values the largest change."""
    rows = [
        {
            "path": change.path,
            "kind": change.kind,
            "class": change.cls[0],
            "other_class": change.cls[1],
            "dtype": ", ".join(dict.fromkeys(change.dtypes[0].values())),
            "other_dtype": ", ".join(dict.fromkeys(change.dtypes[1].values())),
            "bytes": change.n_bytes[0],
            "other_bytes": change.n_bytes[1],
            "relative_change": max(change.values.values(), default=math.nan),
            "not_compared": "; ".join(f"{name}: {why}" for name, why in change.not_compared.items()),
        }
        for change in found.changes
    ]
    return pd.DataFrame(rows)


@draws(TreeComparison, "figure")
def comparison_figure(found: TreeComparison, dark: bool = False) -> go.Figure:
    """The largest changes of values."""
    sizes = {c.path: max(c.values.values(), default=math.nan) for c in found.changes}
    order = sorted((p for p, v in sizes.items() if np.isfinite(v) and v > 0), key=sizes.__getitem__)[-MOST_BARS:]
    bars = go.Bar(
        x=[sizes[path] for path in order],
        y=[plotly_text(shorten(path, 60)) for path in order],
        orientation="h",
        marker={"color": RESIDUAL},
        hovertemplate="%{y}: %{x:.3g}<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_xaxes(title_text="‖W′ − W‖ / ‖W‖")
    title = f"{found.model} and {found.other}: {len(found.different)} modules differ"
    return style_figure(figure, title, dark=dark, width=900, height=160 + 18 * len(order))
