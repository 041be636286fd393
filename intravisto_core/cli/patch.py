"""`intravisto patch`: what carries the difference of two prompts."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from intravisto_core.cli.options import add_model, add_out, open_engine
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.numbers import change, share
from intravisto_core.figures.patching_words import describe_columns, describe_metric
from intravisto_core.records import PatchGrid
from intravisto_core.request import (
    EmbeddingNoise,
    PatchingRequest,
    PathPatchingRequest,
    ResampleTokens,
    SwapTokens,
)
from intravisto_core.request.patching import GRID_SITES
from intravisto_core.sites import Alignment, Patching, PatchMetric

LISTED = 10

_EXAMPLES = """examples:
  intravisto patch --clean "Q: What is the capital of Italy? A:" --corrupt "Q: What is the capital of France? A:" \\
    --target " Rome" --contrast " Paris" --out grid.html
  intravisto patch --clean "Q: What is the capital of Italy? A:" --swap " Italy" " France" --what z
  intravisto patch --clean "Q: What is the capital of Italy? A:" --resample=-4 --draws 8 --metric probability
  intravisto patch --clean "Q: What is the capital of Italy? A:" --corrupt "Q: What is the capital of France? A:" \\
    --receiver 5.2.q
"""


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    patch = add_command(commands, "patch", epilog=_EXAMPLES)
    patch.add_argument("--clean", action="append", required=True, metavar="TEXT", help="prompt; several with several")
    patch.add_argument("--corrupt", action="append", metavar="TEXT", help="the other prompt, one for each clean one")
    patch.add_argument("--swap", nargs=2, metavar=("A", "B"), help="make it: two tokens swapped")
    patch.add_argument("--resample", type=_read_numbers, metavar="P,…", help="make it: other tokens at positions")
    patch.add_argument("--noise", type=_read_numbers, metavar="P,…", help="make it: noise on the embeddings there")
    patch.add_argument("--sigma", type=float, default=3.0, help="of --noise, in standard deviations (default 3)")
    patch.add_argument("--draws", type=int, default=8, help="of --resample and --noise (default 8)")
    patch.add_argument("--seed", type=int, default=0, help="seed of the draws (default 0)")
    patch.add_argument("--target", action="append", metavar="TEXT", help="token (default: what the clean run says)")
    patch.add_argument("--contrast", action="append", metavar="TEXT", help="held against (default: its runner-up)")
    patch.add_argument("--what", choices=list(map(str, GRID_SITES)), default="resid_pre", help="default resid_pre")
    patch.add_argument("--direction", choices=list(map(str, Patching)), default="denoise", help="default denoise")
    patch.add_argument("--metric", choices=list(map(str, PatchMetric)), default="logit_diff", help="default logit_diff")
    patch.add_argument("--layers", type=_read_numbers, metavar="L,…", help="default all")
    patch.add_argument("--positions", type=_read_numbers, metavar="P,…", help="default all; of heads all that differ")
    patch.add_argument("--align", choices=list(map(str, Alignment)), default="same_length", help="default same_length")
    patch.add_argument("--receiver", metavar="logits|L.H.q", help="path patching: where from every head's way leads")
    patch.add_argument("--sender", action="append", type=_read_sender, metavar="L.H", help="of these heads alone")
    patch.add_argument("--through-mlps", action="store_true", help="of a way: MLPs on it read what they are given")
    patch.add_argument("--no-estimate", action="store_true", help="without the backward pass")
    patch.add_argument("--no-special-tokens", action="store_true", help="do not add BOS and the like")
    patch.add_argument("--chat", action="store_true", help="a user says the prompts: use the model's chat template")
    add_model(patch)
    add_out(patch)
    patch.set_defaults(run=_patch)


def _read_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(expected("numbers", "whole numbers with commas between", text)) from None


def _read_sender(text: str) -> tuple[int, int]:
    layer, _, head = text.partition(".")
    try:
        return int(layer), int(head)
    except ValueError:
        raise argparse.ArgumentTypeError(expected("--sender", "LAYER.HEAD, as 9.6", text)) from None


def _read_receiver(text: str) -> Any:
    if text == "logits":
        return text
    parts = text.split(".")
    try:
        layer, head, site = parts
        return int(layer), int(head), site
    except ValueError:
        raise RequestError(expected("--receiver", "logits, or LAYER.HEAD.q (or k, v)", text)) from None


def read_request(options: argparse.Namespace) -> PatchingRequest | PathPatchingRequest:
    """What is asked for, checked before a model is opened.

    Raises:
        RequestError: an option does not serve.
    """
    shared: dict[str, Any] = {
        "clean": options.clean,
        "corrupt": _read_corrupt(options),
        "target": options.target,
        "contrast": options.contrast,
        "direction": options.direction,
        "positions": options.positions,
        "metric": options.metric,
        "alignment": options.align,
        "add_special_tokens": not options.no_special_tokens,
        "chat": options.chat,
    }
    if options.receiver is None and options.sender is None:
        rest = {"what": options.what, "layers": options.layers, "estimate": not options.no_estimate}
        return PatchingRequest(**shared, **rest)
    receiver = _read_receiver(options.receiver or "logits")
    return PathPatchingRequest(**shared, sender=options.sender, receiver=receiver, through_mlps=options.through_mlps)


def _read_corrupt(options: argparse.Namespace) -> Any:
    made = {
        "--corrupt": options.corrupt,
        "--swap": options.swap and SwapTokens(*options.swap),
        "--resample": options.resample and ResampleTokens(options.resample, options.draws, options.seed),
        "--noise": options.noise and EmbeddingNoise(options.noise, options.sigma, options.draws, options.seed),
    }
    given = {name: value for name, value in made.items() if value}
    if len(given) != 1:
        raise RequestError(expected("patch", f"one of {', '.join(made)}", " and ".join(given) or "none"))
    return next(iter(given.values()))


def _patch(options: argparse.Namespace) -> int:
    request = read_request(options)
    grid: PatchGrid = open_engine(options).submit(request).result()
    print_text(f"{describe_metric(grid)}: clean {change(grid.clean)}, corrupt {change(grid.corrupt)}")
    if grid.path:
        print_text(f"what heads say {grid.path}")
    run, quiet = grid.effect.size - int(grid.skipped.sum()), int((~grid.counts & ~grid.skipped).sum())
    print_text(f"{run} cells run, {int(grid.skipped.sum())} need not; {quiet} below the noise floor")
    if np.isfinite(grid.correlation):
        print_text(f"correlation with the estimate of one backward pass: {grid.correlation:.2f}")
    if options.out is None:
        print_text(list_cells(grid))
    else:
        print_text(f"wrote {grid.save(options.out)}")
    print_notes(grid.notes)
    return 0


def list_cells(grid: PatchGrid) -> str:
    """The cells that recover most, and those that work against it, above the noise floor."""
    names = describe_columns(grid)
    sizes = np.where(grid.counts, grid.effect, 0)
    order = np.argsort(-np.abs(sizes), axis=None, kind="stable")[:LISTED]
    lines = []
    for row, column in zip(*np.unravel_index(order, sizes.shape), strict=True):
        if sizes[row, column]:
            recovered, effect = (float(x[row, column]) for x in (grid.recovered, grid.effect))
            lines.append(f"{share(recovered):>9}  {change(effect):>8}  layer {grid.layers[row]}, {names[column]}")
    return "\n".join(lines) or "no cell is above the noise floor"
