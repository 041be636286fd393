"""Direct logit attribution: bars, with the logit as it grows over the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import change, significant
from intravisto_core.figures.page import component_page
from intravisto_core.figures.plots import style_figure
from intravisto_core.figures.text import plotly_text, printable
from intravisto_core.figures.theme import ATTENTION, LIGHT, MLP, RESIDUAL
from intravisto_core.figures.web.heads_payload import heads_data
from intravisto_core.figures.web.lines import Lines, lines_data, part_lines
from intravisto_core.figures.words import as_sentence, part_names, score_in_words, score_sums
from intravisto_core.records import Attribution, row_label
from intravisto_core.sites import Part, Refinement

QUESTION = "Which parts wrote this token's score?"
MOST_BARS = 40
MOST_PAGE_BARS = 200
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


@draws(Attribution, "figure")
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
    title = f"{score_in_words(found)}: {significant(found.logit)}, after position {found.position}"
    return style_figure(figure, title, dark=dark, width=1080, height=150 + 20 * max(len(rows), len(labels)))


@draws(Attribution, "frame")
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


@draws(Attribution, "page")
def attribution_page(found: Attribution, heading: str = QUESTION, order: str = "layer") -> str:
    """The parts as bars, sums and remainder, and the logit as it is reached; order: "layer", or "size"."""
    about = f"{found.model} · {printable(score_in_words(found))}, after position {found.position}"
    lines = [
        "Exact: the parts and the remainder add up to the score. Direct effects only, at the final norm's scale in "
        "this run; what a part prepares for later layers is not counted. A bookkeeping, not causes.",
        *map(as_sentence, found.notes),
    ]
    parts = {"attribution": attribution_data(found, order)}
    if found.by is Refinement.HEADS:
        parts = {"heads_map": heads_data(found), **parts}
    return component_page(heading, about, parts, lines)


def attribution_data(found: Attribution, order: str = "layer", most: int = MOST_PAGE_BARS) -> dict[str, Any]:
    """The data of attribution.js; most: bars, the smaller parts make one more."""
    picks = range(len(found.value)) if order == "layer" else np.argsort(-np.abs(found.value), kind="stable").tolist()
    title = f"What each part adds to the {printable(score_in_words(found))}"
    names = [row_label(r, found.n_layers) for r in range(found.n_layers + 2)]
    values = [float(v) for v in found.accumulated]
    return {
        **lines_data(found.trace, [Lines(title, part_lines(found, picks, most), ("change",))]),
        "signed": True,
        "narrow": True,
        "sums": [{"name": name, "value": change(value)} for name, value in score_sums(found)],
        "rows": [{"label": n, "value": v, "text": significant(v)} for n, v in zip(names, values, strict=True)],
    }
