"""`intravisto attention`: where each token looks, and what each head does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intravisto_core.cli.options import add_out, add_prompt, open_engine, read_request, run_prompt
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.errors import RequestError, expected
from intravisto_core.files import write_file
from intravisto_core.records import HeadTargets
from intravisto_core.request.attention import MEAN
from intravisto_core.request.ranges import index
from intravisto_core.sites import AttentionDivision, SinkHandling

if TYPE_CHECKING:
    from intravisto_core.engine import Trace

LISTED = 4


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    attention = add_command(
        commands,
        "attention",
        epilog='examples:\n  intravisto attention "the cat sat on the mat" --out attention.html\n'
        '  intravisto attention "the cat sat on the mat" --layers 2,4 --out attention.html\n'
        '  intravisto attention "the cat sat on the mat" --layers 3 --heads 0,1 --out heads.csv',
    )
    add_prompt(attention)
    attention.add_argument(
        "--layers", type=_read_numbers, metavar="L,…", help="layers whose heads are kept (default all)"
    )
    attention.add_argument(
        "--heads", type=_read_heads, metavar="H,…", help=f'heads of one layer, or "{MEAN}": one table, or one page'
    )
    attention.add_argument(
        "--strength",
        choices=list(map(str, AttentionDivision)),
        default=str(AttentionDivision.WEIGHTS),
        help="what the numbers of --heads are (default weights)",
    )
    attention.add_argument(
        "--sinks",
        choices=list(map(str, SinkHandling)),
        default=str(SinkHandling.SHOW),
        help="attention to sinks in the numbers of --heads (default show)",
    )
    add_out(attention)
    attention.set_defaults(run=_attention)


def _read_numbers(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(expected("numbers", "whole numbers with commas between", text)) from None
    return tuple(dict.fromkeys(found))


def _read_heads(text: str) -> tuple[int, ...] | str:
    return MEAN if text == MEAN else _read_numbers(text)


def _heads_of(heads: tuple[int, ...] | str | None, n_heads: int) -> tuple[int, ...] | str | None:
    return heads if heads is None or isinstance(heads, str) else tuple(index(n, n_heads, "heads") for n in heads)


def _attention(options: argparse.Namespace) -> int:
    request = read_request(options)
    if options.heads is not None and (options.layers is None or len(options.layers) != 1):
        raise RequestError(expected("--heads", "one layer beside it, such as --layers 3", options.layers))
    trace = run_prompt(request, open_engine(options))
    targets = trace.head_targets()
    layers = None if options.layers is None else tuple(index(n, len(targets.shares), "layers") for n in options.layers)
    heads = _heads_of(options.heads, targets.shares.shape[1])
    if options.out is not None:
        for written in _write(trace, options, layers):
            print_text(f"wrote {written}")
    else:
        print_text(list_heads(targets, layers, heads))
    print_notes(targets.notes)
    return 0


def _write(trace: Trace, options: argparse.Namespace, layers: tuple[int, ...] | None) -> list[str]:
    """The files that were written, in words."""
    out: Path = options.out
    numbers = {"strength": options.strength, "sinks": options.sinks}
    if out.suffix.lower() != ".html":
        if layers is not None and len(layers) == 1:
            return [str(trace.attention(layers[0], options.heads, **numbers).save(out))]
        return [str(trace.head_targets().save(out))]
    if options.heads is not None and layers is not None:
        return [str(trace.sparse_attention(layers[0], options.heads, **numbers).save(out))]
    return _write_pages(trace, out, layers)


def _write_pages(trace: Trace, out: Path, layers: tuple[int, ...] | None) -> list[str]:
    """One page; where one would be too large, a folder of them beside it."""
    from intravisto_core.figures.attention_page import INDEX, open_book, write_attention_pages

    pages = write_attention_pages(open_book(trace.view, trace.id, layers))
    name, page = next(pages)
    second = next(pages, None)
    if second is None:
        write_file(out, page.encode())
        return [str(out)]
    folder = out.with_suffix("")
    folder.mkdir(exist_ok=True)
    n = 1
    write_file(folder / name, page.encode())
    for name, page in (second, *pages):
        write_file(folder / name, page.encode())
        n += 1
    return [f"{folder / INDEX}, with {n - 1} pages of eight heads beside it"]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _rows(found: HeadTargets, layer: int, heads: tuple[int, ...] | str | None) -> list[tuple[str, np.ndarray]]:
    shares = found.shares[layer]
    if heads == MEAN:
        return [(f"L{layer}", shares.mean(0))]
    return [(f"L{layer}H{h}", shares[h]) for h in (range(len(shares)) if heads is None else heads)]


def list_heads(found: HeadTargets, layers: tuple[int, ...] | None, heads: tuple[int, ...] | str | None = None) -> str:
    """What heads look at: heads of some layers (or their mean), or of each kind of keys the heads that give it most."""
    labels = [target.label for target in found.classes]
    if layers is not None:
        head = "head    " + "  ".join(f"{label:>16}" for label in labels)
        rows = [
            f"{name:<8}" + "  ".join(f"{_percent(float(v)):>16}" for v in row)
            for layer in layers
            for name, row in _rows(found, layer, heads)
        ]
        return "\n".join([head, *rows])
    lines = []
    for i, label in enumerate(labels):
        values = found.shares[..., i]
        order = np.argsort(-np.nan_to_num(values).ravel(), kind="stable")[:LISTED].tolist()
        places = [divmod(n, values.shape[1]) for n in order]
        best = ", ".join(f"L{layer}H{h} {_percent(float(values[layer, h]))}" for layer, h in places)
        lines.append(f"{label:<16} {_percent(float(values.mean())):>8} of all · {best}")
    return "\n".join(lines)
