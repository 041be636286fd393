"""The inside of a layer as tables: states, parts, sources, and the graph of nodes and edges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from intravisto_core.figures.text import printable
from intravisto_core.records import LayerGraph
from intravisto_core.records.layer import SOURCE_NAMES
from intravisto_core.sites import Lane, LayerPart

READS = "reads"


def name_tokens(graph: LayerGraph, ids: np.ndarray) -> list[str]:
    """Lists of tokens as texts, one a row."""
    return [" ".join(printable(graph.shown[int(i)]) for i in row if i >= 0) for row in ids]


def table_states(graph: LayerGraph) -> pd.DataFrame:
    """One line a state of the stream."""
    columns = {"state": graph.state_name}
    columns |= {n: getattr(graph, f"state_{n}") for n in ("size", "entropy", "rank", "probability", "pull", "versus")}
    return pd.DataFrame(columns | {"tokens": name_tokens(graph, graph.state_ids)})


def table_parts(graph: LayerGraph) -> pd.DataFrame:
    """One line a part. inside: whether it lies inside an expert's; the other parts of a lane add up to it."""
    names = ("kind", "lane", "index", "expert", "count", "size", "pull", "versus", "rank", "act", "weight", "kl")
    columns = {n: getattr(graph, f"part_{n}") for n in names}
    columns |= {"entropy_change": graph.part_entropy, "inside": graph.inside}
    return pd.DataFrame(
        columns
        | {
            "writes": name_tokens(graph, graph.part_ids),
            "pushes_down": name_tokens(graph, graph.part_low_ids),
            "fired_by": name_tokens(graph, graph.part_fired_ids),
        }
    )


def table_features(graph: LayerGraph) -> pd.DataFrame:
    """One line a part of what each dictionary makes of its place; the lines of a dictionary add up to the place."""
    names = ("kind", "index", "count", "act", "size", "pull", "versus", "rank", "kl")
    tables = [
        pd.DataFrame(
            {"dictionary": each.dictionary, "place": each.place}
            | {name: getattr(each, f"part_{name}") for name in names}
            | {
                "entropy_change": each.part_entropy,
                "writes": name_tokens(graph, each.part_ids),
                "pushes_down": name_tokens(graph, each.part_low_ids),
            }
        )
        for each in graph.dictionaries
    ]
    columns = ["dictionary", "place", *names, "entropy_change", "writes", "pushes_down"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def name_source(graph: LayerGraph, position: int) -> str:
    """A source in words: its token, or what stands for others."""
    return SOURCE_NAMES[position] if position < 0 else printable(graph.tokens[position].shown)


def table_sources(graph: LayerGraph) -> pd.DataFrame:
    """One line a head with a row and a source; position −1: all others, −2: a learned sink, −3: what an edit put in."""
    head, source = np.indices(graph.source_pull.shape).reshape(2, -1)
    positions = graph.source_position[source]
    columns = {
        "head": np.array(graph.heads, np.int32)[head],
        "position": positions,
        "token": [name_source(graph, int(p)) for p in positions],
    }
    columns |= {n: getattr(graph, f"source_{n}").ravel() for n in ("weight", "size", "pull", "versus")}
    return pd.DataFrame(columns)


Numbers = tuple[float, float, float]
Edge = tuple[str, str, str, float, float, float]


def name_part(graph: LayerGraph, number: int) -> str:
    """The id of a part's node."""
    kind, index, expert = graph.part_kind[number], graph.part_index[number], graph.part_expert[number]
    if kind == LayerPart.EXPERT:
        return f"expert:{expert}"
    where = "" if expert < 0 else f":e{expert}"
    if index >= 0:
        return f"{kind}{where}:{index}"
    return f"{graph.part_lane[number]}_{kind}{where}" if kind != graph.part_lane[number] + "_bias" else f"{kind}{where}"


def _part_numbers(graph: LayerGraph, number: int) -> Numbers:
    return float(graph.part_size[number]), float(graph.part_pull[number]), float(graph.part_versus[number])


def _state_numbers(graph: LayerGraph, number: int) -> Numbers:
    return float(graph.state_size[number]), float(graph.state_pull[number]), float(graph.state_versus[number])


def _lane_numbers(graph: LayerGraph, number: int) -> Numbers:
    return float(graph.lane_size[number]), float(graph.lane_pull[number]), float(graph.lane_versus[number])


def _edges(graph: LayerGraph) -> Iterator[Edge]:
    """From what is read up to the stream after the block."""
    states = [str(name) for name in graph.state_name]
    last = len(states) - 1
    for row, head in enumerate(graph.heads):
        for column, position in enumerate(graph.source_position.tolist()):
            size, pull, versus = (
                float(a[row, column]) for a in (graph.source_size, graph.source_pull, graph.source_versus)
            )
            yield f"source:{position}", f"head:{head}", "attention", size, pull, versus
        yield states[0], f"head:{head}", READS, 0.0, 0.0, 0.0
    read = states[0] if graph.parallel else states[1]
    for number in range(len(graph.part_kind)):
        name, lane, expert = name_part(graph, number), str(graph.part_lane[number]), int(graph.part_expert[number])
        into = f"expert:{expert}" if graph.inside[number] else lane
        yield name, into, lane, *_part_numbers(graph, number)
        if graph.part_kind[number] in (LayerPart.NEURON, LayerPart.EXPERT):
            yield read, name, READS, 0.0, 0.0, 0.0
    for lane_number, lane in enumerate(Lane):
        plus = f"plus:{states[last] if graph.parallel or lane is Lane.MLP else states[1]}"
        yield str(lane), plus, str(lane), *_lane_numbers(graph, lane_number)
        pull, versus = graph.rounding[lane_number].tolist()
        yield f"rounding:{lane}", plus, "rounding", 0.0, pull, versus
    for before, after in zip(range(last), range(1, last + 1), strict=True):
        yield states[before], f"plus:{states[after]}", "residual", *_state_numbers(graph, before)
        yield f"plus:{states[after]}", states[after], "residual", *_state_numbers(graph, after)


def table_edges(graph: LayerGraph) -> pd.DataFrame:
    """One line an edge, which points the way that information goes."""
    return pd.DataFrame(list(_edges(graph)), columns=["source", "target", "kind", "size", "pull", "versus"])


def table_nodes(graph: LayerGraph) -> pd.DataFrame:
    """One line a node: what comes out of it, or where nothing does, what is in it."""
    edges = table_edges(graph)
    found: dict[str, tuple[str, float, float, float]] = {}
    for number, name in enumerate(graph.state_name):
        found[str(name)] = ("state", *_state_numbers(graph, number))
    out = edges[edges.kind != READS].groupby("source", sort=False)[["size", "pull", "versus"]].sum()
    for name, numbers in out.iterrows():
        kind = str(name).partition(":")[0]
        found.setdefault(str(name), (kind, float(numbers["size"]), float(numbers["pull"]), float(numbers["versus"])))
    rows = [(name, *values) for name, values in found.items()]
    return pd.DataFrame(rows, columns=["id", "kind", "size", "pull", "versus"])
