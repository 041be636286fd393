"""The page of families: every tiny model held to the identities, or refused, as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers

from intravisto_core.architectures.refused import BY_NAME, COMPOSITE
from intravisto_core.errors import ModelError
from intravisto_core.experiments import tiny
from intravisto_core.experiments.self_check import check_model
from intravisto_core.models import load
from intravisto_core.models.threads import using_threads
from intravisto_core.records import Check, ModelCard
from intravisto_core.request import ModelSpec
from intravisto_core.sites import Capability

DTYPES = ("float32", "bfloat16")
NONE = "–"

_HEAD = """# Model families

Every family is held to the identities of [methods.md](methods.md) §2 on a tiny random model: here the largest error e
over layers and positions, in float32 and bfloat16; `0` is bit-equal. A real model is held to the same identities when
it is loaded. {none} is a capability that is not offered, with the reason below the table. Written by
`intravisto check --all-tiny --out docs/families.md` with transformers {transformers} and torch {torch}.
"""

_FEATURES = """
## What their cards name

| family | |
|---|---|
"""

_UNDECLARED = """
## Not declared

Any other decoder of transformers is tried by its structure: parts under the usual names, and what adds up in a small
run. It is held to the same identities, its card says `inferred`, and what fails is refused or lost. Some that were
tried:
"""

_REFUSED = """
## Refused

| model | reason |
|---|---|
"""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What came of one tiny model: a card for each of `DTYPES`, or why it was refused."""

    name: str
    cards: tuple[ModelCard, ...] = ()
    reason: str = ""


def survey_families(configs: dict[str, Callable[[], Any]]) -> Iterator[Surveyed]:
    """Make, load and check tiny models, one after the other."""
    with using_threads(1), TemporaryDirectory() as root:
        for n, (name, config) in enumerate(configs.items()):
            folder = tiny.write(config(), Path(root) / str(n))
            specs = [ModelSpec(str(folder), dtype=dtype, device_map="cpu") for dtype in DTYPES]
            try:
                yield Surveyed(name, tuple(check_model(load(spec)) for spec in specs))
            except ModelError as error:
                yield Surveyed(name, reason=str(error))


def write_page(declared: Iterable[Surveyed], undeclared: Iterable[Surveyed], refused: Iterable[Surveyed]) -> str:
    """The page in Markdown."""
    head = _HEAD.format(none=NONE, transformers=transformers.__version__, torch=torch.__version__.split("+")[0])
    reasons = "".join(f"| {one.name} | {one.reason} |\n" for one in refused)
    for reason, names in BY_NAME.items():
        reasons += f"| {', '.join(f'`{name}`' for name in names)} | {reason} |\n"
    reasons += f"| any other with a `text_config` or `vision_config` | {COMPOSITE} |\n"
    declared = list(declared)
    named = "".join(f"| {one.name} | {'; '.join(one.cards[0].features)} |\n" for one in declared if one.cards)
    return (
        f"{head}\n{write_table(declared)}{_FEATURES}{named}{_UNDECLARED}\n{write_table(undeclared)}{_REFUSED}{reasons}"
    )


def write_table(surveyed: Iterable[Surveyed]) -> str:
    """Families by capabilities, with the reasons of what is not offered below."""
    columns = ["family", "model_type", "block", *map(str, Capability)]
    lines, reasons = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"], []
    for one in surveyed:
        if not one.cards:
            raise ModelError(f"{one.name}: expected its identities to hold; {one.reason}")
        card = one.cards[0]
        cells = [_cell([c.capabilities[capability] for c in one.cards]) for capability in Capability]
        lines.append(f"| {' | '.join([one.name, f'`{card.family}`', card.block, *cells])} |")
        reasons += [(found.reason, str(k), one.name) for k, found in card.capabilities.items() if not found.ok]
    for reason in dict.fromkeys(r for r, _, _ in reasons):
        which = ", ".join(dict.fromkeys(k for r, k, _ in reasons if r == reason))
        lines.append(f"\n{NONE} `{which}`, {', '.join(n for r, _, n in reasons if r == reason)}: {reason}.")
    return "\n".join(lines) + "\n"


def _cell(checks: list[Check]) -> str:
    if not all(found.ok for found in checks):
        return NONE
    return " · ".join("0" if found.error == 0 else f"{found.error:.0e}" for found in checks)
