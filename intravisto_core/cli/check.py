"""`intravisto check`: hold a model to the identities that every picture rests on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from intravisto_core.cli.options import SOURCES, add_loading, open_engine
from intravisto_core.cli.parser import add_command
from intravisto_core.errors import RequestError
from intravisto_core.files import write_file
from intravisto_core.records import ModelCard


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    check = add_command(commands, "check", epilog="example:\n  intravisto check demo")
    check.add_argument("model", nargs="?", help=f"{SOURCES}; with --engine its name there")
    add_loading(check)
    check.add_argument("--all-tiny", action="store_true", help="check a tiny random model of every family instead")
    check.add_argument("--out", type=Path, metavar="FILE", help="with --all-tiny: write the table as Markdown")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    if options.all_tiny:
        return _check_families(options.out)
    if options.model is None and options.engine is None:
        raise RequestError("check: expected a model, --engine or --all-tiny; got nothing")
    engine = open_engine(options)
    card = engine.finish_check() if engine.model.pending else engine.model
    print(report(card))
    checks = card.capabilities.values()
    return 0 if all(c.ok or c.error is None for c in checks) else 1


def _check_families(out: Path | None) -> int:
    # torch is loaded here
    from intravisto_core.experiments import families, tiny

    groups = [list(families.survey_families(configs)) for configs in (tiny.CONFIGS, tiny.UNDECLARED, tiny.REFUSED)]
    text = families.write_page(*groups)
    if out is None:
        print(text)
    else:
        write_file(out, text.encode("utf-8"))
        print(f"wrote {out}")
    return 0


def report(card: ModelCard) -> str:
    """A card and its checks as text."""
    lines = [
        f"{card.name}: {card.family}, {card.n_layers} layers, {card.n_heads} heads ({card.n_kv_heads} kv), "
        f"d {card.d_model}, vocabulary {card.d_vocab}, {card.dtype}, {card.block} block, {card.norm}"
        + (", inferred by structure" if card.inferred else ""),
        *([f"particulars: {'; '.join(card.features)}"] if card.features else []),
        *(f"note: {note}" for note in card.notes),
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
