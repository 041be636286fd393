"""The command line: `intravisto …` or `python -m intravisto_core …`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from intravisto_core import __version__
from intravisto_core.cli import app, check, edit, flow, trace
from intravisto_core.cli.options import FORMAT, Parser
from intravisto_core.cli.printing import PIPE_CLOSED, close_output, prepare_output, print_error
from intravisto_core.errors import IntravistoError

_EXAMPLES = """examples:
  intravisto trace "Q: What is the capital of Italy? A:" --max-new-tokens 10
  intravisto trace "1 2 3 4" --lens linear --out heatmap.html
  intravisto flow "Q: What is the capital of Italy? A:" --out flow.html
  intravisto attribute "Q: What is the capital of Italy? A:" --target " Rome" --contrast " Paris"
  intravisto edit "Q: What is the capital of Italy? A:" --max-new-tokens 3 --inject " Paris"@resid_post:3:-1
  intravisto check path/to/model
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
    for command in (trace, flow, edit, check, app):
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
