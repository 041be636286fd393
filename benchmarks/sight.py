"""From a run to its picture: what is in sight, beside the bare forward pass and the products that it shows.

On the real model of the tests (python -m tests.real.fetch). "in sight" is the run with all sites, the columns that are
drawn first (those around the last position of the prompt) and the bytes for the browser. Beside it: the model's own
forward pass without a hook (logits of the last position), and the products of just these columns with the output table.
Then the rest of the heatmap beside its products.
"""

from __future__ import annotations

import argparse
import runpy
import statistics

from common import ROOT, machine, seconds, table

LENGTHS = (14, 305, 2000)
SENTENCE = "The Eiffel Tower is in the city of Paris, and many people visit it each year. "
PRODUCT_ROWS = 330


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--lengths", type=int, nargs="*", default=list(LENGTHS))
    options = parser.parse_args()
    import torch

    import intravisto_core as iv
    from intravisto_core.figures.web import grid_payload

    # by its file: the package of the tests checks every array, which takes time
    path = runpy.run_path(str(ROOT / "tests" / "real" / "fetch.py"))["find_model"]()
    if path is None:
        raise SystemExit("The real model is not here. Fetch it: python -m tests.real.fetch")
    engine = iv.open_model(str(path))
    engine.finish_check()
    model = engine.kept_traces.model
    unembed = model.weights.get("unembed").float()
    ids = [t.id for t in engine.tokenize(SENTENCE * (max(options.lengths) // 15 + 1))]
    n_rows = engine.model.n_layers + 2
    rows, whole_rows = [], []

    def products(n_vectors: int) -> None:
        x = torch.randn(n_vectors, unembed.shape[1])
        for start in range(0, n_vectors, PRODUCT_ROWS):
            torch.mm(x[start : start + PRODUCT_ROWS], unembed.T)

    with torch.no_grad():
        model.network(torch.tensor([ids[:8]]))
        for length in options.lengths:
            times: dict[str, list[float]] = {"sight": [], "forward": [], "products": [], "whole": [], "all": []}
            shown = 0
            for repetition in range(options.repetitions):
                # another first token each time: nothing of it is known
                text = (ids[repetition], *ids[1:length])
                batch = torch.tensor([text])
                kept = {}

                def sight(text=text, kept=kept, length=length) -> None:
                    trace = kept["trace"] = engine.trace(text)
                    kept["grid"] = grid = trace.heatmap(first=range(max(0, length - 7), length), within=0.3)
                    grid_payload(grid, columns=trace.tokens)

                times["sight"].append(seconds(sight))
                shown = len(kept["grid"].positions)
                times["forward"].append(seconds(lambda batch=batch: model.network(batch, logits_to_keep=1)))
                times["products"].append(seconds(lambda n=shown: products(n * n_rows)))
                if 0 < (rest := length - shown) < 1000:
                    times["whole"].append(seconds(kept["trace"].heatmap))
                    times["all"].append(seconds(lambda n=rest: products(n * n_rows)))
                kept["trace"].forget()
            found = {name: statistics.median(values) for name, values in times.items() if values}
            least = found["forward"] + found["products"]
            line = [found[name] for name in ("sight", "forward", "products")]
            rows.append([f"{length}", shown, *line, found["sight"] / least])
            if times["whole"]:
                ratio = found["whole"] / found["all"]
                whole_rows.append([f"{n_rows} × {length - shown}", found["whole"], found["all"], ratio])
    print(machine())
    head = ["tokens", "columns shown", "in sight s", "bare forward s", "their products s", "ratio"]
    table("run to the picture in sight (goal ≤ 1.25)", head, rows)
    table("the rest of the heatmap (goal ≤ 1.25)", ["cells", "seconds", "their products s", "ratio"], whole_rows)
    engine.close()


if __name__ == "__main__":
    main()
