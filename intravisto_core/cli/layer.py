"""`intravisto layer`: what layers wrote at one position, and which heads and neurons wrote it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from intravisto_core.cli.options import add_out, add_prompt, open_engine, read_request, run_prompt
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.layer_words import chain_page, name_part_shortly
from intravisto_core.figures.numbers import change, significant
from intravisto_core.files import write_file
from intravisto_core.records import LayerFeatures, LayerGraph
from intravisto_core.request.layer_settings import LayerSettings, read_settings, write_settings
from intravisto_core.sites import FeaturePart, LayerWidth, RankPalette, TokenOrder

AUTO = "AUTO"
VIEWED = ("width", "heads", "neurons", "sources", "order", "features")
SETTINGS = (*VIEWED, "palette")


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    layer = add_command(
        commands,
        "layer",
        epilog='examples:\n  intravisto layer "Q: What is the capital of Italy? A:" --layers 2,4 --out layers.html\n'
        '  intravisto layer "Q: What is the capital of Italy? A:" --layers 4 --width pull --target " Rome"',
    )
    add_prompt(layer)
    layer.add_argument("--layers", default="-1", metavar="N,N", help="layers, separated by commas (default the last)")
    layer.add_argument("--position", type=int, default=-1, help="position, from the end of the text (default -1)")
    layer.add_argument("--target", default=AUTO, metavar="TEXT", help="token (default AUTO: what the position says)")
    layer.add_argument("--contrast", metavar="TEXT", help="token to compare with (default: the runner-up)")
    layer.add_argument("--width", choices=[str(w) for w in LayerWidth], help="what rows are chosen by (default size)")
    layer.add_argument("--heads", type=int, metavar="N", help="heads with a row (default: all up to 12, else 10)")
    layer.add_argument("--neurons", type=int, metavar="N", help="neurons with a row (default 10)")
    layer.add_argument("--sources", type=int, metavar="N", help="sources of a head told in words (default 3)")
    layer.add_argument("--order", choices=[str(o) for o in TokenOrder], help="order of tokens (default angle)")
    layer.add_argument(
        "--dictionary",
        action="append",
        default=[],
        metavar="PATH",
        help="folder, or owner/name/folder on the Hub, of an autoencoder or transcoder of this model; may be repeated",
    )
    layer.add_argument("--features", type=int, metavar="N", help="features of a dictionary with a row (default 10)")
    layer.add_argument("--palette", choices=[str(p) for p in RankPalette], help="colours of ranks (default diverging)")
    layer.add_argument("--settings", type=Path, metavar="FILE", help=f"read {', '.join(SETTINGS)} from a JSON file")
    layer.add_argument("--save-settings", type=Path, metavar="FILE", help="write them to a JSON file")
    add_out(layer)
    layer.set_defaults(run=_layer)


def _layer(options: argparse.Namespace) -> int:
    numbers = _read_layers(options.layers)
    settings = read_file(options.settings) if options.settings else LayerSettings()
    settings = replace(settings, **{n: value for n in SETTINGS if (value := getattr(options, n)) is not None})
    if options.save_settings:
        write_file(options.save_settings, write_settings(settings))
    target = None if options.target == AUTO else options.target
    engine = open_engine(options)
    # an engine elsewhere has the method too, and says why it does not serve
    with_dictionaries: Any = engine
    for path in options.dictionary:
        with_dictionaries.add_dictionary(path)
    trace = run_prompt(read_request(options), engine)
    asked = {name: getattr(settings, name) for name in VIEWED} | {"target": target, "contrast": options.contrast}
    graphs = [trace.layer(number, options.position, **asked) for number in numbers]
    if options.out is None:
        print_text("\n\n".join(map(list_parts, graphs)))
    elif len(graphs) == 1:
        how = {"palette": settings.palette} if options.out.suffix == ".html" else {}
        print_text(f"wrote {graphs[0].save(options.out, **how)}")
    elif options.out.suffix == ".html":
        print_text(f"wrote {write_file(options.out, chain_page(graphs, settings.palette).encode())}")
    else:
        raise RequestError(expected("out", "a .html file for several layers", str(options.out)))
    print_notes(graphs[0].notes)
    return 0


def _read_layers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(expected("layers", "whole numbers separated by commas, as 2,4", text)) from None


def read_file(path: Path) -> LayerSettings:
    """Settings of the picture from a JSON file.

    Raises:
        RequestError: the file cannot be read, or has something else.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise RequestError(f"settings: expected a JSON file; {path}: {error}") from None
    return read_settings(body)


def list_parts(graph: LayerGraph) -> str:
    """A layer as text: the rank of the target through it, and its parts, one a line."""
    ranks = " → ".join(f"{int(r):,}" for r in graph.state_rank)
    lines = [
        f"layer {graph.layer}, position {graph.position}: rank of {graph.target} {ranks}",
        f"{'size':>8} {'pull':>8} {'against':>8} {'rank':>8}  part",
    ]
    for number in range(len(graph.part_kind)):
        numbers = (
            significant(float(graph.part_size[number])),
            change(float(graph.part_pull[number])),
            change(float(graph.part_versus[number])),
            f"{int(graph.part_rank[number]):,}",
        )
        tokens = " ".join(graph.shown[int(t)] for t in graph.part_ids[number][:5])
        name = ("  " if graph.inside[number] else "") + name_part_shortly(graph, number)
        lines.append(" ".join(f"{n:>8}" for n in numbers) + f"  {name}: {tokens}")
    for features in graph.dictionaries:
        about = f"{features.n_active:,} of {features.n_features:,} features active, leaves out {features.error:.0%}"
        lines.append(f"{features.dictionary}, {features.place}: {about}")
        lines += [list_feature(graph, features, number) for number in range(len(features))]
    return "\n".join(lines)


def list_feature(graph: LayerGraph, features: LayerFeatures, number: int) -> str:
    """One part of what a dictionary makes of its place."""
    kind, index = FeaturePart(str(features.part_kind[number])), int(features.part_index[number])
    numbers = (
        significant(float(features.part_size[number])),
        change(float(features.part_pull[number])),
        change(float(features.part_versus[number])),
        f"{int(features.part_rank[number]):,}",
    )
    names = {FeaturePart.FEATURE: f"F{index}", FeaturePart.OTHERS: f"{int(features.part_count[number]):,} others"}
    tokens = " ".join(graph.shown[int(t)] for t in features.part_ids[number][:5])
    return " ".join(f"{n:>8}" for n in numbers) + f"  {names.get(kind, kind.label)}: {tokens}"
