"""The command line: `intravisto …` or `python -m intravisto_core …`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from intravisto_core import LocalEngine, ModelSpec, Trace, __version__
from intravisto_core.errors import IntravistoError, RequestError
from intravisto_core.experiments import families, tiny
from intravisto_core.records import DecodedGrid, ModelCard
from intravisto_core.request import DTYPES
from intravisto_core.sites import Component, Lens, NormPolicy, Reading

_EXAMPLES = """examples:
  intravisto trace "Q: What is the capital of Italy? A:" --max-new-tokens 10
  intravisto trace "1 2 3 4" --lens linear --out heatmap.html
  intravisto check path/to/model
  intravisto app
"""


class _Parser(argparse.ArgumentParser):
    """Says one clear line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    options: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = _Parser(
        prog="intravisto",
        description="See how a transformer language model arrives at a token.",
        epilog=_EXAMPLES,
        **options,
    )
    parser.add_argument("--version", action="version", version=f"intravisto {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    trace = commands.add_parser(
        "trace",
        help="run a prompt and show what every layer would predict",
        epilog='example:\n  intravisto trace "1 2 3 4" --max-new-tokens 3 --lens linear --out heatmap.html',
        **options,
    )
    trace.add_argument("prompt", help="the text to run")
    _add_model(trace)
    _add_generation(trace)
    trace.add_argument("--component", choices=list(map(str, Component)), default="block", help="what a cell decodes")
    trace.add_argument("--lens", choices=list(map(str, Lens)), default="output", help="how it is decoded")
    trace.add_argument(
        "--norm", choices=list(map(str, NormPolicy)), help="norm before decoding (default: by component)"
    )
    trace.add_argument("--reading", choices=list(map(str, Reading)), default="top", help="what a cell lists")
    trace.add_argument("--top-k-shown", type=int, default=5, metavar="K", help="tokens listed in a cell (default 5)")
    trace.add_argument("--out", type=Path, metavar="FILE", help="write .html, .csv, .json, .png, .svg or .pdf")
    trace.set_defaults(run=_trace)

    check = commands.add_parser(
        "check",
        help="hold a model to the identities that every picture rests on",
        epilog="example:\n  intravisto check demo",
        **options,
    )
    check.add_argument("model", nargs="?", help='"demo" or a model folder')
    check.add_argument("--dtype", choices=DTYPES, default="auto", help="dtype to load in")
    check.add_argument("--all-tiny", action="store_true", help="check a tiny random model of every family instead")
    check.add_argument("--out", type=Path, metavar="FILE", help="with --all-tiny: write the table as Markdown")
    check.set_defaults(run=_check)

    app = commands.add_parser("app", help="start the app in the browser", **options)
    app.add_argument("--port", type=int, default=8501, help="port to listen on (default 8501)")
    app.set_defaults(run=_app)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="demo", help='"demo" or a model folder (default demo)')
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="dtype to load in")


def _add_generation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-new-tokens", type=int, default=0, metavar="N", help="tokens to generate (default 0)")
    parser.add_argument("--temperature", type=float, help="sample at this temperature (default: greedy)")
    parser.add_argument("--top-k", type=int, help="sample among the K most probable")
    parser.add_argument("--top-p", type=float, help="sample among the most probable that make up this probability")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default 0)")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end where this text appears")
    parser.add_argument("--forced", metavar="TEXT", help="text that the continuation begins with")
    parser.add_argument("--no-special-tokens", action="store_true", help="do not add BOS and the like")


def _run(options: argparse.Namespace, engine: LocalEngine) -> Trace:
    return engine.trace(
        options.prompt,
        options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        stop=tuple(options.stop),
        forced=options.forced,
        add_special_tokens=not options.no_special_tokens,
    )


def _trace(options: argparse.Namespace) -> int:
    engine = LocalEngine(ModelSpec(options.model, dtype=options.dtype))
    trace = _run(options, engine)
    grid = trace.heatmap(
        options.component, options.lens, options.norm, top_k=options.top_k_shown, reading=options.reading
    )
    print(trace.text)
    if options.out is None:
        print(table(grid))
    else:
        print(f"wrote {grid.save(options.out)}")
    for note in grid.notes:
        print(f"note: {note}")
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


def _check(options: argparse.Namespace) -> int:
    if options.all_tiny:
        return _check_families(options.out)
    if options.model is None:
        raise RequestError('check: expected "demo", a model folder or --all-tiny; got nothing')
    engine = LocalEngine(ModelSpec(options.model, dtype=options.dtype))
    print(report(engine.model))
    checks = engine.model.capabilities.values()
    return 0 if all(c.ok or c.error is None for c in checks) else 1


def _check_families(out: Path | None) -> int:
    groups = [list(families.survey(configs)) for configs in (tiny.CONFIGS, tiny.UNDECLARED, tiny.REFUSED)]
    text = families.page(*groups)
    if out is None:
        print(text)
    else:
        out.write_text(text, encoding="utf-8")
        print(f"wrote {out}")
    return 0


def report(card: ModelCard) -> str:
    """A card and its checks as text."""
    lines = [
        f"{card.name}: {card.family}, {card.n_layers} layers, {card.n_heads} heads ({card.n_kv_heads} kv), "
        f"d {card.d_model}, vocabulary {card.d_vocab}, {card.dtype}, {card.block} block, {card.norm}"
        + (", inferred by structure" if card.inferred else ""),
        f"checked on {card.probe}",
    ]
    for capability, found in card.capabilities.items():
        size = "not measured" if found.error is None else f"error {found.error:.1e}"
        exact = "" if found.exact is None else ", bit-equal" if found.exact else ", not bit-equal"
        mark = "ok  " if found.ok else "–   " if found.error is None else "FAIL"
        why = "" if found.ok else f" {found.reason}"
        allowed = f"(allowed {found.allowed:.0e})"
        lines.append(f"  {mark} {capability:<9} {capability.label}: {size}{exact} {allowed}{why}")
    if card.stock_difference is not None:
        lines.append(f"largest difference to the sdpa kernel: {card.stock_difference:.1e}")
    return "\n".join(lines)


def _app(options: argparse.Namespace) -> int:
    script = Path(__file__).resolve().parent.parent / "app.py"
    if not script.is_file():
        print(
            f"intravisto: error: expected {script.name} beside the package; run this in a checkout",
            file=sys.stderr,
        )
        return 2
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(options.port)]
    return subprocess.call(command, cwd=script.parent)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code: 0, 1 for a failed check, 2 for what could not be done."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        return code
    except IntravistoError as error:
        print(f"intravisto: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
