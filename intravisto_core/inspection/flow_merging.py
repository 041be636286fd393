"""From everything that was seen to a flow that can be read: functions that only lead on to one another are one node.

A function's *level* is how many modules, and additions to the stream, lie before it on the longest way from the input.
Functions of one level that touch are merged. A way from one of them to another cannot leave the group: through a module
the level would rise, and a function of the same level belongs to the group itself. Then what leads into one group alone
joins that. So no link of the flow is lost, and none leads in a circle that was none before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import heappop, heappush

from intravisto_core.inspection.functions_seen import ATTENTION, PLAIN, PRODUCTS, TELLING
from intravisto_core.inspection.scopes import Scope
from intravisto_core.records import FlowLink, FlowNode, ModuleFlow
from intravisto_core.sites import DataKind

MOST_NAMED = 3


def merge_flow(scopes: Iterable[Scope], model: str) -> ModuleFlow:
    """The flow of all scopes."""
    nodes: list[FlowNode] = []
    links: list[FlowLink] = []
    for scope in scopes:
        found = _Merging(scope).read()
        nodes += found[0]
        links += found[1]
    return ModuleFlow(model, tuple(nodes), tuple(links))


class _Merging:
    """One scope on the way to its record."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._place = {name: i for i, name in enumerate(scope.nodes)}
        self._before: dict[str, list[str]] = {name: [] for name in scope.nodes}
        self._after: dict[str, list[str]] = {name: [] for name in scope.nodes}
        for source, target in scope.links:
            self._before[target].append(source)
            self._after[source].append(target)
        # the first function of a group stands for all of it
        self._head: dict[str, str] = {}
        self._members: dict[str, list[str]] = {}

    def read(self) -> tuple[list[FlowNode], list[FlowLink]]:
        dead = self._dead_ends()
        kept = [name for name in self._scope.nodes if name not in dead]
        functions = [name for name in kept if self._scope.nodes[name].kind == "operation"]
        stream = self._additions_to_the_stream(kept)
        self._group(kept, functions, stream)
        self._join_followed(functions, stream)
        return self._records(kept)

    def _dead_ends(self) -> set[str]:
        """Functions that lead nowhere, as those whose result only decides what the code does."""
        dead: set[str] = set()
        for name in reversed(self._scope.nodes):
            node = self._scope.nodes[name]
            if node.kind in ("operation", "input", "parameter") and not node.failed:
                used = any(target not in dead for target in self._after[name])
                if not used and not (node.kind == "input" and "." not in name):
                    dead.add(name)
        return set() if any(node.failed for node in self._scope.nodes.values()) else dead

    def _additions_to_the_stream(self, kept: list[str]) -> set[str]:
        """Sums of what the module is given, or of such a sum, and of something else: they stay for themselves."""
        found: set[str] = set()
        inputs = {name for name in kept if self._scope.nodes[name].kind == "input" and "." not in name}
        for name in kept:
            main = [s for s in self._before[name] if self._scope.links[s, name] is DataKind.MAIN]
            adds = self._scope.nodes[name].function == "add" and len(main) >= 2
            if adds and any(s in inputs or s in found for s in main):
                found.add(name)
        return found

    def _group(self, kept: list[str], functions: list[str], stream: set[str]) -> None:
        level: dict[str, int] = {}
        plain = set(functions) - stream
        for name in kept:
            known = [level[s] + (s not in plain) for s in self._before[name] if s in level]
            level[name] = max(known, default=0)
        for name in functions:
            self._head[name] = name
            self._members[name] = [name]
        for name in functions:
            if name in plain:
                for source in self._before[name]:
                    if source in plain and level[source] == level[name]:
                        self._unite(source, name)

    def _join_followed(self, functions: list[str], stream: set[str]) -> None:
        """What only leads into one other group is part of it: no way from one to the other passes anything else.

        Sums of the stream take in nothing but sums: `mlp + attention + stream` is one.
        """
        for name in reversed(functions):
            head = self._head[name]
            after = {self._head.get(t, t) for m in self._members[head] for t in self._after[m]} - {head}
            if len(after) != 1:
                continue
            (target,) = after
            both = [*self._members[head], *self._members.get(target, ())]
            sums = all(self._scope.nodes[member].function == "add" for member in both)
            if target in self._members and (sums or not stream & set(both)):
                self._unite(head, target)

    def _unite(self, one: str, other: str) -> None:
        a, b = sorted((self._head[one], self._head[other]), key=self._place.__getitem__)
        if a != b:
            for name in self._members[b]:
                self._head[name] = a
            self._members[a] += self._members.pop(b)

    def _records(self, kept: list[str]) -> tuple[list[FlowNode], list[FlowLink]]:
        path, names = self._scope.path, self._names(kept)
        nodes = []
        for name in self._in_order(kept):
            seen = self._scope.nodes[name]
            if seen.kind != "operation":
                nodes.append(FlowNode(path, name, seen.kind, failed=seen.failed))
            elif name in self._members:
                parts = [self._scope.nodes[m] for m in sorted(self._members[name], key=self._place.__getitem__)]
                functions = tuple(dict.fromkeys(part.function for part in parts))
                n, failed = sum(part.n for part in parts), any(part.failed for part in parts)
                nodes.append(FlowNode(path, names[name], "operation", functions, n, failed))
        kinds: dict[tuple[str, str], DataKind] = {}
        for (source, target), kind in self._scope.links.items():
            if source not in names or target not in names:
                continue
            pair = names[source], names[target]
            if pair[0] != pair[1] and kinds.get(pair) is not DataKind.MAIN:
                kinds[pair] = kind
        return nodes, [FlowLink(path, source, target, kind) for (source, target), kind in kinds.items()]

    def _in_order(self, kept: list[str]) -> list[str]:
        """What is made before what uses it; else, and in a circle, in the order in which it came up."""
        heads = list(dict.fromkeys(self._head.get(name, name) for name in kept))
        before: dict[str, set[str]] = {head: set() for head in heads}
        for source, target in self._scope.links:
            a, b = self._head.get(source, source), self._head.get(target, target)
            if a in before and b in before and a != b:
                before[b].add(a)
        users: dict[str, list[str]] = {head: [] for head in heads}
        for head, made in before.items():
            for source in made:
                users[source].append(head)
        place = {head: i for i, head in enumerate(heads)}
        left = {head: len(made) for head, made in before.items()}
        ready = [place[head] for head in heads if not left[head]]
        order: list[str] = []
        while ready:
            head = heads[heappop(ready)]
            order.append(head)
            for user in users[head]:
                left[user] -= 1
                if not left[user]:
                    heappush(ready, place[user])
        return order + [head for head in heads if left[head] > 0]

    def _names(self, kept: list[str]) -> dict[str, str]:
        """The name of every node in the record; of every function that of its group."""
        given: Counter[str] = Counter()
        taken = {name for name in kept if name not in self._head}
        named: dict[str, str] = {}
        for name in kept:
            head = self._head.get(name)
            if head is None:
                named[name] = name
            elif head in named:
                named[name] = named[head]
            else:
                plain = self._describe(head)
                while True:
                    given[plain] += 1
                    own = plain if given[plain] == 1 else f"{plain}_{given[plain] - 1}"
                    if own not in taken:
                        break
                named[name] = own
        return named

    def _describe(self, head: str) -> str:
        """What a group is called: attention where it is one, else by its functions."""
        functions = [self._scope.nodes[m].function for m in sorted(self._members[head], key=self._place.__getitem__)]
        products = sum(f in PRODUCTS for f in functions)
        if ATTENTION & set(functions) or ("softmax" in functions and products >= 2):
            return "attention"
        telling = [f for f in functions if f in TELLING] if len(set(functions)) > 1 else functions
        # a sum that is more than sums is not called one
        one = telling if len(set(telling)) > 1 or not set(telling) <= PLAIN else functions
        distinct = list(dict.fromkeys(one))
        more = " …" if len(distinct) > MOST_NAMED else ""
        return " ".join(distinct[:MOST_NAMED]) + more
