"""Views of a trace: what they take on the server, what is sent, and how soon the browser has painted it.

Server: 34 rows (32 layers, d 256, V 50,257) × 200 positions. Browser: the same picture beside Plotly's heatmap with
text, both with their scripts loaded before, from the data as it arrives to two animation frames after drawing.
"""

from __future__ import annotations

import argparse
import statistics
from base64 import b64encode
from collections.abc import Callable

from common import VOCABULARY, chromium, machine, random_ids, random_model, seconds, table

LAYERS, WIDTH, POSITIONS = 32, 256, 200
PRODUCT_ROWS = 400

PAGE = """<!doctype html><meta charset="utf-8"><body style="margin:0"><script>{plotly}</script><script>
const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
const place = () => {{
  document.querySelectorAll(".place").forEach((old) => old.remove());
  const div = document.body.appendChild(document.createElement("div"));
  div.className = "place";
  return div;
}};
let mount;
async function load(source) {{
  mount = (await import(URL.createObjectURL(new Blob([source], {{ type: "text/javascript" }})))).default;
}}
async function ours({{ packed, css }}) {{
  const data = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const parentElement = place();
  parentElement.appendChild(document.createElement("style")).textContent = css;
  await painted();
  const start = performance.now();
  mount({{ data, parentElement, setStateValue() {{}}, setTriggerValue() {{}} }});
  await painted();
  return performance.now() - start;
}}
async function plotly({{ text }}) {{
  const div = place();
  await painted();
  const start = performance.now();
  const figure = JSON.parse(text);
  await Plotly.newPlot(div, figure.data, figure.layout);
  await painted();
  return performance.now() - start;
}}
</script>"""


def server(repetitions: int) -> None:
    """Views on warm tiles, a lens on cold ones, and the bytes of each."""
    import torch

    import intravisto_core as iv
    from intravisto_core.figures.web import grid_payload

    with random_model("llama", LAYERS, WIDTH) as folder, torch.no_grad():
        engine = iv.open_model(folder)
        engine.finish_check()
        trace = engine.trace(random_ids(POSITIONS, 0))
        first = seconds(trace.heatmap)
        trace.shares()
        size = 0

        def view(colour: str = "p_max", **options: object) -> None:
            nonlocal size
            shares = trace.shares() if colour in ("attention", "mlp") else None
            size = len(grid_payload(trace.heatmap(**options), colour, shares))

        kinds: dict[str, Callable[[], None]] = {
            "whole, as it was": view,
            "layer and position sliders": lambda: view(rows=iv.Span(5, 25), positions=iv.Span(40, 160)),
            "k = 12": lambda: view(top_k=12),
            "colour: entropy": lambda: view("entropy"),
            "colour: attention share": lambda: view("attention"),
            "stride 4": lambda: view(positions=range(0, POSITIONS, 4)),
        }
        rows = []
        for name, work in kinds.items():
            took = statistics.median(seconds(work) for _ in range(repetitions))
            rows.append([name, took, size / 1000])
        table("view, server: 34 × 200, tiles warm (goal ≤ 0.1 s)", ["change", "seconds", "kB to the browser"], rows)

        weights = engine.kept_traces.model.weights
        x = torch.randn((LAYERS + 2) * POSITIONS, WIDTH)

        def products() -> None:
            for start in range(0, len(x), PRODUCT_ROWS):
                x[start : start + PRODUCT_ROWS] @ weights.get("embed").T
                x[start : start + PRODUCT_ROWS] @ weights.get("unembed").T

        products()
        linear = seconds(lambda: trace.heatmap(lens="linear"))
        bare = seconds(products)
        quadratic = seconds(lambda: trace.heatmap(lens="quadratic"))
        bare = (bare + seconds(products)) / 2
        table(
            f"view, server: another lens, tiles cold, V {VOCABULARY:,}",
            ["lens", "seconds", "its products s", "ratio"],
            [
                ["output, first view", first, bare / 2, first / (bare / 2)],
                ["linear", linear, bare, linear / bare],
                ["quadratic", quadratic, bare, quadratic / bare],
            ],
        )
        engine.close()


