"""Which picture foretells what edits do: every predictor of the words that count held against edits of these words.

50 prompts of the demo model, and with --real 50 of the real model (python -m tests.real.fetch) in float32; the last
position, the token that the model says there. Each number is a mean over the prompts of Spearman's
correlation over the tokens of a prompt, position 0 aside; brackets hold 95 % intervals from resampled prompts.
`intravisto measures` does the same on a model and prompts of one's own.
"""

from __future__ import annotations

import argparse
import random
import runpy
from pathlib import Path
from typing import Any

from common import machine, table

N = 50
NAMES = [
    "John",
    "Mary",
    "Tom",
    "Anna",
    "James",
    "Sarah",
    "Peter",
    "Emma",
    "David",
    "Lisa",
    "Mark",
    "Kate",
    "Paul",
    "Lucy",
]
PLACES = ["store", "park", "school", "station", "museum", "beach"]
THINGS = ["drink", "book", "key", "letter", "ball", "ticket"]
FACTS = [
    "The Eiffel Tower is in the city of",
    "The Colosseum is in the city of",
    "The capital city of Germany is called",
    "The language that people speak in Brazil is",
    "The currency that people use in Japan is the",
    "The president of the United States lives in the White",
    "The opposite of hot is cold and the opposite of big is",
    "Monday, Tuesday, Wednesday, Thursday,",
    "Two plus two is four, and three plus three is",
    "The largest planet of the solar system is",
    "Water is made of hydrogen and",
    "The author of Romeo and Juliet is William",
    "A baby dog is called a puppy and a baby cat is called a",
    "The sun rises in the east and sets in the",
]


def real_prompts() -> list[str]:
    """Facts, and sentences in which a name has to come again."""
    draw = random.Random(0)
    found = list(FACTS)
    while len(found) < N:
        a, b = draw.sample(NAMES, 2)
        place, thing = draw.choice(PLACES), draw.choice(THINGS)
        found.append(f"When {a} and {b} went to the {place}, {b} gave a {thing} to")
    return found


def demo_prompts() -> list[str]:
    """Facts of the demo model's world, cut before the answer."""
    from intravisto_core.demo.corpus.facts import FACT_TEMPLATES
    from intravisto_core.demo.corpus.words import COUNTRIES

    draw = random.Random(0)
    templates = [text for texts in FACT_TEMPLATES.values() for text in texts]
    pairs = draw.sample([(text, country) for text in templates for country in COUNTRIES], 4 * N)
    texts = dict.fromkeys(text.split("@")[0].replace("{c}", country.name) for text, country in pairs)
    # position 0 is left out of every number, so that no country may stand there
    countries = tuple(country.name for country in COUNTRIES)
    return [text for text in texts if not text.startswith(countries)][:N]


def measure(name: str, model: Any, prompts: list[str], options: dict[str, Any]) -> None:
    """Print the table of one model."""
    import intravisto_core as iv

    engine = iv.open_model(model, dtype="float32")
    engine.finish_check()
    found = engine.measure_test(prompts, **options)
    frame = found.frame()
    rows = []
    for predictor in found.predictors:
        row: list[object] = [predictor]
        for truth in found.truths:
            one = frame[(frame["predictor"] == predictor) & (frame["truth"] == truth)].iloc[0]
            row += [
                f"{one['mean']:.2f} [{one['low']:.2f}, {one['high']:.2f}]",
                one["inner"],
                one["partial"],
                one["top"],
            ]
        rows.append(row)
    title = f"{name}, {len(prompts)} prompts; heads, attribution against ablation: {found.heads.mean():.2f}"
    parts = ("all", "inner", "no position", "top")
    table(title, ["predictor", *(f"{truth}: {part}" for truth in found.truths for part in parts)], rows)
    engine.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true", help="also the real model: ten minutes of one core")
    parser.add_argument("--kl", action="store_true", help="also flows by KL shares: an hour with --real")
    parser.add_argument("--integrated", action="store_true", help="also integrated gradients")
    options = parser.parse_args()
    print(machine())
    asked = {"kl": options.kl, "integrated": options.integrated}
    measure("demo", "demo", demo_prompts(), asked)
    if options.real:
        fetch = Path(__file__).parents[1] / "tests" / "real" / "fetch.py"
        measure("real", runpy.run_path(str(fetch))["find_model"](), real_prompts(), asked)


if __name__ == "__main__":
    main()
