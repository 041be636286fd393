"""`intravisto flow` and `intravisto attribute`: where a prediction comes from."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from intravisto_core.cli.options import add_out, add_prompt, open_engine, read_request, run_prompt
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.figures.head_list import name_part, rank_heads, sum_heads, sum_others
from intravisto_core.figures.numbers import change, share
from intravisto_core.figures.words import part_names, score_in_words
from intravisto_core.records import Attribution, Flow
from intravisto_core.request import FLOW_DIVISION, FLOW_MEASURE, GENERATED, Span
from intravisto_core.sites import AttentionDivision, NodeKind, Refinement, ShareMeasure, SinkHandling

LISTED = 12
LISTED_HEADS = 20


def add(commands: Any) -> None:
    """Add both commands to the parser's commands."""
    _add_flow(commands)
    _add_attribute(commands)


def _add_flow(commands: Any) -> None:
    flow = add_command(
        commands,
        "flow",
        epilog='example:\n  intravisto flow "Q: What is the capital of Italy? A:" --position -1 --out flow.html',
    )
    add_prompt(flow)
    flow.add_argument("--position", type=_position, default=-1, help=f'position, or "{GENERATED}" (default -1)')
    flow.add_argument("--row", type=int, help="heatmap row to start at (default: the final norm)")
    flow.add_argument("--rows", type=_rows, metavar="A:B", help="rows to draw, from A up to but not B (default all)")
    flow.add_argument(
        "--measure",
        choices=list(map(str, ShareMeasure)),
        default=str(FLOW_MEASURE),
        help=f"shares of a sum's parts (default {FLOW_MEASURE})",
    )
    flow.add_argument(
        "--attention",
        choices=list(map(str, AttentionDivision)),
        default=str(FLOW_DIVISION),
        help=f"shares of the sources (default {FLOW_DIVISION})",
    )
    flow.add_argument("--attention-links", type=int, metavar="K", help="sources drawn a node at most (default all)")
    flow.add_argument("--min-weight", type=float, default=0.0, metavar="W", help="least share of a drawn source")
    flow.add_argument("--min-mass", type=float, default=1e-4, metavar="M", help="least mass of a drawn link")
    flow.add_argument(
        "--sinks", choices=list(map(str, SinkHandling)), default="show", help="attention to sinks (default show)"
    )
    add_out(flow)
    flow.set_defaults(run=_flow)


def _add_attribute(commands: Any) -> None:
    attribute = add_command(
        commands,
        "attribute",
        epilog='example:\n  intravisto attribute "Q: What is the capital of Italy? A:" --target " Rome" '
        '--contrast " Paris"\n  intravisto attribute "Q: What is the capital of Italy? A:" --by heads',
    )
    add_prompt(attribute)
    attribute.add_argument("--target", metavar="TEXT", help="token (default: what the model says)")
    attribute.add_argument("--contrast", metavar="TEXT", help="token to compare with (default: all, on average)")
    attribute.add_argument("--position", type=int, default=-1, help="position whose next token is meant (default -1)")
    attribute.add_argument("--by", choices=list(map(str, Refinement)), default="components", help="how finely")
    attribute.add_argument("--layer", type=int, help="refine this layer only")
    attribute.add_argument("--n", type=int, default=100, help="neurons listed at most (default 100)")
    add_out(attribute)
    attribute.set_defaults(run=_attribute)


def _position(text: str) -> int | str:
    try:
        return text if text == GENERATED else int(text)
    except ValueError:
        raise _wrong(f'a whole number or "{GENERATED}"', text) from None


def _rows(text: str) -> Span:
    start, _, stop = text.partition(":")
    try:
        return Span(int(start), int(stop))
    except ValueError:
        raise _wrong("two rows with a colon between, as 0:4", text) from None


def _wrong(allowed: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"expected {allowed}; got {text!r}")


def _flow(options: argparse.Namespace) -> int:
    request = read_request(options)
    trace = run_prompt(request, open_engine(options))
    flow = trace.flow(
        row=options.row,
        position=options.position,
        measure=options.measure,
        attention=options.attention,
        rows=options.rows,
        top_k=options.attention_links,
        min_mass=options.min_mass,
        min_weight=options.min_weight,
        sinks=options.sinks,
    )
    print_text(trace.text)
    if options.out is None:
        print_text(sources(flow))
    else:
        print_text(f"wrote {flow.save(options.out)}")
    print_notes(flow.notes)
    return 0


def sources(flow: Flow) -> str:
    """From which positions the mass comes at the lowest row that is drawn."""
    lowest = int(flow.rows.min())
    here = np.flatnonzero((flow.node_row == lowest) & (flow.node_kind == str(NodeKind.BLOCK)))
    order = here[np.argsort(-np.abs(flow.node_mass[here]), kind="stable")][:LISTED]
    lines = [f"mass at row {lowest}, by position; {share(flow.drawn_in_rows)} of the flow in these rows is drawn"]
    for n in order:
        position = int(flow.node_position[n])
        lines.append(f"{share(float(flow.node_mass[n])):>9}  {position:>4} {flow.tokens[position].shown}")
    return "\n".join(lines)


def _attribute(options: argparse.Namespace) -> int:
    request = read_request(options)
    trace = run_prompt(request, open_engine(options))
    found = trace.attribution(
        options.target, options.contrast, options.position, options.by, layer=options.layer, n=options.n
    )
    print_text(trace.text)
    if options.out is None:
        print_text(bars(found))
    else:
        print_text(f"wrote {found.save(options.out)}")
    print_notes(found.notes)
    return 0


def bars(found: Attribution) -> str:
    """The largest parts in the order of the model, their sum and the remainder."""
    if found.by is Refinement.HEADS:
        return head_bars(found)
    names = part_names(found)
    largest = np.sort(np.argsort(-np.abs(found.value), kind="stable")[: 2 * LISTED])
    lines = [f"{score_in_words(found)}, after position {found.position}: {change(found.logit)}"]
    lines += [f"{change(float(found.value[i])):>9}  {names[i]}" for i in largest]
    if len(largest) < len(names):
        rest = float(found.value.sum() - found.value[largest].sum())
        lines.append(f"{change(rest):>9}  {len(names) - len(largest):,} other parts")
    return "\n".join([*lines, f"{change(found.remainder):>9}  remainder"])


def head_bars(found: Attribution) -> str:
    """The heads of all layers, the largest first; the smaller ones and every other kind of part as a sum each."""
    ranked = rank_heads(found)
    lines = [f"{score_in_words(found)}, after position {found.position}: {change(found.logit)}"]
    lines += [f"{change(float(found.value[i])):>9}  {name_part(found, i)}" for i in ranked[:LISTED_HEADS]]
    groups = sum_others(found)
    if len(ranked) > LISTED_HEADS:
        groups.insert(0, sum_heads(found, ranked[LISTED_HEADS:]))
    lines += [f"{change(group.value):>9}  {group.name}" for group in groups]
    return "\n".join([*lines, f"{change(found.remainder):>9}  remainder"])
