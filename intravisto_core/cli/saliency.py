"""`intravisto saliency`: which tokens a prediction depends on."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from intravisto_core.cli.options import add_out, add_prompt, open_engine, read_request, run_prompt
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.figures.numbers import change
from intravisto_core.records import Saliency
from intravisto_core.sites import SaliencyMethod, SaliencyReference

WIDEST_BAR = 20


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    saliency = add_command(
        commands,
        "saliency",
        epilog='examples:\n  intravisto saliency "Q: What is the capital of Italy? A:" --out saliency.html\n'
        '  intravisto saliency "Q: What is the capital of Italy? A:" --target " Rome" --contrast " Paris" '
        "--method integrated_gradients",
    )
    add_prompt(saliency)
    saliency.add_argument("--target", metavar="TEXT", help="token (default: what the model says)")
    saliency.add_argument("--contrast", metavar="TEXT", help="token to compare with (default: none)")
    saliency.add_argument("--position", type=int, help="position that says it (default: the prompt's last)")
    methods, references = list(map(str, SaliencyMethod)), list(map(str, SaliencyReference))
    saliency.add_argument("--method", choices=methods, default=methods[0], help=f"how (default {methods[0]})")
    saliency.add_argument("--steps", type=int, default=32, help="first steps of integrated gradients (default 32)")
    saliency.add_argument(
        "--reference", choices=references, default=references[0], help=f"where they begin (default {references[0]})"
    )
    saliency.add_argument("--draws", type=int, default=4, help="tokens that occlusion puts in each place (default 4)")
    saliency.add_argument("--draws-seed", type=int, default=0, metavar="N", help="what draws them (default 0)")
    add_out(saliency)
    saliency.set_defaults(run=_saliency)


def _saliency(options: argparse.Namespace) -> int:
    request = read_request(options)
    trace = run_prompt(request, open_engine(options))
    found = trace.saliency(
        options.target,
        options.contrast,
        options.position,
        options.method,
        options.steps,
        options.reference,
        draws=options.draws,
        seed=options.draws_seed,
    )
    against = f" over {found.contrast}" if found.has_contrast else ""
    print_text(f"{found.target}{against}, after position {found.position}: {change(found.metric)}")
    if options.out is None:
        print_text(list_tokens(found))
    else:
        print_text(f"wrote {found.save(options.out)}")
    print_notes(found.notes)
    return 0


def list_tokens(found: Saliency) -> str:
    """The tokens up to the position, one a line: score, a bar of + or −, position and token."""
    most = float(np.abs(found.scores).max()) or 1.0
    lines = []
    for position, token in enumerate(found.tokens[: found.position + 1]):
        score = float(found.scores[position])
        bar = ("+" if score > 0 else "−") * round(WIDEST_BAR * abs(score) / most)
        number = "held" if found.held[position] else change(score)
        lines.append(f"{number:>9}  {bar:<{WIDEST_BAR}}  {position:>4} {token.shown}")
    return "\n".join(lines)
