"""`intravisto explain`: where a token comes from."""

from __future__ import annotations

import argparse
import math
from typing import Any

from intravisto_core.cli.options import add_out, add_prompt, open_engine, read_request, run_prompt
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.figures.explanation_words import name_part, read_word, show_metric
from intravisto_core.figures.numbers import change
from intravisto_core.records import Explanation
from intravisto_core.sites import Part


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    explain = add_command(
        commands,
        "explain",
        epilog='examples:\n  intravisto explain "Q: What is the capital of Italy? A:" --out explain.html\n'
        '  intravisto explain "Q: What is the capital of Italy? A:" --target " Rome" --contrast " Paris" --no-tests',
    )
    add_prompt(explain)
    explain.add_argument("--target", metavar="TEXT", help="token (default: what the model says)")
    explain.add_argument("--contrast", metavar="TEXT", help="token to compare with (default: none)")
    explain.add_argument("--position", type=int, help="position that says it (default: the prompt's last)")
    explain.add_argument("--no-tests", action="store_true", help="do not run the model without parts and words")
    add_out(explain)
    explain.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> int:
    request = read_request(options)
    trace = run_prompt(request, open_engine(options))
    found = trace.explain(options.target, options.contrast, options.position, tests=not options.no_tests)
    print_text(found.sentence)
    if options.out is None:
        print_text(list_parts(found))
    else:
        print_text(f"wrote {found.save(options.out)}")
    print_notes(found.notes)
    return 0


def list_parts(found: Explanation) -> str:
    """The largest parts, one a line: what each adds, what it looks at, the metric without it."""
    lines = [f"{'adds':>9}  {'without':>9}  part"]
    for number in found.word_part.tolist():
        without = float(found.without[number])
        tested = "" if math.isnan(without) else show_metric(found, without)
        looks = ""
        if found.part_kind[number] == Part.HEAD:
            word = read_word(found, int(found.part_layer[number]), int(found.part_index[number]))
            looks = "" if word is None else f", looks at {word} {found.tokens[word].shown}"
        lines.append(f"{change(float(found.part_value[number])):>9}  {tested:>9}  {name_part(found, number)}{looks}")
    return "\n".join(lines)
