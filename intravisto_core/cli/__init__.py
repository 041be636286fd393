"""The command line: `intravisto …` or `python -m intravisto_core …`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from intravisto_core import __version__
from intravisto_core.cli import (
    app,
    attention,
    batch,
    check,
    circuit,
    edit,
    evidence,
    explain,
    flow,
    inspect,
    layer,
    measures,
    patch,
    saliency,
    saved,
    serve,
    trace,
)
from intravisto_core.cli.options import FORMAT, Parser
from intravisto_core.cli.printing import PIPE_CLOSED, close_output, prepare_output, print_error
from intravisto_core.errors import IntravistoError

_EXAMPLES = """examples:
  intravisto trace "Q: What is the capital of Italy? A:" --max-new-tokens 10
  intravisto trace "1 2 3 4" --lens linear --out heatmap.html
  intravisto explain "Q: What is the capital of Italy? A:" --out explain.html
  intravisto saliency "Q: What is the capital of Italy? A:" --method occlusion
  intravisto attention "1 2 3 4 1 2 3" --layers 2,4 --out attention.html
  intravisto flow "Q: What is the capital of Italy? A:" --out flow.html
  intravisto attribute "Q: What is the capital of Italy? A:" --target " Rome" --contrast " Paris"
  intravisto edit "Q: What is the capital of Italy? A:" --max-new-tokens 3 --inject " Paris"@resid_post:3:-1
  intravisto patch --clean "Q: What is the capital of Italy? A:" --swap " Italy" " France" --what z --out grid.html
  intravisto test "The capital of Italy is" --ablate mlp_out:0:-2 --prompts countries.txt
  intravisto circuit pairs.tsv --out circuit.html
  intravisto measures --prompts prompts.txt --out measures.html
  intravisto save "1 2 3 4" --max-new-tokens 3 --out run.intravisto
  intravisto open run.intravisto
  intravisto inspect demo --out arch.html
  intravisto layer "1 2 3 4" --layers 2,4 --out layers.html
  intravisto check path/to/model
  intravisto batch prompts.jsonl --views heatmap,attribution --out results
  intravisto serve --model demo --port 8400
  intravisto app
"""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="intravisto",
        description="See how a transformer language model arrives at a token.",
        epilog=_EXAMPLES,
        **FORMAT,
    )
    parser.add_argument("--version", action="version", version=f"intravisto {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for command in (
        trace,
        explain,
        saliency,
        attention,
        flow,
        edit,
        evidence,
        circuit,
        patch,
        measures,
        inspect,
        layer,
        saved,
        check,
        batch,
        serve,
        app,
    ):
        command.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Gives the exit code: 0, 1 for a failed check, 2 for what could not be done, 141 where a closed pipe ended it.
    """
    prepare_output()
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except IntravistoError as error:
        print_error(error)
        return 2
    except BrokenPipeError:
        close_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return 130
