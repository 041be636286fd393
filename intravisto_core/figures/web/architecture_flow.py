"""The flow of one scope as the architecture's picture draws it: folded siblings are one, many of a kind are one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from intravisto_core.records import FlowLink, FlowNode
from intravisto_core.sites import DataKind

MOST_OPERATIONS = 8
KINDS = {"module": "m", "operation": "f", "input": "i", "output": "o", "parameter": "p"}
SYMBOLS = {"add": "+", "mul": "×", "sub": "−", "div": "÷", "matmul": "@", "bmm": "@", "neg": "−", "cat": "concat"}
SYMBOLS |= {"grouped_mm": "products, by expert", "getitem": "select", "setitem": "write"}


def flow_data(
    nodes: Sequence[FlowNode], links: Sequence[FlowLink], drawn_as: Mapping[str, str]
) -> dict[str, list[Any]]:
    """Nodes as [name, kind, failed], of operations [… label, functions, calls]; links as [from, to, kind] by place."""
    name_of, shown = _merge(nodes, drawn_as)
    place = {name: i for i, name in enumerate(shown)}
    order = {node.name: i for i, node in enumerate(nodes)}
    kinds: dict[tuple[int, int], DataKind] = {}
    for link in links:
        source, target = name_of[link.source], name_of[link.target]
        # from one folded sibling to the next is inside of the fold; so is the way back to the first of a period
        inside = link.source in drawn_as and link.target in drawn_as and order.get(source, 0) >= order.get(target, 0)
        if source != target and not inside:
            pair = place[source], place[target]
            if kinds.get(pair) is not DataKind.MAIN:
                kinds[pair] = link.kind
    return {"nodes": list(shown.values()), "links": [[a, b, kind.value[0]] for (a, b), kind in kinds.items()]}


def _merge(nodes: Sequence[FlowNode], drawn_as: Mapping[str, str]) -> tuple[dict[str, str], dict[str, list[Any]]]:
    """The name under which each node is drawn, and what is drawn, by name."""
    labels = {node.name: label_of(node) for node in nodes if node.kind == "operation"}
    often = Counter(labels.values())
    crowded = len(labels) > MOST_OPERATIONS
    first_of: dict[str, str] = {}
    name_of: dict[str, str] = {}
    shown: dict[str, list[Any]] = {}
    for node in nodes:
        base = node.name.partition("@")[0]
        name = drawn_as.get(base, node.name) if node.kind == "module" else node.name
        label = labels.get(node.name, "")
        if label and crowded and often[label] > 1:
            name = first_of.setdefault(label, node.name)
        name_of[node.name] = name
        if name not in shown:
            shown[name] = [name, KINDS[node.kind], False] + ([label, " ".join(node.operations), 0] if label else [])
        shown[name][2] = shown[name][2] or node.failed
        if label:
            shown[name][5] += node.n_operations
    return name_of, shown


def label_of(node: FlowNode) -> str:
    """What stands in the picture for an operation: a sign where there is one."""
    if len(node.operations) == 1:
        return SYMBOLS.get(node.operations[0], node.operations[0])
    words = node.name.split()
    last, _, count = words[-1].rpartition("_")
    words[-1] = last if last and count.isdigit() else words[-1]
    return " ".join(SYMBOLS.get(word, word) for word in words)
