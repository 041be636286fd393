"""`intravisto test`: a claim about an edit, tested over prompts beside controls; or a published finding, once more."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import intravisto_core as iv
from intravisto_core.cli.edit import PLACES, add_edits, read_edits
from intravisto_core.cli.opening import report_opening
from intravisto_core.cli.options import add_prompt, check_place, open_engine, read_request, run_prompt
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.engine import Engine, SavedEngine, retest
from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.export import kind_of
from intravisto_core.records import Evidence
from intravisto_core.request import Claim, EvidenceView
from intravisto_core.request.claims import DEFAULT, LEAST_DRAWS
from intravisto_core.sites import ControlKind, Effect
from intravisto_core.storage.bundle import SUFFIX

HOLDS_NOT = 1
EXAMPLES = f"""examples:
  intravisto test "The capital of Italy is" --ablate mlp_out:0:-2 --prompts countries.txt
  intravisto test "The capital of Italy is" --ablate mlp_out:0:-2 --prompts countries.txt --out claim{SUFFIX}
  intravisto test claim{SUFFIX} --model path/to/another/model
"""


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    test = add_command(
        commands,
        "test",
        description="The exit code is 0 where the claim is supported, and 1 where it is not.",
        epilog=PLACES + EXAMPLES,
    )
    add_prompt(test)
    test.set_defaults(model=None)
    add_edits(test)
    test.add_argument("--prompts", metavar="FILE", help="the prompts, one a line; - reads them from the input")
    test.add_argument("--target", metavar="TEXT", help="token whose lead is followed (default: each prompt's own top)")
    test.add_argument("--contrast", metavar="TEXT", help="token that it is held against (default: the runner-up)")
    test.add_argument("--effect", choices=list(map(str, Effect)), help="what the edit does (default: as in the prompt)")
    kinds = ", ".join(ControlKind)
    test.add_argument("--controls", metavar="KINDS", help=f"which controls, with commas, of {kinds} (default all)")
    test.add_argument("--draws", type=int, default=LEAST_DRAWS, help=f"draws of each kind (default {LEAST_DRAWS})")
    test.add_argument("--draws-seed", type=int, default=0, metavar="N", help="what draws them (default 0)")
    says = f"write .html, .csv, .json, .png, .svg or .pdf; or {SUFFIX}, which can be tested again"
    test.add_argument("--out", type=_read_out, metavar="FILE", help=says)
    test.set_defaults(run=_test)


def _read_out(text: str) -> Path:
    """A file that can be written. It is checked before a model is opened, so that nobody waits for the refusal."""
    path = Path(text).expanduser()
    try:
        if path.suffix.lower() != SUFFIX:
            kind_of(path)
    except RequestError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    check_place(path)
    return path


def _test(options: argparse.Namespace) -> int:
    if options.prompt.lower().endswith(SUFFIX):
        return _retest(options)
    edits: Any = read_edits(options)
    prompts = read_prompts(options.prompts)
    claim = Claim(edits, options.target, options.contrast, options.effect)
    controls = DEFAULT if options.controls is None else options.controls.split(",")
    asked = {"prompts": prompts, "controls": controls, "draws": options.draws, "seed": options.draws_seed}
    request = read_request(options)
    EvidenceView("", claim, **asked)
    trace = run_prompt(request, open_engine(options))
    found = trace.test(claim, **asked)
    report(found)
    if options.out is not None and options.out.suffix.lower() == SUFFIX:
        print_text(f"wrote {trace.save(options.out, views=[EvidenceView(trace.id, claim, **asked)])}")
    elif options.out is not None:
        print_text(f"wrote {found.save(options.out)}")
    return 0 if found.verdict == "supported" else HOLDS_NOT


def _retest(options: argparse.Namespace) -> int:
    if options.edits:
        raise RequestError(expected("test", "a finding alone, whose edit is in the file", "an edit beside it"))
    prompts = read_prompts(options.prompts)
    saved = SavedEngine(options.prompt)
    engine: Engine
    if options.model is None and options.engine is None:
        with report_opening() as told:
            engine = iv.open_model(saved.spec, report=told)
    else:
        engine = open_engine(options)
    found = retest(options.prompt, engine, prompts)
    print_text(found.sentence)
    print_notes((*found.now.notes, *found.notes))
    if options.out is not None and options.out.suffix.lower() != SUFFIX:
        print_text(f"wrote {found.save(options.out)}")
    elif options.out is not None:
        raise RequestError(expected("--out", "a picture or a table of what came out", options.out.name))
    return 0 if found.holds else HOLDS_NOT


def read_prompts(place: str | None) -> list[str] | None:
    """The lines of a file that are not empty; None where no file is named.

    Raises:
        RequestError: it cannot be read, or has no line.
    """
    if place is None:
        return None
    try:
        text = sys.stdin.read() if place == "-" else Path(place).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(expected("--prompts", "a file of texts, one a line", f"{place}: {reason}")) from None
    found = [line for line in text.splitlines() if line.strip()]
    if not found:
        raise RequestError(expected("--prompts", "at least one line", place))
    return found


def report(found: Evidence) -> None:
    """The finding in words, and a line for each prompt."""
    print_text(found.sentence)
    strongest = found.control_means[:, found.kinds.index(found.control)]
    print_text(f"{'edit':>9} {'control':>9}  prompt")
    for prompt, change, control in zip(found.prompts, found.effects, strongest, strict=True):
        print_text(f"{change:>+9.3g} {control:>9.3g}  {prompt}")
    for kind, why in found.left_out:
        print_text(f"no control by {kind.label}: {why}")
    print_notes(found.notes)
