"""`intravisto edit`: change something inside a run and see what follows."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

from intravisto_core.cli.options import add_out, add_prompt, open_engine, read_request, run_prompt
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_text
from intravisto_core.errors import RequestError, expected
from intravisto_core.records import Comparison
from intravisto_core.request import (
    Ablate,
    Generated,
    Intervention,
    KnockOut,
    Replace,
    ReplaceMain,
    Scale,
    Span,
    Steer,
)
from intravisto_core.request.positions import Positions
from intravisto_core.sites import Ablation, Lens, SteerUnit, TextMode, TokenVector

Make = Callable[[argparse.Namespace], Intervention]

PLACES = """places are SITE:LAYER:POSITIONS, as in attn_out:2:-1
  SITE       resid_pre, resid_mid, resid_post, attn_out, mlp_out, z.HEAD or act.NEURON
  POSITIONS  a number (negatives count from the end of the prompt), several with commas, FROM..TO (TO is left out),
             gSTEP (the generated token of that step, from 0), prompt, or all (the default)

"""
_EXAMPLES = """examples:
  intravisto edit "Q: What is the capital of Italy? A:" --max-new-tokens 3 --inject " Paris"@resid_post:3:-1
  intravisto edit "1 2 3 4" --ablate attn_out:2:-1 --ablate z.1:3:prompt --out difference.html
  intravisto edit "1 2 3 4" --knock-out 2:-1:0,1 --scale 0.5@mlp_out:3:all