def synthetic_grid(n_rows: int, n_positions: int):
    """A record of that size with the demo model's tokens and random numbers."""
    import numpy as np

    import intravisto_core as iv

    engine = iv.open_model("demo")
    vocabulary = engine.tokenize(" ".join(["the capital of Italy is Rome and 1 2 3"] * 40))
    rng = np.random.default_rng(0)
    cells, lists = (n_rows, n_positions), (n_rows, n_positions, 5)
    ids = rng.choice(sorted({t.id for t in vocabulary}), lists)
    probabilities = np.sort(rng.dirichlet(np.ones(8), cells)[:, :, :5].astype(np.float32))[:, :, ::-1]
    numbers = {
        name: rng.random(cells, dtype=np.float32)
        for name in ("entropy", "kl_final", "kl_below", "next_log_prob", "norms", "cosine", "top3_share")
    }
    tokens = tuple(
        iv.Token(t.id, t.text, t.shown, p, True, False)
        for p, t in zip(range(n_positions), vocabulary * n_positions, strict=False)
    )
    engine.close()
    return iv.DecodedGrid(
        trace="synthetic",
        model="synthetic",
        n_layers=n_rows - 2,
        prompt_length=n_positions,
        component=iv.Component.BLOCK,
        lens=iv.Lens.OUTPUT,
        norm=iv.NormPolicy.FINAL,
        reading=iv.Reading.TOP,
        rows=np.arange(n_rows),
        positions=np.arange(n_positions),
        tokens=tokens,
        says=ids[-1, :, 0],
        token_ids=ids,
        probabilities=probabilities,
        logits=np.log(probabilities),
        p_max=probabilities[:, :, 0],
        blank=("",) * n_rows,
        shown={t.id: t.shown for t in vocabulary},
        d_vocab=2048,
        **numbers,
    )


def painted(repetitions: int) -> None:
    """From data to painted, ours beside Plotly's."""
    from plotly.offline import get_plotlyjs

    from intravisto_core.figures.web import component_source, grid_payload

    rows = []
    with chromium() as page:
        page.set_content(PAGE.format(plotly=get_plotlyjs()))
        source, css = component_source("grid")
        page.evaluate("load", source)
        for size in ((34, 200), (80, 200)):
            grid = synthetic_grid(*size)
            payload, text = grid_payload(grid, rev="x"), plotly_with_text(grid)
            argument = {"packed": b64encode(payload).decode(), "css": css}
            times: dict[str, list[float]] = {"ours": [], "plotly": []}
            for _ in range(repetitions):
                times["ours"].append(page.evaluate("ours", argument))
                times["plotly"].append(page.evaluate("plotly", {"text": text}))
            mine, other = (statistics.median(t) / 1000 for t in times.values())
            best, bytes_sent = min(times["ours"]) / 1000, (len(payload) / 1000, len(text) / 1000)
            rows.append([f"{size[0]} × {size[1]}", mine, best, other, other / mine, *bytes_sent])
    table(
        f"view, Chromium: data to painted, medians of {repetitions} (goal ≤ 0.1 s)",
        ["cells", "ours s", "ours, best", "Plotly s", "Plotly/ours", "ours kB", "Plotly kB"],
        rows,
    )


def plotly_with_text(grid) -> str:
    """The record as Plotly's own heatmap with a text in every cell and a hover of five lines, as JSON."""
    import plotly.graph_objects as go

    texts = [[grid.shown[int(i)] for i in row] for row in grid.token_ids[:, :, 0]]
    hover = [
        [
            "<br>".join(f"{grid.shown[int(i)]} {100 * p:.1f} %" for i, p in zip(ids, ps, strict=True))
            for ids, ps in zip(row, numbers, strict=True)
        ]
        for row, numbers in zip(grid.token_ids, grid.probabilities, strict=True)
    ]
    options = {"text": texts, "texttemplate": "%{text}", "customdata": hover, "hovertemplate": "%{customdata}"}
    figure = go.Figure(go.Heatmap(z=grid.p_max, xgap=1, ygap=1, **options))
    figure.update_layout(width=44 * len(grid.positions), height=26 * len(grid.rows) + 100)
    return str(figure.to_json())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--only", choices=("server", "painted"), help="measure only this part")
    options = parser.parse_args()
    print(machine())
    for part in (server, painted):
        if options.only in (None, part.__name__):
            part(options.repetitions)


if __name__ == "__main__":
    main()
