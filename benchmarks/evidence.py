"""A claim tested over prompts beside its controls, and circuits by each ranking, on the demo model.

Seconds and processor seconds of one call each. With --real also the real model (python -m tests.real.fetch). Goal: a
claim over twelve prompts of the demo model within ten seconds.
"""

from __future__ import annotations

import argparse
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import machine, table

COUNTRIES = ["Italy", "France", "Spain", "Finland", "Japan", "Egypt", "Brazil", "Denmark", "Serbia", "Chile"]
NAMES = ["John", "Mary", "Tom", "Anna", "James", "Sarah", "Peter", "Emma"]


def timed(act: Callable[[], Any]) -> list[float]:
    """Seconds, and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return [time.perf_counter() - wall, time.process_time() - cpu]


def measure(name: str, engine: Any, prompts: list[str], pairs: list[tuple[str, str]]) -> list[list[object]]:
    """Rows of the table: claims of a head, of an MLP and of a word that is hidden; circuits by each ranking."""
    import intravisto_core as iv

    last, trace = engine.model.n_layers - 1, engine.trace(prompts[0])
    claims = {
        "a head": iv.Ablate("z", last, -1, head=0),
        "an MLP in the middle": iv.Ablate("mlp_out", last // 2, -2),
        "a token hidden in all layers": [iv.KnockOut(layer, -1, -2) for layer in range(last + 1)],
    }
    rows: list[list[object]] = []
    for what, edit in claims.items():
        rows.append([f"{name}: {what}", len(prompts), *timed(lambda edit=edit: trace.test(iv.Claim(edit), prompts))])
    for by in iv.Ranking:
        rows.append([f"{name}: circuit, {by}", len(pairs), *timed(lambda by=by: engine.circuit(None, pairs, by=by))])
    return rows


def main() -> None:
    """Measure and print."""
    import intravisto_core as iv

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true", help="also the real model: some minutes")
    options = parser.parse_args()
    print(machine())
    prompts = [f"The capital of {country} is" for country in COUNTRIES]
    engine = iv.open_model("demo")
    rows = measure("demo", engine, prompts, list(zip(prompts, prompts[1:] + prompts[:1], strict=True)))
    engine.close()
    if options.real:
        fetch = Path(__file__).parents[1] / "tests" / "real" / "fetch.py"
        engine = iv.open_model(str(runpy.run_path(str(fetch))["find_model"]()))
        engine.finish_check()
        text = "When {a} and {b} went to the store, {c} gave a drink to"
        names = list(zip(NAMES, NAMES[1:] + NAMES[:1], strict=True))
        pairs = [(text.format(a=a, b=b, c=b), text.format(a=a, b=b, c=a)) for a, b in names]
        rows += measure("real", engine, [clean for clean, _ in pairs], pairs)
    table("claims and circuits", ["what", "prompts", "s", "CPU s"], rows)


if __name__ == "__main__":
    main()
