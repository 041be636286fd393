"""Direct logit attribution as bars, with the logit as it grows over the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.figures.numbers import change, significant
from intravisto_core.figures.plots import dressed
from intravisto_core.figures.text import plotly_text, printable
from intravisto_core.figures.theme import ATTENTION, LIGHT, MLP, RESIDUAL
from intravisto_core.records import Attribution, row_label
from intravisto_core.sites import Part

MOST_BARS = 40
_COLOURS = {
    Part.EMBEDDING: RESIDUAL,
    Part.POSITION: RESIDUAL,
    Part.ATTENTION: ATTENTION,
    Part.HEAD: ATTENTION,
    Part.ATTENTION_BIAS: ATTENTION,
    Part.MLP: MLP,
    Part.NEURON: MLP,
    Part.OTHER_NEURONS: MLP,
    Part.MLP_BIAS: MLP,
}
REST = "#8a94a3"


def part_name(kind: str, layer: int, index: int, expert: int) -> str:
    """A part in words: `layer 3, head 2`."""
    part = Part(kind)
    if layer < 0:
        return part.label
    name = {Part.HEAD: f"head {index}", Part.NEURON: f"neuron {index}", Part.OTHER_NEURONS: f"{index:,} other neurons"}
    whose = "" if expert < 0 else f", expert {expert}"
    return f"layer {layer}{whose}, {name.get(part, part.label)}"


def part_names(found: Attribution) -> list[str]:
    """All parts in words, in the order of the record."""
    columns = (found.kind, found.layer, found.index, found.expert)
    return [part_name(*values) for values in zip(*(c.tolist() for c in columns), strict=True)]


def measured(found: Attribution) -> str:
    """What is attributed, in words."""
    if found.contrast_id < 0:
        return f"logit of {found.target} above the vocabulary mean"
    return f"logit of {found.target} less that of {found.contrast}"


def attribution_figure(found: Attribution, dark: bool = False) -> go.Figure:
    """The largest parts as bars in the order of the model, the others as one, and the remainder; beside them the logit
    as it is reached row by row.
    """
    names, values = part_names(found), found.value
    kept = np.sort(np.argsort(-np.abs(values), kind="stable")[:MOST_BARS])
    rows = [(plotly_text(names[i]), float(values[i]), _COLOURS.get(Part(str(found.kind[i])), REST)) for i in kept]
    if len(kept) < len(values):
        rest = float(values.sum() - values[kept].sum())
        rows.append((f"{len(values) - len(kept):,} other parts", rest, REST))
    rows.append(("remainder", found.remainder, REST))
    figure = make_subplots(rows=1, cols=2, column_widths=[0.62, 0.38], horizontal_spacing=0.14)
    bars = go.Bar(
        x=[v for _, v, _ in rows],
        y=[f"{i + 1}  {name}" for i, (name, _, _) in enumerate(rows)],
        orientation="h",
        marker={"color": [c for _, _, c in rows]},
        text=[change(v) for _, v, _ in rows],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    figure.add_trace(bars, row=1, col=1)
    labels = [row_label(r, found.n_layers) for r in range(found.n_layers + 2)]
    line = go.Scatter(
        x=found.accumulated,
        y=labels,
        mode="lines+markers",
        line={"color": LIGHT.accent},
        hovertemplate="%{y}: %{x:.3g}<extra></extra>",
    )
    figure.add_trace(line, row=1, col=2)
    figure.update_yaxes(autorange="reversed", row=1, col=1)
    figure.update_xaxes(title_text="adds to the logit", row=1, col=1)
    figure.update_xaxes(title_text="reached so far", row=1, col=2)
    figure.update_layout(showlegend=False)
    title = f"{measured(found)}: {significant(found.logit)}, after position {found.position}"
    return dressed(figure, title, dark=dark, width=1080, height=150 + 20 * max(len(rows), len(labels)))


def attribution_frame(found: Attribution) -> pd.DataFrame:
    """One line a part, in the order of the model, and last the remainder."""
    table = pd.DataFrame(
        {
            "part": [printable(n) for n in part_names(found)],
            "kind": found.kind,
            "layer": found.layer,
            "index": found.index,
            "expert": found.expert,
            "value": found.value,
        }
    )
    table.loc[len(table)] = ["remainder", "remainder", -1, -1, -1, found.remainder]
    return table
