"""`intravisto inspect`: what a model is made of, and what runs after what."""

from __future__ import annotations

import argparse
from typing import Any

from intravisto_core.cli.options import SOURCES, add_loading, add_out, open_engine
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.errors import RequestError
from intravisto_core.figures.numbers import share
from intravisto_core.records import Architecture
from intravisto_core.records.memory import size

DEEPEST_LISTED = 3


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    inspect = add_command(
        commands,
        "inspect",
        epilog="examples:\n  intravisto inspect demo --out arch.html\n"
        "  intravisto inspect path/to/config.json --meta --out arch.html",
    )
    inspect.add_argument(
        "model",
        nargs="?",
        help=f"{SOURCES}; with --meta also a config.json, or its folder; with --engine its name there",
    )
    add_loading(inspect)
    inspect.add_argument("--meta", action="store_true", help="from the configuration alone, without any weights")
    inspect.add_argument("--text", default="The capital of Italy is", help="what is run through it")
    add_out(inspect)
    inspect.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    if options.model is None and (options.engine is None or options.meta):
        raise RequestError("inspect: expected a model, or --engine; got nothing")
    if options.meta:
        # torch is loaded here
        from intravisto_core.models.skeleton import open_skeleton

        found = open_skeleton(options.model).architecture
    else:
        found = open_engine(options).trace(options.text).architecture()
    root = found.tree.root
    print_text(
        f"{found.model}: {root.cls}, {root.n_parameters:,} parameters, {size(root.n_bytes)}, "
        f"{len(found.tree.nodes):,} modules"
    )
    if options.out is None:
        print_text(list_modules(found))
    else:
        print_text(f"wrote {found.save(options.out)}")
    print_notes(found.notes)
    if found.run is not None and found.run.failed_at is not None:
        print_notes((f"The run failed in {found.run.failed_at or 'its own code'}: {found.run.error}",))
    return 0


def list_modules(found: Architecture) -> str:
    """The upper modules, one a line: path, class, its part of the parameters."""
    total = max(1, found.tree.root.n_parameters)
    lines = []
    for node in found.tree.nodes[1:]:
        depth = node.path.count(".")
        if depth < DEEPEST_LISTED:
            part = share(node.n_parameters / total) if node.n_parameters else ""
            lines.append(f"{'  ' * depth}{node.name}  {node.cls}  {part}".rstrip())
    return "\n".join(lines)
