"""`intravisto save` and `intravisto open`: a run as one file, and what such a file shows without its model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import intravisto_core as iv
from intravisto_core.cli.options import add_out, add_prompt, check_place, open_engine, read_request, run_prompt
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.cli.trace import table
from intravisto_core.engine.saving import NAMED_SETS, NAMED_VIEWS
from intravisto_core.errors import TraceError, expected
from intravisto_core.sites import Site
from intravisto_core.storage.bundle import SUFFIX

NAMES = (*NAMED_VIEWS, *NAMED_SETS)


def add(commands: Any) -> None:
    """Add both commands to the parser's commands."""
    save = add_command(
        commands,
        "save",
        epilog=f'examples:\n  intravisto save "1 2 3 4" --max-new-tokens 3 --out run{SUFFIX}\n'
        f'  intravisto save "1 2 3 4" --views heatmap,flow,graph --activations resid_post --out run{SUFFIX}',
    )
    add_prompt(save)
    save.add_argument(
        "--views",
        type=_read_names(NAMES, "views"),
        metavar="NAMES",
        help=f"what the file will answer, of {', '.join(NAMES)} (default heatmap, shares, flow, logits, sinks)",
    )
    save.add_argument(
        "--activations",
        type=_read_names([str(site) for site in Site], "activations"),
        metavar="SITES",
        help="sites whose values are kept too, such as resid_post,z (default none)",
    )
    save.add_argument("--out", type=_read_saved, required=True, metavar="FILE", help=f"a name that ends with {SUFFIX}")
    save.set_defaults(run=_save)
    opened = add_command(
        commands,
        "open",
        epilog=f"examples:\n  intravisto open run{SUFFIX}\n  intravisto open run{SUFFIX} --view flow --out flow.html",
    )
    opened.add_argument("file", help=f"a file that was saved ({SUFFIX})")
    opened.add_argument("--view", choices=list(NAMED_VIEWS), default="heatmap", help="what to show (default heatmap)")
    add_out(opened)
    opened.set_defaults(run=_open)


def _read_names(known: Any, what: str) -> Any:
    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        wrong = [name for name in names if name not in known]
        if wrong or not names:
            raise argparse.ArgumentTypeError(expected(what, list(known), wrong[0] if wrong else text))
        return names

    return read


def _read_saved(text: str) -> Path:
    """A file that can be written. It is checked before a model is opened, so that nobody waits for the refusal."""
    path = Path(text).expanduser()
    if path.suffix.lower() != SUFFIX:
        raise argparse.ArgumentTypeError(expected("file name", f"one that ends with {SUFFIX}", path.name))
    check_place(path)
    return path


def _save(options: argparse.Namespace) -> int:
    request = read_request(options)
    trace = run_prompt(request, open_engine(options))
    print_text(trace.text)
    path = trace.save(options.out, options.views, options.activations)
    print_text(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    print_notes(trace.notes)
    return 0


def _open(options: argparse.Namespace) -> int:
    trace = iv.open_trace(options.file)
    card = trace.engine.model
    print_text(trace.text)
    print_text(f"{card.name} ({card.family}, {card.n_layers} layers), {len(trace.tokens)} tokens")
    view = NAMED_VIEWS[options.view](trace.id)
    try:
        record = trace.view(view)
    except TraceError:
        if options.out is not None or options.view != "heatmap":
            raise
        print_notes(trace.notes)
        return 0
    if options.out is not None:
        print_text(f"wrote {record.save(options.out)}")
    elif options.view == "heatmap":
        print_text(table(trace.heatmap(top_k=1)))
    else:
        print_text(str(record.frame()))
    print_notes(trace.notes)
    return 0
