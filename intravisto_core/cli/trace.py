"""`intravisto trace`: run a prompt and show what every layer would predict."""

from __future__ import annotations

import argparse
from typing import Any

from intravisto_core.cli.options import add_out, add_prompt, open_engine, read_request, run_prompt
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.records import DecodedGrid
from intravisto_core.sites import Component, Lens, NormPolicy, Reading


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    trace = add_command(
        commands,
        "trace",
        epilog='examples:\n  intravisto trace "1 2 3 4" --max-new-tokens 3 --lens linear --out heatmap.html\n'
        '  intravisto trace "Who are you?" --model path/to/model --system "Answer briefly." --max-new-tokens 20',
    )
    add_prompt(trace)
    trace.add_argument("--component", choices=list(map(str, Component)), default="block", help="what a cell decodes")
    trace.add_argument("--lens", choices=list(map(str, Lens)), default="output", help="how it is decoded")
    trace.add_argument(
        "--norm", choices=list(map(str, NormPolicy)), help="norm before decoding (default: by component)"
    )
    trace.add_argument("--reading", choices=list(map(str, Reading)), default="top", help="what a cell lists")
    trace.add_argument("--top-k-shown", type=int, default=5, metavar="K", help="tokens listed in a cell (default 5)")
    add_out(trace)
    trace.set_defaults(run=_trace)


def _trace(options: argparse.Namespace) -> int:
    request = read_request(options)
    trace = run_prompt(request, open_engine(options))
    grid = trace.heatmap(
        options.component, options.lens, options.norm, top_k=options.top_k_shown, reading=options.reading
    )
    print_text(trace.text)
    if options.out is None:
        print_text(table(grid))
    else:
        print_text(f"wrote {grid.save(options.out)}")
    print_notes(grid.notes)
    return 0


def table(grid: DecodedGrid, columns: int = 6, width: int = 13) -> str:
    """The last columns of a grid as text, top row first."""
    shown = range(max(0, len(grid.positions) - columns), len(grid.positions))

    def line(label: str, cells: list[str]) -> str:
        return f"{label:>11} " + " ".join(f"{c[:width]:<{width}}" for c in cells)

    lines = [line("reads", [grid.tokens[c].shown for c in shown])]
    lines.append(line("says", [grid.shown[int(grid.says[c])] for c in shown]))
    for r in reversed(range(len(grid.rows))):
        cells = []
        for c in shown:
            token = int(grid.token_ids[r, c, 0])
            number = f"{grid.logits[r, c, 0]:+.2f}" if grid.is_update else f"{100 * grid.p_max[r, c]:.0f}%"
            cells.append("" if token < 0 else f"{grid.shown[token]} {number}".replace(" nan%", ""))
        lines.append(line(grid.row_label(int(grid.rows[r])), cells))
    return "\n".join(lines)
