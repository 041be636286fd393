"""An architecture as its picture takes it: the tree with what is equal folded, the flow, the run, the measurements."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from intravisto_core.figures.text import printable
from intravisto_core.figures.web.architecture_flow import flow_data
from intravisto_core.figures.web.architecture_folds import Fold, Folding
from intravisto_core.records import Architecture, ModuleCall, ModuleNode, ModuleOutput, ModuleTensor, ValueShape
from intravisto_core.sites import ModuleStatistic

Place = tuple[str, str, str]
MOST_CELLS = 4096
MOST_POSITIONS = 256
MOST_PANELS = 16
MOST_SHARED = 4
DIGITS = 4
_FEED_FORWARD = re.compile(
    r"(mlp|feedforward|ffn|experts?|moe|moeblock|densereludense|densegatedactdense|denseactdense)$", re.I
)
_TABLE = re.compile(r"embedding", re.I)


def architecture_data(
    found: Architecture,
    *,
    engine: bool = False,
    attached: Collection[Place] | None = None,
    reads: tuple[int, int] | None = None,
    live: bool = False,
    rev: str = "",
) -> dict[str, Any]:
    """Everything that the picture needs, as JSON.

    engine: whether the code to copy is of an engine, else of an Inspector. attached: paths, sides and statistics that
    were asked for; None where nothing can be. reads: how wide the stream and the vocabulary are, where vectors can be
    read as tokens. live: whether the picture follows a running script. rev: what tells one picture from the next.
    """
    run = found.run
    return {
        "rev": rev,
        "name": printable(found.model),
        "modules": len(found.tree.nodes),
        "parameters": found.tree.root.n_parameters,
        "bytes": found.tree.root.n_bytes,
        "tree": _Packer(found).node(found.tree.root),
        "run": run
        and {
            "tokens": [printable(token) for token in run.tokens[:MOST_POSITIONS]],
            "n": run.n_tokens,
            "text": printable(run.text),
            "failed": run.failed_at,
            "error": printable(run.error),
            "ran": len(run.calls),
        },
        "outputs": [output_data(each, attached or ()) for each in found.outputs],
        "says": {path: [[printable(t), round(p, 3)] for t, p in row] for path, row in found.says.items()},
        "notes": [printable(note) for note in found.notes],
        "engine": engine,
        "live": live,
        # nothing is computed on the meta device: how long that takes says nothing
        "timeless": any(tensor.device == "meta" for node in found.tree.nodes for tensor in node.tensors),
        "attach": attached is not None,
        "reads": reads,
        "statistics": [[str(s), s.label, s.help] for s in ModuleStatistic] if attached is not None else [],
    }


class _Packer:
    """Packs the nodes of one tree."""

    def __init__(self, found: Architecture) -> None:
        self._by_path = found.tree.by_path
        self._calls: Mapping[str, ModuleCall] = found.run.by_path if found.run else {}
        self._scopes = found.flow.scopes if found.flow else {}
        self._folding = Folding(found)

    def node(self, node: ModuleNode, folded: bool = False) -> dict[str, Any]:
        """A module with everything under it. folded: whether it lies inside a fold, whose table holds the numbers."""
        packed: dict[str, Any] = {"path": node.path, "cls": node.cls, "total": node.n_parameters, "bytes": node.n_bytes}
        if node.built_with:
            packed["built"] = printable(node.built_with)
        if node.tensors:
            packed["tensors"] = [_tensor(tensor) for tensor in node.tensors]
        if node.same_as:
            packed["same"] = node.same_as
        if role := self._role(node):
            packed["role"] = role
        if node.path in self._calls:
            packed["call"] = _call(self._calls[node.path])
        if node.path in self._scopes and node.children:
            packed["flow"] = flow_data(*self._scopes[node.path], self._folding.drawn_as)
        children = [self._child(child, folded) for child in self._folding.children[node.path]]
        if children:
            packed["children"] = children
        return packed

    def _child(self, child: str | Fold, folded: bool) -> dict[str, Any]:
        if isinstance(child, str):
            return self.node(self._by_path[child], folded)
        packed: dict[str, Any] = {
            "repeat": child.n,
            "period": child.period,
            "shown": child.shown,
            "names": [path.rpartition(".")[2] for path in child.paths],
            "body": [self.node(self._by_path[path], True) for path in child.body],
        }
        if not folded:
            packed["table"] = [self._table(child, k) for k in range(child.period)]
        return packed

    def _table(self, fold: Fold, k: int) -> dict[str, Any]:
        """What differs between the repetitions of one body, by every path inside it ("" for itself)."""
        members = fold.paths[k :: fold.period]
        found = {}
        for node_path in self._under(members[fold.shown]):
            inner = node_path[len(members[fold.shown]) :]
            calls = [self._calls.get(member + inner) for member in members]
            row = _row(calls, calls[fold.shown])
            devices = [self._devices(member + inner) for member in members]
            if len(set(devices)) > 1:
                row["device"] = devices
            if row:
                found[inner.removeprefix(".")] = row
        return found

    def _under(self, path: str) -> list[str]:
        found = [path]
        for child in self._by_path[path].children:
            found += self._under(child)
        return found

    def _devices(self, path: str) -> str:
        node = self._by_path.get(path)
        return "" if node is None else ", ".join(dict.fromkeys(tensor.device for tensor in node.tensors))

    def _role(self, node: ModuleNode) -> str:
        """Which colour it has: attention by what it computes, the others by the name of its class."""
        nodes, _ = self._scopes.get(node.path, ([], []))
        if any(each.kind == "operation" and each.name.startswith("attention") for each in nodes):
            return "attention"
        if _FEED_FORWARD.search(node.cls):
            return "mlp"
        if not node.children and node.path and (_TABLE.search(node.cls) or node.name in ("lm_head", "embed_out")):
            return "residual" if node.n_parameters else ""
        return ""


def _row(calls: Sequence[ModuleCall | None], shown: ModuleCall | None) -> dict[str, Any]:
    """Of all repetitions of one inner module: times in µs, when and how often it ran, where its shapes differ."""
    if not any(calls):
        return {}
    row: dict[str, Any] = {"us": [None if c is None else round(1e6 * c.seconds) for c in calls]}
    orders = [None if c is None else c.order for c in calls]
    row["order"] = _steps(orders) or orders
    counts = [0 if c is None else c.n_calls for c in calls]
    if len(set(counts)) > 1 or counts[0] != 1:
        row["calls"] = counts
    other = {}
    for i, call in enumerate(calls):
        if call is not None and shown is not None and (call.inputs, call.output) != (shown.inputs, shown.output):
            other[str(i)] = [_inputs(call), _shape(call.output)]
    if other:
        row["io"] = other
    if any(c is not None and c.routed for c in calls):
        row["routed"] = [list(c.routed) if c is not None else [] for c in calls]
    return row


def _steps(orders: Sequence[int | None]) -> dict[str, int] | None:
    """First and distance, where the numbers go up evenly."""
    known = [n for n in orders if n is not None]
    if len(known) < len(orders) or len(known) < 2:
        return None
    step = known[1] - known[0]
    even = all(b - a == step for a, b in pairwise(known))
    return {"first": known[0], "step": step} if even else None


def _tensor(tensor: ModuleTensor) -> list[Any]:
    shared = list(tensor.shared_with[:MOST_SHARED])
    kind = "buffer" if tensor.is_buffer else "parameter"
    packed = [tensor.name, list(tensor.shape), tensor.dtype, tensor.device, tensor.n_bytes, kind, tensor.quantised]
    return [*packed, shared] if shared else packed


def _call(call: ModuleCall) -> dict[str, Any]:
    packed = {
        "order": call.order,
        "n": call.n_calls,
        "us": round(1e6 * call.seconds),
        "in": _inputs(call),
        "out": _shape(call.output),
    }
    return {**packed, "routed": list(call.routed)} if call.routed else packed


def _inputs(call: ModuleCall) -> list[Any]:
    return [[name, _shape(shape)] for name, shape in call.inputs]


def _shape(shape: ValueShape | None) -> Any:
    """A tensor as [type, sizes, axis of tokens or −1]; what holds tensors as {kind, items}; else the class's name."""
    if shape is None:
        return None
    if shape.kind == "tensor":
        return [shape.dtype, list(shape.shape), -1 if shape.token_axis is None else shape.token_axis]
    if shape.items:
        return {"kind": shape.kind, "items": [[printable(name), _shape(item)] for name, item in shape.items]}
    return shape.kind


