"""`intravisto circuit`: which heads and MLPs do a task without the rest of the model."""

from __future__ import annotations

import argparse
from typing import Any

from intravisto_core.cli.evidence import read_prompts
from intravisto_core.cli.options import add_model, add_out, open_engine
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.circuit_words import describe, write_worth
from intravisto_core.records import Circuit
from intravisto_core.request import CircuitRequest
from intravisto_core.sites import Ranking

LISTED = 20


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    circuit = add_command(
        commands,
        "circuit",
        description="The rest of the model comes from counterfactual prompts.",
        epilog="The file of pairs has one pair a line: prompt, tabulator, counterfactual; with two more columns,\n"
        "target and contrast of the pair.\n\nexamples:\n"
        "  intravisto circuit pairs.tsv --out circuit.html\n"
        '  intravisto circuit pairs.tsv --parts "L3H2,L5 MLP" --by activation',
    )
    circuit.add_argument("pairs", help="a file of pairs of prompts; - reads them from the input")
    add_model(circuit)
    circuit.add_argument("--parts", metavar="NAMES", help="the circuit, as L3H2,L5 MLP (default: the ranking's best)")
    circuit.add_argument(
        "--by", choices=list(map(str, Ranking)), default=str(Ranking.EAP_IG), help="how parts are ranked"
    )
    circuit.add_argument("--steps", type=int, default=5, help="steps of EAP-IG (default 5)")
    circuit.add_argument("--draws-seed", type=int, default=0, metavar="N", help="what draws by chance (default 0)")
    add_out(circuit)
    circuit.set_defaults(run=_circuit)


def _circuit(options: argparse.Namespace) -> int:
    lines = [line.split("\t") for line in read_prompts(options.pairs) or ()]
    if {len(line) for line in lines} not in ({2}, {4}):
        raise RequestError(expected("pairs", "2 or 4 columns in each line, parted by tabulators", f"{len(lines[0])}"))
    parts = None if options.parts is None else [name.strip() for name in options.parts.split(",")]
    tokens = {} if len(lines[0]) == 2 else {"target": [line[2] for line in lines], "contrast": [x[3] for x in lines]}
    request = CircuitRequest(
        parts,  # type: ignore[arg-type]
        tuple((line[0], line[1]) for line in lines),
        by=options.by,
        steps=options.steps,
        seed=options.draws_seed,
        **tokens,  # type: ignore[arg-type]
    )
    found: Circuit = open_engine(options).view(request)
    print_text(f"{found.model}: {describe(found)}")
    for line in write_worth(found):
        print_text(line)
    print_text(report(found))
    if options.out is not None:
        print_text(f"wrote {found.save(options.out)}")
    print_notes(found.notes)
    return 0


def report(found: Circuit) -> str:
    """The curve, and the parts of largest score."""
    lines = [f"{'kept':>6} {'parts':>6} {'f':>7}"]
    for share, size, f in zip(found.shares, found.sizes, found.faithfulness, strict=True):
        lines.append(f"{100 * share:>5.3g}% {size:>6} {f:>7.3f}")
    lines.append(f"{'part':>9} {'score':>8} {'kept':>5}")
    for row in found.frame().head(LISTED).itertuples():
        lines.append(f"{row.part:>9} {row.score:>+8.3f} {'yes' if row.kept else '':>5}")
    return "\n".join(lines)
