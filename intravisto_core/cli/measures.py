"""`intravisto measures`: which picture foretells what edits do, on a model and prompts of one's own."""

from __future__ import annotations

import argparse
from typing import Any

from intravisto_core.cli.evidence import read_prompts
from intravisto_core.cli.options import add_model, add_out, open_engine
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.records import MeasureTest
from intravisto_core.request import MeasureTestRequest


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    measures = add_command(
        commands,
        "measures",
        description="For each prompt, the tokens are ordered by what each picture says of them, and by how far the "
        "prediction falls when a token is swapped or hidden. Printed is how far the orders agree.",
        epilog="examples:\n  intravisto measures --model path/to/model --prompts prompts.txt --out measures.html",
    )
    add_model(measures)
    measures.add_argument("--prompts", metavar="FILE", required=True, help="the prompts, one a line; - is the input")
    measures.add_argument("--kl", action="store_true", help="also flows by KL shares, which take long")
    measures.add_argument("--integrated", action="store_true", help="also integrated gradients")
    measures.add_argument("--draws", type=int, default=5, help="tokens that are put in each place (default 5)")
    measures.add_argument("--draws-seed", type=int, default=0, metavar="N", help="what draws them (default 0)")
    add_out(measures)
    measures.set_defaults(run=_measures)


def _measures(options: argparse.Namespace) -> int:
    prompts: Any = read_prompts(options.prompts)
    request = MeasureTestRequest(prompts, options.kl, options.integrated, options.draws, options.draws_seed)
    found = open_engine(options).view(request)
    print_text(report(found))
    if options.out is not None:
        print_text(f"wrote {found.save(options.out)}")
    print_notes(found.notes)
    return 0


def report(found: MeasureTest) -> str:
    """A line a predictor, the best first."""
    lines = [f"{'swapping':>8} {'hiding':>8}  rank correlation over the tokens of {len(found.prompts)} prompts"]
    mean = found.mean()
    for i in (-mean[:, 0]).argsort(kind="stable"):
        lines.append(f"{mean[i, 0]:>8.2f} {mean[i, 1]:>8.2f}  {found.predictors[i]}")
    return "\n".join([*lines, f"{found.heads.mean():>8.2f} {'':>8}  heads: attribution, against taking each away"])
