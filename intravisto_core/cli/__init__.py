"""The command line: `intravisto …` or `python -m intravisto_core …`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from intravisto_core import __version__
from intravisto_core.cli.parser import COMMANDS, FORMAT, Parser, add_command
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


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the command that is asked for; `run` carries it out. No other command's module is imported."""
    parser = Parser(
        prog="intravisto",
        description="See how a transformer language model arrives at a token.",
        epilog=_EXAMPLES,
        **FORMAT,
    )
    parser.add_argument("--version", action="version", version=f"intravisto {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    asked = next((word for word in arguments if not word.startswith("-")), "")
    needed = COMMANDS[asked][0] if asked in COMMANDS else ""
    for name, (module, _) in COMMANDS.items():
        if module != needed:
            add_command(commands, name)
        elif name not in commands.choices:  # a module may add several
            import_module(f"intravisto_core.cli.{module}").add(commands)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Gives the exit code: 0, 1 for a failed check, 2 for what could not be done, 141 where a closed pipe ended it.
    """
    prepare_output()
    options = read_arguments(sys.argv[1:] if arguments is None else arguments)
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