def output_data(found: ModuleOutput, attached: Collection[Place] = ()) -> dict[str, Any]:
    """What was measured at one module. attached: see `architecture_data`."""
    values, panels = found.values, 0
    if found.statistic in (ModuleStatistic.MATRIX, ModuleStatistic.ATTENTION):
        values, panels = _fit(found)
    elif found.statistic is ModuleStatistic.SIZE:
        values = values.reshape(-1, values.shape[-1])[0, :MOST_POSITIONS] if values.ndim else values[None]
    packed: dict[str, Any] = {
        "path": found.path,
        "what": str(found.what),
        "statistic": str(found.statistic),
        "shape": list(found.shape),
        "values": _numbers(values),
    }
    if (found.path, str(found.what), str(found.statistic)) in attached:
        packed["attached"] = True
    if panels:
        packed["mean"] = panels
    if found.edges is not None:
        packed["edges"] = _numbers(found.edges)
    if values.ndim == 3:
        packed["axes"] = list(found.axes)
    if found.token_ids is not None:
        packed["first"] = found.first
        packed["read"] = [[printable(found.shown[int(i)]) for i in row] for row in found.token_ids]
    return packed


def _fit(found: ModuleOutput) -> tuple[np.ndarray, int]:
    """What is drawn of panels; of attention whose heads do not fit beside each other their mean, and of how many."""
    values = found.values
    n, most = len(values), max(values.shape[1:], default=1)
    if found.statistic is ModuleStatistic.ATTENTION and n > 1 and n * most**2 > MOST_CELLS:
        side = int(MOST_CELLS**0.5)
        return values.mean(0, keepdims=True)[:, :side, :side], n
    room = MOST_CELLS // max(1, min(n, MOST_PANELS))
    high = min(values.shape[1], int(room**0.5))
    wide = min(values.shape[2], room // max(1, high))
    high = min(values.shape[1], room // max(1, wide))
    return values[:MOST_PANELS, :high, :wide], 0


def _numbers(values: np.ndarray) -> Any:
    """Nested lists with four significant digits; what is no number is null."""
    if values.ndim > 1:
        return [_numbers(part) for part in values]
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values.tolist()]