"""


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    edit = add_command(commands, "edit", epilog=PLACES + _EXAMPLES)
    add_prompt(edit)

    add_edits(edit)
    edit.add_argument(
        "--text", choices=[str(m) for m in TextMode], default="free", help="feed the same tokens, or go on"
    )
    edit.add_argument("--target", metavar="TEXT", help="token whose logit is followed (default: the model's own top)")
    edit.add_argument("--contrast", metavar="TEXT", help="token that it is held against (default: the runner-up)")
    add_out(edit)
    edit.set_defaults(run=_edit)


def add_edits(parser: argparse.ArgumentParser) -> None:
    """What is changed, and how; `read_edits` reads it."""

    def option(name: str, metavar: str, read: Callable[[str], Make], says: str) -> None:
        parser.add_argument(name, dest="edits", action="append", type=_reader(read), metavar=metavar, help=says)

    option("--inject", "TOKEN@PLACE", _inject, "put a token's vector there")
    option("--inject-main", "TOKEN@PLACE", _inject_main, "give the main component's share to a token")
    option("--ablate", "PLACE", _ablate, "take out what is there (see --how)")
    option("--scale", "FACTOR@PLACE", _scale, "multiply what is there")
    option("--steer", "TOKEN*STRENGTH@PLACE", _steer, "add a token's direction, in median lengths of the stream")
    option("--knock-out", "LAYER:QUERIES:KEYS[:HEADS]", _knock_out, "hide keys from queries")
    parser.add_argument("--how", choices=[str(a) for a in (Ablation.ZERO, Ablation.MEAN)], default="zero")
    parser.add_argument(
        "--lens",
        choices=[str(v) for v in TokenVector],
        help="the vector of --inject: whitened (reads back as the token; the default in the stream), or a table's row",
    )
    parser.add_argument("--keep-norm", action="store_true", help="--inject a vector as long as it is in the table")


def read_edits(options: argparse.Namespace) -> list[Intervention]:
    """The interventions that the options of `add_edits` ask for.

    Raises:
        RequestError: there is none.
    """
    if not options.edits:
        raise RequestError("edit: expected at least one of --inject, --ablate and the like; got none")
    return [made(options) for made in options.edits]


def _edit(options: argparse.Namespace) -> int:
    interventions = read_edits(options)
    request = read_request(options)
    trace = run_prompt(request, open_engine(options))
    edited = trace.edit(*interventions, text=options.text)
    comparison = trace.compare(edited, options.target, options.contrast)
    print_text(report(comparison))
    if options.out is not None:
        print_text(f"wrote {comparison.save(options.out)}")
    return 0


def report(comparison: Comparison, lines: int = 12) -> str:
    """The edits, both texts, and the positions that changed most, as text."""
    shown, noise = comparison.shown, comparison.noise
    out = [*comparison.edits, f"before: {comparison.text}", f"after:  {comparison.edited_text}"]
    names = f"{shown[comparison.target]} − {shown[comparison.contrast]}"
    out.append(f"{'':>4} {'reads':<12} {'says':<12} {'edited':<12} {'KL':>8} {'log-prob':>17} {names:>21}")
    order = (-comparison.kl).argsort(kind="stable")[:lines]
    for p in sorted(int(i) for i in order):
        says, edited = (shown[int(ids[p])][:12] for ids in (comparison.top_ids, comparison.edited_top_ids))
        before, after = comparison.log_prob[p], comparison.edited_log_prob[p]
        # the last token of a text is followed by none
        following = f"{before:>7.3g} → {after:>7.3g}" if math.isfinite(before) else f"{'–':>17}"
        out.append(
            f"{p:>4} {comparison.tokens[p].shown[:12]:<12} {says:<12} {edited:<12} {comparison.kl[p]:>8.3g} "
            f"{following} {comparison.logit_difference[p]:>9.3g} → {comparison.edited_logit_difference[p]:>9.3g}"
        )
    floor = "bit-identical" if comparison.exact else f"KL {noise['kl']:.1g}, logits {noise['logit_difference']:.1g}"
    return "\n".join([*out, f"noise floor: {floor}", *(f"note: {note}" for note in comparison.notes)])


def _reader(read: Callable[[str], Make]) -> Callable[[str], Any]:
    """A reader whose errors the parser shows as it shows its own."""

    def parse(text: str) -> Make:
        try:
            return read(text)
        except (RequestError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def place(text: str) -> dict[str, Any]:
    """`attn_out:2:-1` as site, layer and positions.

    Raises:
        RequestError: it is no place.
    """
    site, _, rest = text.partition(":")
    layer, _, where = rest.partition(":")
    name, _, part = site.partition(".")
    try:
        found: dict[str, Any] = {"site": name, "layer": int(layer), "positions": positions(where or "all")}
        if part:
            found["neuron" if name == "act" else "head"] = int(part)
    except ValueError:
        raise RequestError(expected("place", "SITE:LAYER:POSITIONS, as attn_out:2:-1", text)) from None
    return found


def positions(text: str) -> Positions:
    """Positions as they are typed; ValueError where they are none."""
    if text in ("all", "prompt"):
        return text
    if text.startswith("g"):
        return Generated(int(text[1:]))
    if ".." in text:
        start, _, stop = text.partition("..")
        return Span(int(start), int(stop))
    return tuple(int(p) for p in text.split(","))


def _at(text: str, what: str) -> tuple[str, dict[str, Any]]:
    given, at, where = text.rpartition("@")
    if not at or not given:
        raise RequestError(expected(what, f"{what}@SITE:LAYER:POSITIONS", text))
    return given, place(where)


def _inject(text: str) -> Make:
    token, where = _at(text, "TOKEN")
    made = Replace(**where, token=token)
    return lambda options: Replace(**where, token=made.token, lens=options.lens, match_norm=not options.keep_norm)


def _inject_main(text: str) -> Make:
    token, where = _at(text, "TOKEN")
    made = ReplaceMain(**where, token=token)
    return lambda options: ReplaceMain(**where, token=made.token, lens=options.lens or Lens.OUTPUT)


def _ablate(text: str) -> Make:
    where = place(text)
    Ablate(**where)
    return lambda options: Ablate(**where, how=Ablation(options.how))


def _scale(text: str) -> Make:
    factor, where = _at(text, "FACTOR")
    made = Scale(**where, factor=float(factor))
    return lambda _: made


def _steer(text: str) -> Make:
    given, where = _at(text, "TOKEN*STRENGTH")
    token, _, strength = given.rpartition("*")
    made = Steer(**where, direction=token, strength=float(strength), unit=SteerUnit.STREAM)
    return lambda _: made


def _knock_out(text: str) -> Make:
    parts = text.split(":")
    if len(parts) not in (3, 4):
        raise RequestError(expected("knock-out", "LAYER:QUERIES:KEYS[:HEADS]", text))
    heads: Any = "all" if len(parts) == 3 or parts[3] == "all" else tuple(int(h) for h in parts[3].split(","))
    made = KnockOut(int(parts[0]), positions(parts[1]), positions(parts[2]), heads)
    return lambda _: made
