"""`intravisto batch`: views of many prompts, over many workers, taken up again where it was stopped."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from intravisto_core.cli.options import add_model, announce_waiting, read_spec
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_text
from intravisto_core.errors import MissingProgramError, expected
from intravisto_core.request import to_json
from intravisto_core.service.batch_plan import VIEWS, BatchPlan, read_prompts


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    batch = add_command(
        commands,
        "batch",
        description="Run every prompt of a file and keep views of it. Begun again with the same words, it goes on "
        "where it was stopped; every prompt is answered exactly once.",
        epilog="examples:\n  intravisto batch prompts.jsonl --out results\n"
        "  intravisto batch prompts.jsonl --views heatmap,attribution,saliency --workers 4 --out results",
    )
    batch.add_argument("prompts", type=Path, help='lines of JSON: a text, or {"prompt": "…", "id": "…"}')
    add_model(batch)
    batch.add_argument(
        "--views", type=_read_views, default=("heatmap", "attribution"), metavar="NAMES", help=f"of {', '.join(VIEWS)}"
    )
    batch.add_argument("--max-new-tokens", type=int, default=0, metavar="N", help="tokens to generate (default 0)")
    batch.add_argument("--workers", type=int, default=0, metavar="N", help="processes of Ray Data (default: this one)")
    batch.add_argument("--address", metavar="RAY", help="Ray cluster, with --workers (default: a new one here)")
    batch.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    batch.set_defaults(run=_batch)


def _read_views(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    wrong = [name for name in names if name not in VIEWS]
    if wrong or not names:
        raise argparse.ArgumentTypeError(expected("views", list(VIEWS), wrong[0] if wrong else text))
    return names


def _batch(options: argparse.Namespace) -> int:
    try:
        from intravisto_core.service.batch import run_batch
    except ModuleNotFoundError as error:
        raise MissingProgramError(
            f"batch: expected the packages of the extra serve; {error.name} is missing. pip install 'intravisto[serve]'"
        ) from None
    prompts = read_prompts(options.prompts)
    spec = read_spec(options, "demo" if options.engine else options.model or "demo")
    if options.engine:
        announce_waiting(options.engine)
    plan = BatchPlan(to_json(spec), options.views, options.max_new_tokens, options.engine or "", options.model)

    def told(done: int, total: int) -> None:
        print_text(f"{done} of {total} parts")

    summary = run_batch(plan, prompts, options.out, options.workers, options.address, told)
    print_text(f"{summary.n_prompts} prompts, {summary.n_failed} failed; see {options.out / 'summary.html'}")
    return 0
